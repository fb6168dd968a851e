/* sandbox_internal.h - what the parts of the sandbox share. */
#ifndef TG_SCRIPT_SANDBOX_INTERNAL_H
#define TG_SCRIPT_SANDBOX_INTERNAL_H

struct lua_State;

/* sandbox_basic.c: the functions of the base library that read tables, into the table at `globals`. `base`
 * has LuaJIT's own. */
void tg__sandbox_add_basic(struct lua_State *L, int globals, int base);
/* sandbox_library.c: replaces functions in the tables `string` and `table` of the globals. */
void tg__sandbox_guard_libraries(struct lua_State *L, int globals, int base);
/* sandbox_pattern.c, sandbox_gsub.c: functions of patterns, into the table on top. */
void tg__sandbox_add_patterns(struct lua_State *L);
void tg__sandbox_add_gsub(struct lua_State *L);
/* load and loadstring for code whose globals are on top of the stack, into the table at `globals`. */
void tg__sandbox_add_load(struct lua_State *L, int globals, int base);

/* sandbox_hints.c: what to use in place of "io" or "os.execute"; NULL when there is nothing to say. */
const char *tg__sandbox_hint(const char *name);

/* sandbox_time.c: replaces functions in the table `os` of the globals. */
void tg__sandbox_use_clock(struct lua_State *L, int globals);

#endif
