/* native.h - the C half of tidegate.testing: one userdata, a simulated host, and functions on it. The half
 * that people see is lua/tidegate/testing.lua.
 */
#ifndef TG_SCRIPT_TESTING_NATIVE_H
#define TG_SCRIPT_TESTING_NATIVE_H

#include "script/testing/backend.h"

struct lua_State;

/* Pushes the module tidegate._simulation. The state has the marks of tidegate.json (tg_lua_json_open_types).
 * backend is static. */
void tg_testing_push_native(struct lua_State *L, const struct tg_testing_backend *backend);

#endif
