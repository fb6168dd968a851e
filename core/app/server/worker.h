/* worker.h - one thread with its own loop, listeners, connections, runs and scripts.
 *
 * Workers share nothing: whatever comes from outside comes as a letter. The functions below may be
 * called from any thread unless they say otherwise.
 */
#ifndef TG_APP_WORKER_H
#define TG_APP_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/metrics.h"
#include "connection/admission.h"
#include "connection/id.h"
#include "net/tls_config.h"
#include "ops/config.h"
#include "script/policy/generation.h"
#include "script/policy/source.h"

struct tg_closing;
struct tg_kv;
struct tg_passes;
struct tg_quota;
struct tg_worker;

/* What a worker reports. Called on the worker's thread. `index` counts from 0. */
struct tg_worker_events {
    void *ctx;
    void (*prepared)(void *ctx, size_t index, enum tg_err err, const struct tg_error *error);
    void (*switched)(void *ctx, size_t index);
    void (*drained)(void *ctx, size_t index); /* no connection and no run is left */
};

struct tg_worker_options {
    size_t index;
    const struct tg_config *config;        /* borrowed; not changed while workers live */
    struct tg_admission *admission;        /* borrowed; shared by all workers */
    struct tg_kv *kv;                      /* the same */
    struct tg_passes *passes;              /* the same */
    struct tg_quota *quota;                /* the same */
    const struct tg_cidr *trusted_proxies; /* borrowed */
    size_t trusted_proxy_count;
    const struct tg_script_option *script_options; /* borrowed */
    size_t script_option_count;
    int *fds; /* listening sockets, owned by the worker from create on; the array is copied */
    size_t fd_count;
    struct tg_tls_config *tls; /* counted up; NULL: no TLS */
    const bool *tls_fds;       /* which of fds speak it; copied; NULL: none */
    struct tg_worker_events events;
};

/* Main thread: everything that can fail, before the thread starts. */
TG_MUST enum tg_err tg_worker_create(struct tg_worker **out,
                                     const struct tg_worker_options *options,
                                     struct tg_error *error);
/* All workers, so that scripts can reach connections of others. Main thread, before start. */
void tg_worker_set_peers(struct tg_worker *worker, struct tg_worker *const *peers, size_t count);
TG_MUST enum tg_err tg_worker_start(struct tg_worker *worker, struct tg_error *error);
/* Main thread: stops the thread, if it was started, and waits for it. */
void tg_worker_join(struct tg_worker *worker);
/* Main thread, after the join of all workers: nobody may post to it any more. */
void tg_worker_destroy(struct tg_worker *worker);

const struct tg_metrics *tg_worker_metrics(const struct tg_worker *worker);

void tg_worker_prepare(struct tg_worker *worker, struct tg_source *source); /* counts it up */
void tg_worker_commit(struct tg_worker *worker);
void tg_worker_abort(struct tg_worker *worker);
void tg_worker_set_tls(struct tg_worker *worker, struct tg_tls_config *tls); /* counts it up */
void tg_worker_listen(struct tg_worker *worker);
void tg_worker_drain(struct tg_worker *worker);     /* stop accepting; let runs end */
void tg_worker_drain_now(struct tg_worker *worker); /* end what is left */
void tg_worker_stop(struct tg_worker *worker);      /* drop what is left; the thread ends */

/* Questions of the admin interface. `done` runs on the worker's thread with JSON in `rows` (freed after), or,
 * when the worker is going down, on the asking thread with nothing. */
struct tg_conn_filter {
    int state;         /* enum tg_state, or -1 */
    char user_id[257]; /* "" any */
    size_t limit;
};
typedef void (*tg_rows_fn)(void *ctx, struct tg_buffer *rows, size_t matched);
/* Comma-separated objects, at most filter->limit; `matched` counts all that fit the filter. */
void tg_worker_list(struct tg_worker *worker, const struct tg_conn_filter *filter, tg_rows_fn done,
                    void *ctx);
/* One object: the versions that live on the worker, and how many connections each has served last. */
void tg_worker_policy(struct tg_worker *worker, tg_rows_fn done, void *ctx);
/* One object with its transitions; no bytes when there is no such connection. */
void tg_worker_show(struct tg_worker *worker, const struct tg_conn_id *id, tg_rows_fn done,
                    void *ctx);
/* Closes it; matched is 1 when it was there. */
void tg_worker_close_conn(struct tg_worker *worker, const struct tg_conn_id *id, int code,
                          const char *reason, tg_rows_fn done, void *ctx);
/* Closes all that fit; matched counts them. */
void tg_worker_close_matching(struct tg_worker *worker, const struct tg_closing *what,
                              tg_rows_fn done, void *ctx);

#endif
