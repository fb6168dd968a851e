/* stopwatch.c - the processor's counter, where it ticks evenly and at the same rate on every core.
 *
 *   ns = ticks * ns_per_tick, a fixed-point number with 32 bits behind the point
 */
#include "base/stopwatch.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

bool tg_stopwatch_trusts(const char *clocksource)
{
    return strcmp(clocksource, "tsc") == 0 || strcmp(clocksource, "kvm-clock") == 0 ||
           strcmp(clocksource, "hyperv_clocksource_tsc_page") == 0;
}

#if defined(__x86_64__)
#include <cpuid.h>

#define INVARIANT_TSC (1U << 8) /* CPUID 0x80000007, EDX */
#define CLOCKSOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"

static bool is_trusted_by_kernel(void)
{
    char name[64] = "";
    FILE *file = fopen(CLOCKSOURCE, "re");

    if (file == NULL)
        return true; /* nothing is known against it */
    size_t len = fread(name, 1, sizeof name - 1, file);
    (void)fclose(file);
    name[len] = '\0';
    name[strcspn(name, "\n")] = '\0';
    return tg_stopwatch_trusts(name);
}

static bool has_counter(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & INVARIANT_TSC) != 0 &&
           is_trusted_by_kernel();
}

/* Not ordered with the instructions around it: some nanoseconds do not matter, and a fence takes more. */
static inline uint64_t read_counter(void)
{
    return __builtin_ia32_rdtsc();
}
#elif defined(__aarch64__)
static bool has_counter(void)
{
    return true;
}

static inline uint64_t read_counter(void)
{
    uint64_t ticks;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
}
#else
static bool has_counter(void)
{
    return false;
}

static inline uint64_t read_counter(void)
{
    return 0;
}
#endif

#define CALIBRATE_NS 2000000L
/* From 24 MHz, which some ARM counters have, to 10 GHz. */
#define NS_PER_TICK_MAX (UINT64_C(42) << 32)
#define NS_PER_TICK_MIN ((UINT64_C(1) << 32) / 10)

/* 0: the clock is read instead. Written before there are other threads. */
static uint64_t ns_per_tick;

struct moment {
    uint64_t ns;
    uint64_t ticks;
};

/* Both at the same time: of some tries, that which was interrupted least. */
static struct moment look(void)
{
    struct moment best = {0, 0};
    uint64_t best_took = UINT64_MAX;

    for (int i = 0; i < 16; i++) {
        uint64_t before = tg_clock_monotonic_ns();
        uint64_t ticks = read_counter();
        uint64_t took = tg_clock_monotonic_ns() - before;
        if (took < best_took) {
            best = (struct moment){before + took / 2, ticks};
            best_took = took;
        }
    }
    return best;
}

void tg_stopwatch_calibrate(void)
{
    struct timespec pause = {.tv_nsec = CALIBRATE_NS};

    if (ns_per_tick != 0 || !has_counter() || tg_clock_is_fake())
        return;
    struct moment from = look();
    (void)nanosleep(&pause, NULL);
    struct moment to = look();
    uint64_t ticks = to.ticks - from.ticks;
    if (to.ns - from.ns >= UINT64_C(1) << 32 || ticks == 0)
        return; /* it slept for seconds: this is no time to measure */
    uint64_t found = ((to.ns - from.ns) << 32) / ticks;
    if (found >= NS_PER_TICK_MIN && found <= NS_PER_TICK_MAX)
        ns_per_tick = found;
}

uint64_t tg_stopwatch_ns(void)
{
    if (ns_per_tick == 0 || tg_clock_is_fake())
        return tg_clock_monotonic_ns();
    return (uint64_t)(((unsigned __int128)read_counter() * ns_per_tick) >> 32);
}
