/* host.h - one worker's scripts: the current generation, the older ones that still have calls under
 * way, and the next one that is being prepared.
 *
 * Implements what a connection asks (tg_conn_upper, with agent/) and what a run asks
 * (tg_run_executor). Worker thread only.
 */
#ifndef TG_SCRIPT_HOST_H
#define TG_SCRIPT_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/run.h"
#include "base/error.h"
#include "connection/hooks.h"
#include "script/policy/generation.h"
#include "script/policy/source.h"

struct tg_host;

struct tg_host_options {
    struct tg_script_env env;  /* copied; env.post is called with the host's tickets */
    uint64_t drain_timeout_ms; /* reload.drain_timeout */
    size_t max_generations;    /* reload.max_generations */
};

TG_MUST enum tg_err tg_host_create(struct tg_host **out, const struct tg_host_options *options);
/* Cancels every call and closes every state. NULL is allowed. */
void tg_host_destroy(struct tg_host *host);

/* Two-phase switch. prepare builds the next generation beside the current one (replacing a prepared
 * one); commit makes it current, abort drops it. */
TG_MUST enum tg_err tg_host_prepare(struct tg_host *host, struct tg_source *source,
                                    struct tg_error *error);
void tg_host_commit(struct tg_host *host);
void tg_host_abort(struct tg_host *host);

/* "" before the first commit. */
const char *tg_host_version(const struct tg_host *host);
size_t tg_host_generations(const struct tg_host *host); /* current and draining */
struct tg_generation_facts {
    const char *version; /* borrowed until the callback returns */
    size_t calls;
    size_t memory_bytes;
    bool draining;
};
/* The current one first, then those that drain, oldest first. */
void tg_host_each_generation(const struct tg_host *host,
                             void (*fn)(void *ctx, const struct tg_generation_facts *facts),
                             void *ctx);

/* What the layers below need. run_start/run_cancel/runs_end of the upper are agent/'s and are filled in
 * by app/. */
bool tg_host_hook_defined(void *host, enum tg_hook hook);
void tg_host_hook_start(void *host, struct tg_conn *conn, enum tg_hook hook,
                        const struct tg_hook_input *input);
void tg_host_hook_cancel(void *host, struct tg_conn *conn);
struct tg_run_executor tg_host_executor(struct tg_host *host);

/* The answer to env.post: err is TG_ERR_OK, TG_ERR_CLOSED, TG_ERR_LIMIT, … */
void tg_host_remote_done(struct tg_host *host, uint64_t ticket, enum tg_err err);
/* The answer to env.post_closing. */
void tg_host_closing_done(struct tg_host *host, uint64_t ticket, size_t closed);

#endif
