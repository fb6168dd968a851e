/* reload_internal.h - the coordinator's struct: reload.c changes it, reload_facts.c reads it. */
#ifndef TG_SCRIPT_RELOAD_INTERNAL_H
#define TG_SCRIPT_RELOAD_INTERNAL_H

#include "base/list.h"
#include "script/policy/reload.h"

enum tg_reload_phase {
    TG_RELOAD_IDLE,
    TG_RELOAD_PREPARING,
    TG_RELOAD_COMMITTING,
    TG_RELOAD_ABORTING
};

struct tg_reload {
    struct tg_script_env *probe_env; /* borrowed */
    struct tg_reload_workers workers;
    char *policy_path; /* owned */
    enum tg_reload_phase phase;
    bool rest_prepared;
    size_t awaited;                  /* workers that have not answered in this phase */
    struct tg_source *source;        /* counted; the candidate */
    struct tg_generation *candidate; /* owned; its probe */
    struct tg_generation *serving;   /* owned; the probe of what serves; NULL before the first */
    struct tg_source *previous;      /* counted; another version, that served before; NULL: none */
    struct tg_source
        *last_read; /* counted; the files when they were last read; NULL: could not be */
    struct tg_error last_read_error; /* then: why */
    struct tg_list waiters;          /* of the request under way */
    struct tg_list queue;            /* of those after it */
    struct tg_reload_result result;  /* being filled in */
    struct tg_reload_result last;
    bool has_last;
    uint64_t loaded_at_ms;
    uint64_t counts[2]; /* failed, ok */
};

#endif
