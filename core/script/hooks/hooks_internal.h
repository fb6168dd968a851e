/* hooks_internal.h - hooks.c's, for migrate.c: beginning a hook, and how one that failed is told. */
#ifndef TG_SCRIPT_HOOKS_INTERNAL_H
#define TG_SCRIPT_HOOKS_INTERNAL_H

#include "script/call/call.h"
#include "script/hooks/hook_results.h"
#include "script/host.h"

enum tg_hook_outcome tg__hook_outcome_of(enum tg_call_outcome outcome);
void tg__hook_count(struct tg_host *host, enum tg_hook hook, enum tg_hook_outcome outcome,
                    uint64_t started_ns);
void tg__hook_log_failure(const struct tg_call *call, enum tg_hook_outcome outcome,
                          const char *message, const char *traceback);
/* A reading of a hook that failed on this generation; the peer is told when that was ended. */
void tg__hook_fail(struct tg_hook_reading *reading, const struct tg_generation *generation,
                   enum tg_hook_outcome outcome);
/* Begins the hook on this generation. */
void tg__hook_begin(struct tg_host *host, struct tg_generation *generation, struct tg_conn *conn,
                    enum tg_hook hook, const struct tg_hook_input *input);
/* Answers a hook that could not begin. */
void tg__hook_answer_failed(struct tg_host *host, struct tg_conn *conn, enum tg_hook hook,
                            enum tg_hook_outcome outcome, const char *why);

#endif
