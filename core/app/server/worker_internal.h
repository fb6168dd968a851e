/* worker_internal.h - what worker.c (its life), worker_listeners.c (where connections come from),
 * worker_orders.c (between workers), worker_rows.c and worker_policy.c (questions from the admin interface)
 * share. */
#ifndef TG_APP_WORKER_INTERNAL_H
#define TG_APP_WORKER_INTERNAL_H

#include <uv.h>

#include "agent/run.h"
#include "app/server/layers.h"
#include "app/server/worker.h"
#include "base/log_gate.h"
#include "connection/hub.h"
#include "net/listener.h"
#include "net/mailbox.h"
#include "script/host.h"

struct tg_worker {
    struct tg_worker_options options;
    struct tg_metrics *metrics; /* owned */
    uv_loop_t loop;
    uv_thread_t thread;
    struct tg_net *net;
    struct tg_timers *timers;
    struct tg_mailbox *mailbox;
    struct tg_hub *hub;
    struct tg_runs *runs;
    struct tg_http_client *http;     /* what scripts fetch with */
    struct tg_ws_client *websockets; /* what they open elsewhere */
    struct tg_processes *processes;  /* where their agents' processes come from */
    struct tg_host *host;            /* created on the thread */
    struct tg_layers layers;         /* the three above */
    struct tg_meter *meter;          /* created on the thread */
    int *fds;                        /* owned until listening */
    bool *tls_fds;                   /* owned; as options.tls_fds */
    struct tg_tls_config *tls;       /* counted; for new connections; NULL: none */
    struct tg_listener **listeners;  /* owned; fd_count of them, NULL before listening */
    struct tg_worker *const *peers;  /* borrowed */
    size_t peer_count;
    struct tg_log_gate accept_gate;
    bool started; /* the thread runs, or has run */
    bool joined;
    bool draining;
    bool drained_told;
};

/* On the thread, also before listening and again. */
void tg__worker_stop_listening(struct tg_worker *worker);

/* tg_script_env.post */
enum tg_err tg__worker_post_order(void *worker, const struct tg_remote_order *order,
                                  uint64_t ticket);
/* tg_script_env.post_closing */
enum tg_err tg__worker_post_closing(void *worker, const struct tg_closing *what, uint64_t ticket);

#endif
