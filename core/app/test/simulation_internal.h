/* simulation_internal.h - what simulation.c (its life), simulation_run.c (what happens in it) and
 * simulation_client.c (the other ends of its connections) share.
 */
#ifndef TG_APP_SIMULATION_INTERNAL_H
#define TG_APP_SIMULATION_INTERNAL_H

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "agent/quota.h"
#include "app/server/layers.h"
#include "app/test/simulation.h"
#include "base/clock.h"
#include "client/wire.h"
#include "connection/inbox.h"
#include "net/memory_stream.h"
#include "script/call/budget.h"
#include "script/kv/kv.h"
#include "script/passes.h"

/* Where the monotonic clock begins: far enough from 0 that nothing is "before the start". */
#define TG__SIM_EPOCH_MS UINT64_C(1000000)

/* A connection as it was when it was looked at last: nothing here is borrowed. */
struct tg_sim_look {
    bool seen;
    char id[TG_CONN_ID_SIZE];
    struct tg_lifecycle lifecycle;
    char *user_id; /* owned; NULL: not authenticated */
    struct tg_buffer identity, context, session;
    char policy_version[TG_POLICY_VERSION_SIZE];
};

struct tg_sim_client {
    struct tg_memory_peer *peer; /* owned */
    struct tg_wire *wire;        /* owned */
    uint64_t serial;             /* of the connection; 0: it was turned away */
    struct tg_sim_look look;
    struct tg_inbox messages; /* that the client has got */
    bool stalled;
    bool fin_sent;
};

struct tg_sim {
    struct tg_config config;
    bool live;
    struct tg_sim_live on_live;
    struct tg_clock_fake clock; /* unless live */
    uv_loop_t loop;
    uv_prepare_t turn; /* live only */
    bool loop_open, watched, draining;
    struct tg_net *net;
    struct tg_timers *timers;
    struct tg_timer drain_timer;
    struct tg_metrics *metrics;
    struct tg_admission *admission;
    struct tg_kv *kv;
    struct tg_passes *passes;
    struct tg_quota *quota;
    struct tg_cidr *trusted_proxies; /* owned */
    struct tg_script_option *script_options;
    struct tg_http_client *http;
    struct tg_ws_client *websockets; /* to other servers */
    struct tg_processes *processes;
    struct tg_layers layers;
    struct tg_meter *meter;
    struct tg_source *current, *previous; /* counted; what serves, what served before it */
    struct tg_sim_client **clients;       /* owned; client n is at n - 1 */
    size_t client_count;
    uint64_t last_serial;
    char **lines; /* owned; of the log */
    size_t line_count;
};

/* A test that is out of memory has no result. */
static inline void tg__sim_must(enum tg_err err)
{
    if (err != TG_ERR_OK)
        abort();
}

/* Around everything that runs code of the layers: this thread's clock and log are the simulation's. */
void tg__sim_enter(struct tg_sim *sim);
void tg__sim_leave(struct tg_sim *sim);

/* simulation_run.c: turns until nothing moves, without letting time pass. */
enum tg_sim_rest tg__sim_come_to_rest(struct tg_sim *sim);

/* Moves what the client has on its way, in both directions. False: nothing. */
bool tg__sim_client_move(struct tg_sim_client *client);
void tg__sim_client_destroy(struct tg_sim_client *client);
/* For struct tg_layers. */
void tg__sim_conn_over(void *sim, const struct tg_conn *conn);

#endif
