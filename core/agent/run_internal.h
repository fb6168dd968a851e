/* run_internal.h - what run.c (one run), run_tools.c (its tool calls), run_tree.c (runs that call runs) and
 * runs.c (all of a worker) share. */
#ifndef TG_AGENT_RUN_INTERNAL_H
#define TG_AGENT_RUN_INTERNAL_H

#include "agent/event.h"
#include "agent/quota.h"
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
    struct tg_run *parent;    /* borrowed until either ends; NULL: none (any more) */
    struct tg_run *outermost; /* borrowed: ends after this; itself without a parent */
    struct tg_list children;  /* tg_run.sibling: those under way */
    struct tg_list sibling;
    uint64_t below;             /* outermost: runs under way below it, at any depth */
    struct tg_run_watch *watch; /* borrowed; who waits for it; NULL: nobody */
    struct tg_run_limits limits;
    uint64_t tokens;                           /* spent, by it and below it */
    struct tg_quota_lease *of_user, *of_agent; /* places taken; NULL: none */
    char *user;                                /* owned; outermost: for limits by user */
    struct tg_list calls;
    struct tg_buffer delta;           /* text of deltas that wait to be sent as one */
    struct tg_deferred_send deferred; /* them, on the connection */
    struct tg_timer timeout;
    struct tg_agent_metrics *metrics; /* borrowed from the worker's shard */
    char *agent;                      /* owned */
    void *data;                       /* the executor's */
    uint64_t conn_serial;
    uint64_t started_ns;
    uint32_t last_call; /* also how many there were */
    unsigned depth;     /* from 1 */
    bool executing;     /* the executor has been told and must be told of an end from outside */
    bool unheard;       /* its connection is gone, it goes on */
    bool over;          /* the terminal event is sent, or could not be */
    char id[TG_RUN_ID_SIZE];
    char parent_id[TG_RUN_ID_SIZE];              /* "": a client started it */
    char policy_version[TG_POLICY_VERSION_SIZE]; /* that executes it */
};

/* May an event be sent now? *conn is NULL for a run that goes on unheard. */
TG_MUST enum tg_err tg__run_may_send(const struct tg_run *run, struct tg_conn **conn);
void tg__run_begin_event(struct tg_event_writer *event, enum tg_event type, struct tg_conn *conn,
                         const struct tg_run *run);
/* Its children, then its open tool calls, its terminal event, and whoever waits for it. Not when it is over. */
void tg__run_end(struct tg_run *run, const struct tg_run_result *result);
/* The same, and the executor is told. Nothing happens when it is over. */
void tg__run_end_from_outside(struct tg_run *run, const struct tg_run_result *result);

/* run_tools.c: innermost first, as a nested pair closes before the one around it. */
void tg__run_close_calls(struct tg_run *run, struct tg_conn *conn);

/* run_tree.c: sets its time-out. */
TG_MUST enum tg_err tg__run_arm(struct tg_run *run);
/* In the course of a run's end. */
void tg__run_leave_parent(struct tg_run *run);
void tg__run_end_children(struct tg_run *run, enum tg_run_outcome outcome);
void tg__run_tell_parent(struct tg_run *run, struct tg_run *parent,
                         const struct tg_run_result *result);

/* runs.c: not yet announced. conn NULL: a child whose connection is gone. TG_ERR_LIMIT, TG_ERR_NOMEM. */
TG_MUST enum tg_err tg__run_create(struct tg_run **out, struct tg_runs *runs, struct tg_run *parent,
                                   const struct tg_conn *conn, const char *agent,
                                   const struct tg_run_limits *limits);
/* Announces and executes it; it is gone when this fails. watch: who waits for a child. */
TG_MUST enum tg_err tg__run_launch(struct tg_run *run, const struct tg_run_request *request,
                                   struct tg_run_watch *watch);

/* Drops what waits to be sent as one delta. */
void tg__run_forget_delta(struct tg_run *run);
TG_MUST enum tg_err tg__run_send_started(struct tg_run *run, const struct tg_run_request *request);

#endif
