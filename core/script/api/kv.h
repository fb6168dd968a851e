/* kv.h - the module tidegate.kv: the store that all workers share. */
#ifndef TG_SCRIPT_API_KV_H
#define TG_SCRIPT_API_KV_H

struct lua_State;

void tg_lua_kv_open_type(struct lua_State *L);
int tg_lua_kv_open(struct lua_State *L);

#endif
