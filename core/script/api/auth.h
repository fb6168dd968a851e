/* auth.h - the module tidegate.auth: lua/tidegate/_auth, and what it asks of the core.
 */
#ifndef TG_SCRIPT_API_AUTH_H
#define TG_SCRIPT_API_AUTH_H

struct lua_State;

int tg_lua_auth_open(struct lua_State *L);

#endif
