/* server_internal.h - what server*.c, signals.c and the admin_*.c files share. Main thread only. */
#ifndef TG_APP_SERVER_INTERNAL_H
#define TG_APP_SERVER_INTERNAL_H

#include <stdbool.h>
#include <uv.h>

#include "agent/quota.h"
#include "app/server/server.h"
#include "app/server/watch.h"
#include "app/server/worker.h"
#include "net/mailbox.h"
#include "net/sockets.h"
#include "net/stream.h"
#include "net/timer.h"
#include "ops/admin.h"
#include "script/call/budget.h"
#include "script/kv/kv.h"
#include "script/passes.h"
#include "script/policy/reload.h"

#define TG_SIGNALS 3

struct tg_server {
    const struct tg_config *config; /* borrowed */
    uv_loop_t loop;
    uv_signal_t signals[TG_SIGNALS];
    struct tg_net *net;
    struct tg_timers *timers;
    struct tg_mailbox *mailbox;
    struct tg_timer deadline;   /* of the drain */
    struct tg_worker **workers; /* owned */
    size_t worker_count;
    struct tg_script_option *script_options; /* owned; texts borrowed from config */
    struct tg_script_env probe;
    struct tg_meter *meter;
    struct tg_reload *reload;
    struct tg_watch *watch; /* NULL: nobody watches the policy's files */
    struct tg_admin *admin; /* NULL: off */
    struct tg_sockets sockets;
    struct tg_tls_config *tls;       /* counted; NULL: no TLS */
    struct tg_tls_config *tls_next;  /* counted; during a reload */
    struct tg_admission *admission;  /* owned; shared by the workers */
    struct tg_kv *kv;                /* owned; the same */
    struct tg_passes *passes;        /* owned; the same */
    struct tg_quota *quota;          /* owned; the same */
    struct tg_cidr *trusted_proxies; /* owned */
    size_t trusted_proxy_count;
    char admin_bound[TG_ADDRESS_SIZE];
    uint64_t started_ms;
    size_t drained; /* workers that are */
    bool watched;   /* the script watchdog runs */
    bool loop_open; /* and what is on it must be closed */
    bool serving;
    bool draining;
    bool stopped;
    int exit_code;
};

/* server.c: no run of the loop any more; idempotent. */
void tg__server_stop(struct tg_server *server);

/* server_reports.c: what workers are to call. */
struct tg_worker_events tg__reports_of_workers(struct tg_server *server);

/* server_sockets.c */
TG_MUST enum tg_err tg__sockets_open(struct tg_server *server, struct tg_error *error);
/* fds has server->sockets.count places; the caller owns what is put there. */
TG_MUST enum tg_err tg__sockets_of_worker(struct tg_server *server, int *fds,
                                          struct tg_error *error);
void tg__sockets_announce(const struct tg_server *server);

/* server_tls.c: certificates, read at the start and with every reload of the policy. */
TG_MUST enum tg_err tg__tls_start(struct tg_server *server, struct tg_error *error);
TG_MUST enum tg_err tg__tls_prepare(void *server, struct tg_error *error);
void tg__tls_switch(void *server, bool commit);

/* signals.c */
TG_MUST enum tg_err tg__signals_start(struct tg_server *server, struct tg_error *error);
void tg__signals_stop(struct tg_server *server);

/* admin_api.c */
TG_MUST enum tg_err tg__admin_start(struct tg_server *server, struct tg_error *error);

#endif
