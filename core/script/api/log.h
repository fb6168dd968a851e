/* log.h - the module tidegate.log. */
#ifndef TG_SCRIPT_API_LOG_H
#define TG_SCRIPT_API_LOG_H

struct lua_State;

int tg_log_open(struct lua_State *L);

#endif
