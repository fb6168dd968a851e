/* time.h - the module tidegate.time. */
#ifndef TG_SCRIPT_API_TIME_H
#define TG_SCRIPT_API_TIME_H

struct lua_State;

int tg_time_open(struct lua_State *L);

#endif
