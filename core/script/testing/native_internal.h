/* native_internal.h - what the files of the native half share. */
#ifndef TG_SCRIPT_TESTING_NATIVE_INTERNAL_H
#define TG_SCRIPT_TESTING_NATIVE_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>

#include "script/testing/backend.h"

struct tg_testing_host {
    const struct tg_testing_backend *backend; /* static */
    struct tg_sim *sim;                       /* owned; NULL: closed */
    struct tg_buffer scratch;                 /* survives an error */
    struct tg_error error;
};

/* The open host at index 1; raises for anything else. */
struct tg_testing_host *tg__testing_check(lua_State *L);
/* nil and the text of host->error. */
int tg__testing_failure(lua_State *L, const struct tg_testing_host *host);

/* native_client.c, native_http.c, native_process.c: rows end with {NULL, NULL}. */
extern const luaL_Reg tg__testing_client_functions[];
extern const luaL_Reg tg__testing_http_functions[];
extern const luaL_Reg tg__testing_process_functions[];

#endif
