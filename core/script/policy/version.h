/* version.h - the version of LuaJIT, for people. */
#ifndef TG_SCRIPT_VERSION_H
#define TG_SCRIPT_VERSION_H

#include <stddef.h>

/* "LuaJIT 2.1.0-beta3", of the library that is loaded. */
void tg_script_luajit_version(char *out, size_t size);

#endif
