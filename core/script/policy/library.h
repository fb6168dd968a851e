/* library.h - the list of modules that C provides to scripts: one row each. */
#ifndef TG_SCRIPT_LIBRARY_H
#define TG_SCRIPT_LIBRARY_H

#include <stddef.h>

struct lua_State;

/* open leaves the module's table on the stack (as luaopen_* does). */
struct tg_library_module {
    const char *name; /* "tidegate.json" */
    int (*open)(struct lua_State *L);
};

/* The rows; `require` asks here first, then the embedded Lua files under tidegate/. */
size_t tg_library_modules(const struct tg_library_module **rows);

/* Registers metatables of the userdata types (conn, run, view) in a new state, after tg_sandbox_open. */
void tg_library_open_types(struct lua_State *L);

#endif
