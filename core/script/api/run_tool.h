/* run_tool.h - run:tool and run:tool_started: the events around a tool call. */
#ifndef TG_SCRIPT_API_RUN_TOOL_H
#define TG_SCRIPT_API_RUN_TOOL_H

struct lua_State;

/* Registers what run:tool_started returns in a new state. */
void tg_run_tool_open_type(struct lua_State *L);
/* Sets both methods in the table on top. */
void tg_run_tool_add(struct lua_State *L);

#endif
