/* task.h - tide.spawn and tide.all: work of one hook, run or timer that goes on side by side. */
#ifndef TG_SCRIPT_API_TASK_H
#define TG_SCRIPT_API_TASK_H

struct lua_State;
struct tg_call;

void tg_task_open_type(struct lua_State *L);
/* Sets `spawn` and `all` in the module's table on top. */
void tg_task_add_functions(struct lua_State *L);

/* Logs the errors of ended tasks of this call that nobody has waited for. call.c, at the call's end. */
void tg_task_report_unheard(struct tg_call *call);

#endif
