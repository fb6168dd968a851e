/* jwt.h - the module tidegate.jwt: verifying and making JSON Web Tokens. */
#ifndef TG_SCRIPT_API_JWT_H
#define TG_SCRIPT_API_JWT_H

struct lua_State;

void tg_lua_jwt_open_types(struct lua_State *L);
int tg_lua_jwt_open(struct lua_State *L);

#endif
