/* reload_facts.c - what people are told of the policy that serves and of how it came to. */
#include <lauxlib.h>

#include "script/policy/reload_internal.h"

const char *tg_reload_version(const struct tg_reload *reload)
{
    return reload->serving == NULL ? "" : reload->serving->version;
}

uint64_t tg_reload_loaded_at_ms(const struct tg_reload *reload)
{
    return reload->loaded_at_ms;
}

const struct tg_reload_result *tg_reload_last(const struct tg_reload *reload)
{
    return reload->has_last ? &reload->last : NULL;
}

uint64_t tg_reload_count(const struct tg_reload *reload, bool ok)
{
    return reload->counts[ok];
}

const char *tg_reload_previous(const struct tg_reload *reload)
{
    return reload->previous == NULL ? NULL : tg_source_version(reload->previous);
}

void tg_reload_each_agent(struct tg_reload *reload, void (*fn)(void *ctx, const char *name),
                          void *ctx)
{
    if (reload->serving != NULL)
        tg_generation_each_agent(reload->serving, fn, ctx);
}

void tg_reload_each_hook(struct tg_reload *reload, void (*fn)(void *ctx, const char *name),
                         void *ctx)
{
    if (reload->serving != NULL)
        tg_generation_each_hook(reload->serving, fn, ctx);
}
