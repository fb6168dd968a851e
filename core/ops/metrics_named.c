/* metrics_named.c - what is counted under names that are met while the server runs: agents, and the reasons
 * of denials.
 *
 * Each worker has them in an order of its own, so a name is written where it is met first, with the sum over
 * all workers.
 */
#include "ops/metrics_text.h"

#include <stdbool.h>
#include <string.h>

#include "ops/metrics_page.h"

/* The name is read only after agents_used says that it is whole. */
static size_t agents_of(const struct tg_metrics *shard)
{
    uint64_t used = atomic_load_explicit(&shard->agents_used, memory_order_acquire);
    return used < TG_METRICS_AGENTS ? (size_t)used : TG_METRICS_AGENTS;
}

static const struct tg_agent_metrics *find_agent(const struct tg_metrics *shard, const char *name)
{
    for (size_t i = 0; i < agents_of(shard); i++) {
        if (strcmp(shard->agents[i].name, name) == 0)
            return &shard->agents[i];
    }
    return NULL;
}

/* Each worker names agents in its own order: a name is written where it is met first. */
static bool met_before(const struct tg__page *page, size_t shard, const char *name)
{
    for (size_t i = 0; i < shard; i++) {
        if (find_agent(page->shards[i], name) != NULL)
            return true;
    }
    return false;
}

typedef void (*agent_fn)(struct tg__page *page, const char *name);

static void each_agent(struct tg__page *page, agent_fn fn)
{
    for (size_t s = 0; s < page->shard_count; s++) {
        for (size_t i = 0; i < agents_of(page->shards[s]); i++) {
            const char *name = page->shards[s]->agents[i].name;
            if (!met_before(page, s, name))
                fn(page, name);
        }
    }
}

static void write_agent_running(struct tg__page *page, const char *name)
{
    uint64_t running = 0;

    for (size_t s = 0; s < page->shard_count; s++) {
        const struct tg_agent_metrics *agent = find_agent(page->shards[s], name);
        if (agent != NULL)
            running += tg_counter_get(&agent->running);
    }
    if (running > 0)
        tg__page_row(page, "runs", "agent", name, running);
}

static void write_agent_outcomes(struct tg__page *page, const char *name)
{
    const char *const names[2] = {"agent", "outcome"};

    for (size_t o = 0; o < TG_METRICS_RUN_OUTCOMES; o++) {
        uint64_t n = 0;
        for (size_t s = 0; s < page->shard_count; s++) {
            const struct tg_agent_metrics *agent = find_agent(page->shards[s], name);
            if (agent != NULL)
                n += tg_counter_get(&agent->outcomes[o]);
        }
        if (n > 0)
            tg__page_row2(page, "run_outcomes_total", names,
                          (const char *const[2]){name, page->labels->run_outcomes[o]}, n);
    }
}

void tg__page_runs(struct tg__page *page)
{
    tg__page_family(page, "runs", "gauge", "Agent runs under way.");
    each_agent(page, write_agent_running);
    tg__page_family(page, "run_outcomes_total", "counter", "How agent runs ended.");
    each_agent(page, write_agent_outcomes);
}

static const struct tg_denial_metrics *find_denial(const struct tg_metrics *shard,
                                                   const char *reason)
{
    for (size_t i = 0; i < tg_metrics_denials_used(shard); i++) {
        if (strcmp(shard->denials[i].reason, reason) == 0)
            return &shard->denials[i];
    }
    return NULL;
}

/* From shard `first` on; 0 when one before it has the reason: it is written already. */
static uint64_t denials_of(const struct tg__page *page, size_t first, const char *reason)
{
    uint64_t sum = 0;
    for (size_t s = 0; s < page->shard_count; s++) {
        const struct tg_denial_metrics *denial = find_denial(page->shards[s], reason);
        if (denial != NULL && s < first)
            return 0;
        if (denial != NULL)
            sum += tg_counter_get(&denial->count);
    }
    return sum;
}

void tg__page_denials(struct tg__page *page)
{
    tg__page_family(page, "auth_denials_total", "counter",
                    "Clients that authentication turned away, by the code of the denial.");
    for (size_t s = 0; s < page->shard_count; s++) {
        for (size_t i = 0; i < tg_metrics_denials_used(page->shards[s]); i++) {
            const char *reason = page->shards[s]->denials[i].reason;
            uint64_t sum = denials_of(page, s, reason);
            if (sum > 0)
                tg__page_row(page, "auth_denials_total", "reason", reason, sum);
        }
    }
}
