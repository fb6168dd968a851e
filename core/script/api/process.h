/* process.h - the private module tidegate._process: agents that are child processes, for agent.process. */
#ifndef TG_SCRIPT_API_PROCESS_H
#define TG_SCRIPT_API_PROCESS_H

struct lua_State;

void tg_lua_process_open_types(struct lua_State *L);
int tg_lua_process_open(struct lua_State *L);

#endif
