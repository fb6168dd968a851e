/* timer.h - the module tidegate.timer: work that the policy does by itself. */
#ifndef TG_SCRIPT_API_TIMER_H
#define TG_SCRIPT_API_TIMER_H

struct lua_State;
struct tg_generation;

void tg_lua_timer_open_type(struct lua_State *L);
int tg_lua_timer_open(struct lua_State *L);

/* The generation serves from now on: the timers that it has set begin. */
void tg_lua_timers_begin(struct tg_generation *generation);
/* No timer of it fires any more; callbacks under way go on. Idempotent. */
void tg_lua_timers_end(struct tg_generation *generation);

#endif
