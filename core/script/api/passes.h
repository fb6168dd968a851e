/* passes.h - the module tidegate.passes: tickets that are good once, and tokens that are good no more. */
#ifndef TG_SCRIPT_API_PASSES_H
#define TG_SCRIPT_API_PASSES_H

struct lua_State;

int tg_lua_passes_open(struct lua_State *L);

#endif
