/* generation.h - one lua_State, built from one version of the policy, on one worker.
 *
 * Owns the state, its memory account, the references to the policy's hooks and agents, and the calls
 * under way in it. Built and checked in full before anyone uses it; destroyed when its last call has
 * ended. Isolated: no generation sees another's tables.
 */
#ifndef TG_SCRIPT_GENERATION_H
#define TG_SCRIPT_GENERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/run.h"
#include "base/block_pool.h"
#include "base/error.h"
#include "base/list.h"
#include "base/metrics.h"
#include "connection/hooks.h"
#include "connection/hub.h"
#include "net/timer.h"
#include "script/call/budget.h"
#include "script/call/collector.h"
#include "script/policy/source.h"

struct lua_State;
struct tg_buffer;
struct tg_build;
struct tg_http_client;
struct tg_ws_client;
struct tg_kv;
struct tg_passes;
struct tg_processes;
struct tg_closing;
struct tg_runs;
struct tg_call;
struct tg_host;

/* One leaf of the configuration's `options`; mirrors what ops/ keeps without knowing it. */
enum tg_script_option_kind {
    TG_SCRIPT_OPTION_STRING,
    TG_SCRIPT_OPTION_NUMBER,
    TG_SCRIPT_OPTION_BOOL
};
struct tg_script_option {
    const char *path; /* "upstream.url" */
    enum tg_script_option_kind kind;
    const char *text;
    bool from_text; /* came from a flag or the environment: may be read as the declared type */
};

/* What a policy may know of the server that it is for: tide.server. */
struct tg_script_texts {
    const char *const *items;
    size_t count;
};
struct tg_script_server {
    struct tg_script_texts listen, allowed_origins, trusted_proxies;
    const char *client_auth; /* "none", "optional", "required"; NULL: nobody listens */
};

/* What a policy may run as agents; see tg_program_find. */
struct tg_script_programs {
    struct tg_script_texts allowed;
    bool any; /* nothing is really run: a simulation */
};

/* A message for a connection of another worker. */
struct tg_remote_order {
    struct tg_conn_id id;
    enum { TG_REMOTE_TEXT, TG_REMOTE_BINARY, TG_REMOTE_CLOSE } what;
    const void *data; /* text or bytes; close: the reason */
    size_t len;
    int code; /* close */
};

/* What one worker lends to its scripts. All borrowed for the life of the host. In the probe that only
 * loads and checks (no worker), hub, runs, timers, metrics and post are NULL. */
struct tg_script_env {
    uint8_t worker;
    struct tg_timers *timers;
    struct tg_hub *hub;
    struct tg_runs *runs;
    struct tg_metrics *metrics;
    struct tg_meter *meter;
    uint64_t wall_budget_ms;
    size_t memory_max;
    const struct tg_script_option *options;
    size_t option_count;
    struct tg_script_server server;
    struct tg_script_programs programs;
    /* Carries an order to worker `id.serial >> 40`; `ticket` comes back through tg_host_remote_done.
     * TG_ERR_NOT_FOUND: no such worker. */
    void *post_ctx;
    enum tg_err (*post)(void *post_ctx, const struct tg_remote_order *order, uint64_t ticket);
    /* Carries it out on all workers, this one included; the number of connections comes back through
     * tg_host_closing_done. NULL: this worker is the only one. */
    enum tg_err (*post_closing)(void *post_ctx, const struct tg_closing *what, uint64_t ticket);
    struct tg_http_client *http;     /* for tidegate.http; NULL in the probe */
    struct tg_ws_client *websockets; /* to other servers; NULL in the probe */
    struct tg_processes *processes;  /* for agent.process; NULL in the probe */
    struct tg_http_defaults {
        uint64_t timeout_ms, connect_timeout_ms, idle_timeout_ms, response_max; /* 0: none */
    } http_defaults;
    struct tg_kv *kv; /* shared by all workers; NULL: each state has its own (check, the probe) */
    struct tg_passes *passes; /* the same; NULL: there are none (check, the probe) */
    struct tg_host *host;     /* filled in by the host that embeds this; NULL without one */
};

/* One of the policy's agents. */
struct tg_agent_row {
    struct tg_list node;
    struct tg_run_limits limits;
    char name[];
};

struct tg_generation {
    struct lua_State *L;       /* owned */
    struct tg_script_env *env; /* borrowed */
    struct tg_source *source;  /* counted */
    char version[TG_POLICY_VERSION_SIZE];
    struct tg_block_pool small_blocks, medium_blocks; /* call/memory.c's */
    size_t memory_used;
    size_t memory_loaded; /* used when it was ready to serve */
    size_t memory_max;
    struct tg_collector collector; /* call/collector.c's */
    bool memory_unlimited; /* while the state is built and closed: our own code, not the policy's */
    int hook_refs[TG_HOOKS]; /* registry references, LUA_NOREF when not defined */
    int agents_ref;          /* name -> function */
    int checks_ref;          /* of services: name -> function */
    int services_ref;        /* runs in place of the hook prepare; LUA_NOREF: none */
    struct tg_list agents;   /* tg_agent_row.node; owned */
    char *default_agent;     /* owned; the only agent, or NULL */
    struct tg_list calls;    /* tg_call.node */
    size_t call_count;
    struct tg_call *current;  /* whose coroutine runs now; NULL at load time and outside Lua */
    struct tg_call *pool[32]; /* owned: ended calls, with their coroutines, to use again */
    size_t pool_count;
    int build_ref;                  /* call_door.c's; 0: none yet */
    struct tg_build *build;         /* call_door.c's: under way */
    const void *conn_metatable;     /* api/conn.c's: what tells a conn from anything else */
    int conn_objects_ref;           /* sequence of a connection's serial -> conn */
    struct tg_buffer *json_scratch; /* api/json.c's; the state owns it */
    struct tg_list timers;          /* api/timer: those that scripts have set */
    size_t timer_count;
    bool serves;             /* committed and not yet retired: its timers run */
    struct tg_list node;     /* host's list */
    bool retired;            /* no new calls; destroyed with the last one */
    bool ended;              /* retired, and what it still does is ended */
    uint64_t drain_until_ms; /* retired: when calls that are still under way are ended */
};

/* Builds, loads and checks. error: file, line, what, and a hint ("policy.lua:3: …"). Refused: no table
 * returned, no `authenticate`, an unknown hook (nearest name), a hook that is no function, agents
 * that are no functions, missing options, over budget at load. */
TG_MUST enum tg_err tg_generation_create(struct tg_generation **out, struct tg_script_env *env,
                                         struct tg_source *source, struct tg_error *error);
/* The same, with every mistake on its own (mistakes.h), for `check`. */
struct tg_mistakes;
TG_MUST enum tg_err tg_generation_build(struct tg_generation **out, struct tg_script_env *env,
                                        struct tg_source *source, struct tg_mistakes *mistakes);
void tg_generation_destroy(struct tg_generation *generation); /* call_count is 0; NULL is allowed */

/* Counts `bytes` that an object of the state holds outside of it, in place of *charged. False: there is no room
 * for them; they are counted all the same, until the object has let go of them. */
static inline bool tg_generation_charge(struct tg_generation *generation, size_t *charged,
                                        size_t bytes)
{
    size_t others = generation->memory_used - *charged;
    bool fits = bytes <= *charged || others + bytes <= generation->memory_max;

    generation->memory_used = others + bytes;
    *charged = bytes;
    return fits;
}

/* The generation that a state (or any coroutine of it) belongs to. */
struct tg_generation *tg_generation_of(struct lua_State *L);

/* The hooks that the policy defines, in the order of their table. */
void tg_generation_each_hook(const struct tg_generation *generation,
                             void (*fn)(void *ctx, const char *name), void *ctx);
/* Agent names, sorted, for `check` and GET /policy: calls fn for each. */
void tg_generation_each_agent(struct tg_generation *generation,
                              void (*fn)(void *ctx, const char *name), void *ctx);
void tg_generation_each_service(struct tg_generation *generation,
                                void (*fn)(void *ctx, const char *name), void *ctx);

#endif
