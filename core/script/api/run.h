/* run.h - what an agent sees of its run: the type `run`. */
#ifndef TG_SCRIPT_API_RUN_H
#define TG_SCRIPT_API_RUN_H

struct lua_State;
struct tg_agent_job;
struct tg_run_ref;

/* Registers the metatable in a new state, after tg_sandbox_open. */
void tg_run_open_type(struct lua_State *L);
/* Pushes the object of a run that begins; job->ref points to it while it lives. */
void tg_run_push(struct lua_State *L, struct tg_agent_job *job);

/* The run at `index`; NULL: something else is there. */
struct tg_run_ref *tg_run_ref_at(struct lua_State *L, int index);

#endif
