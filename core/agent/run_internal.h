/* run_internal.h - what run.c (one run) and runs.c (all of a worker) share. */
#ifndef TG_AGENT_RUN_INTERNAL_H
#define TG_AGENT_RUN_INTERNAL_H

#include "agent/run.h"
#include "base/list.h"
#include "base/metrics.h"
#include "net/timer.h"

struct tg_runs {
    struct tg_runs_options options;
    struct tg_run_executor executor;
    struct tg_hub *hub; /* borrowed */
    struct tg_list all; /* tg_run.of_runs; owned */
    size_t count;       /* not yet released */
    uint64_t sequence;
};

/* A tool call that has been announced and not yet answered. */
struct tg_tool_call {
    struct tg_list node; /* tg_run.calls; owned */
    uint64_t started_ns;
    uint32_t number;
    char name[];
};

struct tg_run {
    struct tg_runs *runs;   /* borrowed */
    struct tg_list of_conn; /* tg_conn_run_list while it is under way and heard */
    struct tg_list of_runs;
    struct tg_list calls;
    struct tg_buffer delta;           /* text of deltas that wait to be sent as one */
    struct tg_deferred_send deferred; /* them, on the connection */
    struct tg_timer timeout;
    struct tg_agent_metrics *metrics; /* borrowed from the worker's shard */
    char *agent;                      /* owned */
    void *data;                       /* the executor's */
    uint64_t conn_serial;
    uint64_t started_ns;
    uint32_t last_call;
    bool executing; /* the executor has been told and must be told of an end from outside */
    bool unheard;   /* its connection is gone, it goes on */
    bool over;      /* the terminal event is sent, or could not be */
    char id[TG_RUN_ID_SIZE];
    char policy_version[TG_POLICY_VERSION_SIZE]; /* that executes it */
};

/* Drops what waits to be sent as one delta. */
void tg__run_forget_delta(struct tg_run *run);
TG_MUST enum tg_err tg__run_send_started(struct tg_run *run, const struct tg_run_request *request);

#endif
