/* budget.c - the watchdog thread, the signal it sends, and the hook that ends a script.
 *
 *   worker:    begin ── sequence odd ──────────────── runs Lua ─────── end ── sequence even
 *   watchdog:  sees a new odd sequence: stamps the thread's CPU clock … budget used up: condemns that
 *              sequence and signals the thread, again at every look until the sequence moves on
 *   handler:   (on the worker) arms the count hook if the condemned sequence is still the running one
 *   hook:      raises, at every instruction, until end
 *
 * I1  The handler touches a state only between its begin and end: both run on the same thread, and the
 *     sequence turns even before end looks whether a hook must be taken off.
 * I2  A signal that comes late finds another sequence and does nothing.
 * I3  While nothing runs Lua for IDLE_MS, the watchdog sleeps until begin wakes it: either it sees the sequence
 *     or begin sees `asleep`. The full barriers that this takes are the watchdog's alone (membarrier), as
 *     one in begin would double its price; where there are none it does not sleep.
 *
 * The budget counts the thread's CPU time, so that a worker which the system leaves waiting is not
 * taken for a script that computes. It is measured from the watchdog's first look at a resume, which
 * spares begin a system call and makes a kill at most one look late.
 */
#include "script/call/budget.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <lua.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/sanitizer.h"
#include "script/call/trace.h"

#define LOOK_MS_MAX 4
/* Of the thread's stack, below begin; some two hundred calls from C into Lua and back. */
#define NESTING_BYTES_MAX ((uintptr_t)128 << 10)
#define IDLE_MS 500
#define membarrier(command) syscall(SYS_membarrier, command, 0, 0)
#define NS_PER_MS UINT64_C(1000000)
/* Standard signals do not pile up when several are sent before the first is handled. */
#define BUDGET_SIGNAL SIGVTALRM

struct tg_meter {
    struct tg_list node; /* watchdog.meters */
    pthread_t thread;
    clockid_t cpu_clock;
    uint64_t budget_ns;
    _Atomic uint64_t sequence;  /* odd: inside Lua; written by the thread itself */
    _Atomic uint64_t condemned; /* the sequence that used up its budget; written by the watchdog */
    struct lua_State *volatile state; /* borrowed from begin to end */
    uintptr_t stack;                  /* where the thread's stack was at begin */
    volatile sig_atomic_t armed;      /* the handler has set the hook */
    char where[TG_METER_WHERE_SIZE];  /* what was interrupted first, and how it came there */
    char trace[TG_METER_TRACE_SIZE];
    bool in_library;
    uint64_t noted;         /* the sequence that these three are of */
    uint64_t seen_sequence; /* the watchdog's own */
    uint64_t seen_cpu_ns;
};

static struct {
    pthread_mutex_t lock; /* guards users, stop, meters */
    pthread_cond_t changed;
    pthread_t thread;
    size_t users;
    bool stop;
    struct tg_list meters; /* borrowed until tg_meter_destroy */
    _Atomic bool asleep;
    bool may_sleep;
} watchdog = {.lock = PTHREAD_MUTEX_INITIALIZER, .meters = {&watchdog.meters, &watchdog.meters}};

/* The meter between begin and end on this thread. */
static _Thread_local struct tg_meter *volatile running;

/* ThreadSanitizer holds signals back until the next library call, which a busy script never makes, and
 * its runtime must not be entered from a handler. So under it the handler is set without its knowledge
 * and is not instrumented. */
#if TG_UNDER_TSAN
extern int __sigaction(int number, const struct sigaction *action, struct sigaction *old);
#define set_handler __sigaction
#ifdef __clang__
#define NOT_INSTRUMENTED __attribute__((disable_sanitizer_instrumentation))
#else
#define NOT_INSTRUMENTED __attribute__((no_sanitize("thread")))
#endif
#else
#define set_handler sigaction
#define NOT_INSTRUMENTED
#endif

/* Once for each begin: what a script that goes on after its kill does next is of no interest. */
void tg_meter_note(struct tg_meter *meter, struct lua_State *L)
{
    uint64_t sequence = atomic_load_explicit(&meter->sequence, memory_order_relaxed);

    if (meter->noted == sequence)
        return;
    meter->noted = sequence;
    tg_trace_place(L, meter->where, sizeof meter->where);
    tg_trace_write(L, meter->trace, sizeof meter->trace);
    meter->in_library = tg_trace_in_library(L);
}

int tg_meter_raise(struct tg_meter *meter, struct lua_State *L)
{
    tg_meter_note(meter, L);
    lua_pushfstring(L, "%s: used up its CPU budget", meter->where[0] != '\0' ? meter->where : "?");
    return lua_error(L);
}

static void on_hook(lua_State *L, lua_Debug *ar)
{
    struct tg_meter *meter = running;

    (void)ar;
    if (meter != NULL && tg_meter_expired(meter))
        (void)tg_meter_raise(meter, L);
}

NOT_INSTRUMENTED static void on_signal(int number)
{
    int saved_errno = errno;
    struct tg_meter *meter = running;

    (void)number;
    if (meter != NULL) {
        uint64_t sequence = atomic_load_explicit(&meter->sequence, memory_order_relaxed);
        if ((sequence & 1) != 0 &&
            atomic_load_explicit(&meter->condemned, memory_order_relaxed) == sequence) {
            meter->armed = 1;
            (void)lua_sethook(meter->state, on_hook, LUA_MASKCOUNT, 1);
        }
    }
    errno = saved_errno;
}

static uint64_t cpu_now_ns(const struct tg_meter *meter)
{
    struct timespec now;
    if (clock_gettime(meter->cpu_clock, &now) != 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000 * NS_PER_MS + (uint64_t)now.tv_nsec;
}

/* True when the meter was in use since the last look. */
static bool look_at(struct tg_meter *meter)
{
    uint64_t sequence = atomic_load_explicit(&meter->sequence, memory_order_acquire);
    bool moved = sequence != meter->seen_sequence;
    if ((sequence & 1) == 0) {
        meter->seen_sequence = sequence;
        return moved;
    }
    if (moved) {
        meter->seen_sequence = sequence;
        meter->seen_cpu_ns = cpu_now_ns(meter);
        return true;
    }
    if (cpu_now_ns(meter) - meter->seen_cpu_ns > meter->budget_ns) {
        atomic_store_explicit(&meter->condemned, sequence, memory_order_release);
        (void)pthread_kill(meter->thread, BUDGET_SIGNAL);
    }
    return true;
}

/* True when any meter was in use. *look_ms: how soon to look again, from the smallest budget. */
static bool look_at_all(uint64_t *look_ms)
{
    bool used = false;

    *look_ms = LOOK_MS_MAX;
    TG_LIST_EACH (node, next, &watchdog.meters) {
        struct tg_meter *meter = TG_CONTAINER_OF(node, struct tg_meter, node);
        if (look_at(meter))
            used = true;
        if (meter->budget_ns / 8 < *look_ms * NS_PER_MS)
            *look_ms = meter->budget_ns / 8 / NS_PER_MS;
    }
    if (*look_ms == 0)
        *look_ms = 1;
    return used;
}

static void wait_ms(uint64_t ms)
{
    uint64_t due_ns = tg_clock_monotonic_ns() + ms * NS_PER_MS;
    struct timespec due = {(time_t)(due_ns / (1000 * NS_PER_MS)),
                           (long)(due_ns % (1000 * NS_PER_MS))};

    (void)pthread_cond_timedwait(&watchdog.changed, &watchdog.lock, &due);
}

/* Unless a begin has slipped in between the last look and the announcement (I3). */
static void sleep_until_used(void)
{
    uint64_t unused;
    atomic_store_explicit(&watchdog.asleep, true, memory_order_seq_cst);
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0 || look_at_all(&unused))
        atomic_store_explicit(&watchdog.asleep, false, memory_order_seq_cst);
    while (atomic_load_explicit(&watchdog.asleep, memory_order_seq_cst) && !watchdog.stop)
        (void)pthread_cond_wait(&watchdog.changed, &watchdog.lock);
    atomic_store_explicit(&watchdog.asleep, false, memory_order_seq_cst);
}

static void *watch(void *unused)
{
    uint64_t used_ms = tg_clock_monotonic_ms();

    (void)pthread_mutex_lock(&watchdog.lock);
    while (!watchdog.stop) {
        uint64_t look_ms;
        if (look_at_all(&look_ms)) {
            used_ms = tg_clock_monotonic_ms();
        } else if (watchdog.may_sleep && tg_clock_monotonic_ms() - used_ms > IDLE_MS) {
            sleep_until_used();
            used_ms = tg_clock_monotonic_ms();
        }
        if (!watchdog.stop)
            wait_ms(look_ms);
    }
    (void)pthread_mutex_unlock(&watchdog.lock);
    return unused;
}

static void wake_watchdog(void)
{
    (void)pthread_mutex_lock(&watchdog.lock);
    atomic_store_explicit(&watchdog.asleep, false, memory_order_seq_cst);
    (void)pthread_cond_broadcast(&watchdog.changed);
    (void)pthread_mutex_unlock(&watchdog.lock);
}

static int start_thread(void)
{
    struct sigaction action = {.sa_flags = SA_RESTART};
    sigset_t all, before;
    pthread_condattr_t attributes;

    action.sa_handler = on_signal;
    (void)sigemptyset(&action.sa_mask);
    if (set_handler(BUDGET_SIGNAL, &action, NULL) != 0)
        return errno;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&watchdog.changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    watchdog.stop = false;
    watchdog.may_sleep = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
    /* The process's signals are for others. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&watchdog.thread, NULL, watch, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

enum tg_err tg_watchdog_start(struct tg_error *error)
{
    int failed = 0;

    (void)pthread_mutex_lock(&watchdog.lock);
    if (watchdog.users == 0)
        failed = start_thread();
    if (failed == 0)
        watchdog.users++;
    (void)pthread_mutex_unlock(&watchdog.lock);
    if (failed != 0)
        return tg_error_set(error, TG_ERR_SYS, "cannot start the script watchdog: %s",
                            strerror(failed));
    return TG_ERR_OK;
}

void tg_watchdog_stop(void)
{
    (void)pthread_mutex_lock(&watchdog.lock);
    bool last = watchdog.users > 0 && --watchdog.users == 0;
    if (last) {
        watchdog.stop = true;
        (void)pthread_cond_broadcast(&watchdog.changed);
    }
    (void)pthread_mutex_unlock(&watchdog.lock);
    if (!last)
        return;
    (void)pthread_join(watchdog.thread, NULL);
    (void)pthread_cond_destroy(&watchdog.changed);
}

enum tg_err tg_meter_create(struct tg_meter **out, uint64_t budget_ms)
{
    struct tg_meter *meter = tg_calloc(1, sizeof *meter);
    sigset_t mine;

    if (meter == NULL)
        return TG_ERR_NOMEM;
    meter->thread = pthread_self();
    meter->budget_ns = budget_ms * NS_PER_MS;
    atomic_init(&meter->condemned, UINT64_MAX); /* no sequence ever gets there */
    if (pthread_getcpuclockid(meter->thread, &meter->cpu_clock) != 0) {
        tg_free(meter);
        return TG_ERR_SYS;
    }
    (void)sigemptyset(&mine);
    (void)sigaddset(&mine, BUDGET_SIGNAL);
    (void)pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
    (void)pthread_mutex_lock(&watchdog.lock);
    tg_list_push(&watchdog.meters, &meter->node);
    (void)pthread_mutex_unlock(&watchdog.lock);
    *out = meter;
    return TG_ERR_OK;
}

void tg_meter_destroy(struct tg_meter *meter)
{
    if (meter == NULL)
        return;
    (void)pthread_mutex_lock(&watchdog.lock);
    tg_list_remove(&meter->node);
    (void)pthread_mutex_unlock(&watchdog.lock);
    tg_free(meter);
}

void tg_meter_begin(struct tg_meter *meter, struct lua_State *main_state)
{
    uint64_t sequence = atomic_load_explicit(&meter->sequence, memory_order_relaxed);

    meter->state = main_state;
    meter->stack = (uintptr_t)__builtin_frame_address(0);
    running = meter;
    atomic_store_explicit(&meter->sequence, sequence + 1, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst); /* the processor's part is membarrier's: I3 */
    if (atomic_load_explicit(&watchdog.asleep, memory_order_relaxed))
        wake_watchdog();
}

bool tg_meter_end(struct tg_meter *meter)
{
    uint64_t sequence = atomic_load_explicit(&meter->sequence, memory_order_relaxed);

    atomic_store_explicit(&meter->sequence, sequence + 1, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst); /* before `armed` is read: I1 */
    running = NULL;
    if (meter->armed != 0) {
        (void)lua_sethook(meter->state, NULL, 0, 0);
        meter->armed = 0;
    }
    return atomic_load_explicit(&meter->condemned, memory_order_acquire) == sequence;
}

bool tg_meter_expired(const struct tg_meter *meter)
{
    return atomic_load_explicit(&meter->condemned, memory_order_acquire) ==
           atomic_load_explicit(&meter->sequence, memory_order_relaxed);
}

bool tg_meter_nests_deeply(const struct tg_meter *meter)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    /* Stacks grow downwards wherever LuaJIT runs. */
    return here < meter->stack && meter->stack - here > NESTING_BYTES_MAX;
}

/* Whether the last kill was noted: a C function may have used up the budget and returned just then. */
static bool is_noted(const struct tg_meter *meter)
{
    return meter->noted == atomic_load_explicit(&meter->condemned, memory_order_acquire);
}

const char *tg_meter_where(const struct tg_meter *meter)
{
    return is_noted(meter) ? meter->where : "";
}

const char *tg_meter_trace(const struct tg_meter *meter)
{
    return is_noted(meter) ? meter->trace : "";
}

bool tg_meter_in_library(const struct tg_meter *meter)
{
    return is_noted(meter) && meter->in_library;
}

uint64_t tg_meter_budget_ms(const struct tg_meter *meter)
{
    return meter->budget_ns / NS_PER_MS;
}
