/* host_internal.h - what host.c, hooks.c, agents.c and api/tide.c share. */
#ifndef TG_SCRIPT_HOST_INTERNAL_H
#define TG_SCRIPT_HOST_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "net/timer.h"
#include "script/call/call.h"
#include "script/host.h"

struct tg_host {
    struct tg_script_env env;
    struct tg_host_options options;
    struct tg_generation *current;       /* owned; NULL before the first commit */
    struct tg_generation *prepared;      /* owned; NULL when none */
    struct tg_list draining;             /* tg_generation.node; owned */
    struct tg_map hook_calls;            /* connection serial -> tg_call that waits (kind HOOK) */
    struct tg_hook_beginning *beginning; /* hooks.c: calls that begin now, the innermost first */
    struct tg_map migrations;   /* connection serial -> struct migration; owned by migrate.c */
    struct tg_map remote_waits; /* ticket -> tg_call suspended in tide.send / close / close_user */
    uint64_t next_ticket;
    struct tg_timer reap_timer; /* the next look at those that drain */
    struct {                    /* rebuild.c's */
        struct tg_timer timer;
        bool wanted;
        enum tg_rebuild why;
        uint64_t not_before_ms;
        uint64_t delay_ms; /* between the last two */
    } rebuild;
};

/* What those are told whose calls end with their generation. */
#define TG_RELOADED_TEXT "the policy was reloaded and the old version's time was up"

/* env is embedded in the host, so any generation finds its host. NULL for a probe. */
struct tg_host *tg__host_of(struct tg_generation *generation);
/* Makes a generation the current one and lets the one before drain. */
void tg__host_switch(struct tg_host *host, struct tg_generation *next);
/* True while Lua code of this host is on the stack of this thread. */
bool tg__host_is_running(const struct tg_host *host);
/* A call of this generation has ended: destroys a retired generation with its last call, later, from
 * the loop (never while its Lua code is on the C stack). */
void tg__host_call_ended(struct tg_host *host, struct tg_generation *generation);

#endif
