/* figures.c - see figures.h. */
#include "figures.h"

#include <stdio.h>

#include "client.h"

void figures_start(struct figures *figures, pid_t server)
{
    figures->server = server;
    figures->at_start = process_usage(server);
    figures->started_ns = now_ns();
}

void figures_begin(struct figures *figures, uint64_t now)
{
    figures->began_ns = now;
    figures->at_begin = process_usage(figures->server);
}

void figures_end(struct figures *figures, uint64_t now)
{
    figures->at_end = process_usage(figures->server);
    figures->ended_ns = now;
}

void figures_note(struct figures *figures, uint64_t latency_ns)
{
    figures->operations++;
    histogram_add(&figures->latencies, latency_ns);
}

static double difference(uint64_t from, uint64_t to)
{
    return (double)to - (double)from;
}

void figures_print(const struct figures *figures, uint32_t clients)
{
    const struct usage *begin = &figures->at_begin, *end = &figures->at_end;
    double seconds = difference(figures->began_ns, figures->ended_ns) / 1e9;
    double operations = figures->operations == 0 ? 1 : (double)figures->operations;
    double user = difference(begin->user_ns, end->user_ns);
    double ticks = user + difference(begin->system_ns, end->system_ns);
    double user_share = ticks > 0 ? user / ticks : 0;
    double cpu_us = difference(begin->cpu_ns, end->cpu_ns) / 1e3 / operations;

    (void)printf("{\"operations\": %llu, \"seconds\": %.3f, \"per_second\": %.0f, ",
                 (unsigned long long)figures->operations, seconds,
                 (double)figures->operations / seconds);
    (void)printf("\"cpu_us\": %.3f, \"user_us\": %.3f, \"system_us\": %.3f, ", cpu_us,
                 cpu_us * user_share, cpu_us * (1 - user_share));
    (void)printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, ",
                 histogram_quantile(&figures->latencies, 0.5) / 1e3,
                 histogram_quantile(&figures->latencies, 0.99) / 1e3,
                 (double)figures->latencies.max / 1e3);
    (void)printf(
        "\"open_seconds\": %.3f, \"bytes_per_client\": %.0f}\n",
        figures->opened_ns == 0 ? 0 : difference(figures->started_ns, figures->opened_ns) / 1e9,
        difference(figures->at_start.resident, end->resident) / clients);
}
