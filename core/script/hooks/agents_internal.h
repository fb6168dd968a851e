/* agents_internal.h - agents.c's, for migrate.c: runs that wait before their agent begins. */
#ifndef TG_SCRIPT_AGENTS_INTERNAL_H
#define TG_SCRIPT_AGENTS_INTERNAL_H

#include "script/call/call.h"
#include "script/hooks/agents.h"
#include "script/host.h"

/* Copies what the request points to, so that the job can wait. */
TG_MUST enum tg_err tg__agent_keep_request(struct tg_agent_job *job,
                                           const struct tg_run_request *request);
/* Begins the agent on this generation. The job may be gone after. */
void tg__agent_begin(struct tg_host *host, struct tg_generation *generation,
                     struct tg_agent_job *job);
/* Ends a run whose agent has not begun. */
void tg__agent_refuse(struct tg_agent_job *job, enum tg_call_outcome outcome);

#endif
