/* source_internal.h - the snapshot, for source_read.c, which fills it, and source.c. */
#ifndef TG_SCRIPT_SOURCE_INTERNAL_H
#define TG_SCRIPT_SOURCE_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "script/policy/source.h"

struct tg__source_file {
    struct tg_source_file public; /* strings owned */
    bool entry;
    bool used;
};

struct tg_source {
    atomic_uint count;
    char *path;                    /* owned; as given */
    struct tg__source_file *files; /* owned */
    size_t file_count;
    size_t capacity;
    size_t bytes;
    const struct tg__source_file *entry;
    bool sealed;
    char version[TG_POLICY_VERSION_SIZE];
};

#endif
