/* embedded.h - the Lua library that the build compiled into the program, as files in memory.
 *
 * The table is generated from lua/tidegate at build time and is sorted by name.
 */
#ifndef TG_BASE_EMBEDDED_H
#define TG_BASE_EMBEDDED_H

#include <stddef.h>

struct tg_embedded_file {
    const char *name; /* below lua/, with '/' between folders: "tidegate/json.lua" */
    const char *data; /* NUL-terminated; the NUL is not counted in size */
    size_t size;
};

extern const struct tg_embedded_file tg_embedded_files[];
extern const size_t tg_embedded_files_count;

#endif
