/* jwt_keys.h - the keys of one verifier, as a userdata that only the library holds. */
#ifndef TG_SCRIPT_API_JWT_KEYS_H
#define TG_SCRIPT_API_JWT_KEYS_H

#include <stddef.h>

struct lua_State;
struct tg_jwt_key;

void tg_jwt_keys_open_type(struct lua_State *L);
/* The keys of the userdata at `index`, borrowed from it; raises when it is none. */
struct tg_jwt_key *tg_jwt_keys_check(struct lua_State *L, int index, size_t *count);
/* Adds what lua/tidegate/_jwt.lua calls to the table on top. */
void tg_jwt_keys_add_functions(struct lua_State *L);

#endif
