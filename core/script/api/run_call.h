/* run_call.h - how a run calls others, and what it may use: run:call, run:hand_off, run:spend. */
#ifndef TG_SCRIPT_API_RUN_CALL_H
#define TG_SCRIPT_API_RUN_CALL_H

struct lua_State;

void tg_run_call_open_type(struct lua_State *L);
/* Sets the methods in the table on top. */
void tg_run_call_add(struct lua_State *L);

#endif
