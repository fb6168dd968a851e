/* bare_lua.h - a Lua state with the script API's types but no generation: for what needs no core behind
 * it (plain data, views, JSON, crypto). Asserts with cmocka.
 */
#ifndef TG_TESTS_BARE_LUA_H
#define TG_TESTS_BARE_LUA_H

#include <stddef.h>

struct lua_State;

/* Standard libraries, marks, views, and the modules json and crypto as globals. */
struct lua_State *bare_lua_open(void);
void bare_lua_close(struct lua_State *L);

/* cmocka fixtures: *state is the Lua state. */
int bare_lua_setup(void **state);
int bare_lua_teardown(void **state);

/* Runs a chunk; fails the test when it raises. Leaves its results on the stack. */
void bare_lua_run(struct lua_State *L, const char *code);
/* The error that the chunk raises; fails the test when it does not. Valid until the next call. */
const char *bare_lua_error(struct lua_State *L, const char *code);

/* Lets `successes` further allocations succeed and fails every later one; negative: no limit. */
void bare_lua_fail_after(long successes);

#endif
