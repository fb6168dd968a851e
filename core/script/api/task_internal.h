/* task_internal.h - what task.c, task_life.c and task_group.c share. */
#ifndef TG_SCRIPT_API_TASK_INTERNAL_H
#define TG_SCRIPT_API_TASK_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"

struct lua_State;
struct tg_call;
struct tg_task_group;

#define TG_TASKS_MAX 1000     /* of one root at a time */
#define TG_TASK_VALUES_MAX 16 /* arguments or results */

enum tg_task_state { TG_TASK_UNDER_WAY, TG_TASK_RETURNED, TG_TASK_FAILED, TG_TASK_CANCELLED };

/* The userdata behind a task. Its environment, once it has ended with any, holds the results from 1 on,
 * or the error object. */
struct tg_task {
    enum tg_task_state state;
    struct tg_call *call;        /* borrowed until it ends; NULL then */
    struct tg_call *parent;      /* borrowed: outlives `call` */
    struct tg_task_group *group; /* of tide.all; NULL: none, or it has lost interest */
    struct tg_list member;       /* tg_task_group.members */
    struct tg_list waiters;      /* tg_call.waiting */
    struct tg_list unheard;      /* tg_call.unheard of the parent */
    int anchor;                  /* registry reference, or LUA_NOREF */
    int count;                   /* values in the environment */
    char *text;      /* owned; failed: for the log, and where there is no error object */
    char *traceback; /* owned; failed */
};

/* Why no `more` tasks of this call (NULL: at load time) may begin; NULL: they may. */
const char *tg__task_refusal(const struct tg_call *parent, size_t more);
/* Raises "name: text" at the script's line, from a function that is called through _task.lua. */
int tg__task_raise(struct lua_State *L, const char *name, const char *text);
/* Pushes a task that tg__task_start begins. */
struct tg_task *tg__task_push(struct lua_State *L, struct tg_call *parent);
/* Takes the `count` values on top of the stack. It may have failed, and the object be kept by nobody but
 * the stack, when this returns. */
void tg__task_start(struct lua_State *L, struct tg_task *task, int count);
/* What a wait for the task at `index` gives, for _task.lua: true and the results, false and the error, nil
 * and "cancelled". */
int tg__task_push_outcome(struct lua_State *L, const struct tg_task *task, int index);

/* Somebody asks how it ended: its error needs not be logged any more. */
void tg__task_heard(struct lua_State *L, struct tg_task *task);

/* task.c: makes the userdata on top a task. */
void tg__task_set_type(struct lua_State *L);

/* task_group.c: a member has ended. */
void tg__task_group_ended(struct tg_task_group *group, struct tg_task *task);
/* all(functions) -> as tg__task_push_outcome, with results and errors */
int tg__task_all(struct lua_State *L);

#endif
