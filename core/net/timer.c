/* timer.c - the heap of deadlines behind one loop timer.
 *
 * Owns the heap array and the uv_timer_t; the tg_timer nodes belong to their owners.
 *
 * I1  heap[i] has place i + 1 for every i < count; a timer that is not in the heap has 0.
 * I2  No timer in the heap is due before its parent.
 * I3  While the heap is not empty the loop timer is armed for the earliest due time or before it.
 *
 * The loop timer is only moved forward in time by waking up: pushing back the earliest deadline (what
 * every message does to an idle timer) costs no call into the loop, at the price of one early wake-up.
 *
 * The words of timers are compared as they are: the place below only decides between those that are due at
 * once. Of these a timer that is started goes behind, so that one which restarts itself lets others fire. And
 * words are read and written whole: the processor waits for a load that finds half of its bytes just stored.
 */
#include "net/timer.h"

#include <assert.h>

#include <uv.h>

#include "base/memory.h"

#define FIRST_CAPACITY 64
#define DUE_MAX (UINT64_MAX >> TG_TIMER_PLACE_BITS)

struct tg_timers {
    uv_timer_t handle;
    struct tg_timer **heap; /* owned array of borrowed timers, each until it is stopped or fires */
    size_t count;
    size_t capacity;
    uint64_t armed_ms; /* what the loop timer is set to; UINT64_MAX: not armed */
    uint64_t manual_now_ms;
    bool manual; /* there is no loop, and `handle` is not used */
    bool firing;
    bool closing;
};

static bool grow(struct tg_timers *timers)
{
    size_t capacity = timers->capacity == 0 ? FIRST_CAPACITY : timers->capacity * 2;

    if (capacity > TG_TIMER_PLACE_MAX)
        capacity = TG_TIMER_PLACE_MAX;
    if (capacity == timers->capacity)
        return false;
    struct tg_timer **heap = tg_realloc(timers->heap, capacity * sizeof(struct tg_timer *));
    if (heap == NULL)
        return false;
    timers->heap = heap;
    timers->capacity = capacity;
    return true;
}

/* `word` is the timer's own, with whatever place. */
static void place(struct tg_timers *timers, size_t index, struct tg_timer *timer, uint64_t word)
{
    timers->heap[index] = timer;
    timer->due_and_place = (word & ~TG_TIMER_PLACE_MAX) | (index + 1);
}

static void sift_up(struct tg_timers *timers, size_t index, struct tg_timer *timer)
{
    uint64_t word = timer->due_and_place | TG_TIMER_PLACE_MAX; /* behind those due at once */

    while (index > 0) {
        size_t parent = (index - 1) / 2;
        uint64_t parent_word = timers->heap[parent]->due_and_place;
        if (parent_word <= word)
            break;
        place(timers, index, timers->heap[parent], parent_word);
        index = parent;
    }
    place(timers, index, timer, word);
}

static void sift_down(struct tg_timers *timers, size_t index, struct tg_timer *timer)
{
    uint64_t word = timer->due_and_place & ~TG_TIMER_PLACE_MAX; /* before those due at once */

    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= timers->count)
            break;
        uint64_t child_word = timers->heap[child]->due_and_place;
        if (child + 1 < timers->count && timers->heap[child + 1]->due_and_place < child_word)
            child_word = timers->heap[++child]->due_and_place;
        if (word <= child_word)
            break;
        place(timers, index, timers->heap[child], child_word);
        index = child;
    }
    place(timers, index, timer, word);
}

static size_t index_of(const struct tg_timer *timer)
{
    return (size_t)(timer->due_and_place & TG_TIMER_PLACE_MAX) - 1;
}

static void remove_at(struct tg_timers *timers, size_t index)
{
    struct tg_timer *last = timers->heap[--timers->count];

    timers->heap[index]->due_and_place &= ~TG_TIMER_PLACE_MAX;
    if (index == timers->count)
        return;
    if (index > 0 && last->due_and_place < timers->heap[(index - 1) / 2]->due_and_place)
        sift_up(timers, index, last);
    else
        sift_down(timers, index, last);
}

static void on_fire(uv_timer_t *handle);

/* Restores I3. Nothing to do in a callback: on_fire does it once at its end. */
static void rearm(struct tg_timers *timers)
{
    if (timers->firing || timers->closing || timers->manual)
        return;
    if (timers->count == 0) {
        uv_timer_stop(&timers->handle);
        timers->armed_ms = UINT64_MAX;
        return;
    }
    uint64_t due_ms = tg_timer_due_ms(timers->heap[0]);
    if (due_ms >= timers->armed_ms)
        return;
    uint64_t now_ms = uv_now(timers->handle.loop);
    /* Fails only for a closing handle or without a callback. */
    (void)uv_timer_start(&timers->handle, on_fire, due_ms > now_ms ? due_ms - now_ms : 0, 0);
    timers->armed_ms = due_ms;
}

static void on_fire(uv_timer_t *handle)
{
    struct tg_timers *timers = handle->data;
    uint64_t now_ms = uv_now(handle->loop);

    timers->armed_ms = UINT64_MAX;
    timers->firing = true;
    while (timers->count > 0 && tg_timer_due_ms(timers->heap[0]) <= now_ms) {
        struct tg_timer *timer = timers->heap[0];
        remove_at(timers, 0);
        timer->fn(timer); /* may free the owner, start or stop others, or destroy all */
    }
    timers->firing = false;
    rearm(timers);
}

static void free_memory(struct tg_timers *timers)
{
    tg_free(timers->heap);
    tg_free(timers);
}

static void on_handle_closed(uv_handle_t *handle)
{
    free_memory(handle->data);
}

enum tg_err tg_timers_create(struct tg_timers **out, struct uv_loop_s *loop)
{
    struct tg_timers *timers = tg_calloc(1, sizeof *timers);

    if (timers == NULL)
        return TG_ERR_NOMEM;
    (void)uv_timer_init(loop, &timers->handle); /* cannot fail */
    timers->handle.data = timers;
    timers->armed_ms = UINT64_MAX;
    *out = timers;
    return TG_ERR_OK;
}

enum tg_err tg_timers_create_manual(struct tg_timers **out, uint64_t now_ms)
{
    struct tg_timers *timers = tg_calloc(1, sizeof *timers);

    if (timers == NULL)
        return TG_ERR_NOMEM;
    timers->manual = true;
    timers->manual_now_ms = now_ms;
    *out = timers;
    return TG_ERR_OK;
}

bool tg_timers_next_due(const struct tg_timers *timers, uint64_t *due_ms)
{
    if (timers->count == 0)
        return false;
    *due_ms = tg_timer_due_ms(timers->heap[0]);
    return true;
}

void tg_timers_set_now(struct tg_timers *timers, uint64_t now_ms)
{
    assert(timers->manual && now_ms >= timers->manual_now_ms);
    timers->manual_now_ms = now_ms;
}

bool tg_timers_fire(struct tg_timers *timers)
{
    assert(timers->manual);
    if (timers->count == 0 || tg_timer_due_ms(timers->heap[0]) > timers->manual_now_ms)
        return false;
    struct tg_timer *timer = timers->heap[0];
    remove_at(timers, 0);
    timer->fn(timer);
    return true;
}

void tg_timers_destroy(struct tg_timers *timers)
{
    if (timers == NULL || timers->closing)
        return;
    timers->closing = true;
    /* Owners that outlive us may still call tg_timer_stop, which then looks no further. */
    for (size_t i = 0; i < timers->count; i++)
        timers->heap[i]->due_and_place = 0;
    timers->count = 0;
    if (timers->manual) {
        free_memory(timers);
        return;
    }
    uv_close((uv_handle_t *)&timers->handle, on_handle_closed);
}

uint64_t tg_timers_now_ms(const struct tg_timers *timers)
{
    return timers->manual ? timers->manual_now_ms : uv_now(timers->handle.loop);
}

enum tg_err tg_timer_start(struct tg_timers *timers, struct tg_timer *timer, uint64_t delay_ms,
                           tg_timer_fn fn)
{
    uint64_t now_ms = tg_timers_now_ms(timers);

    if (timers->closing)
        return TG_ERR_CLOSED;
    if (!tg_timer_running(timer) && timers->count == timers->capacity && !grow(timers))
        return TG_ERR_NOMEM;
    /* A zero delay asked for inside a callback waits for the next round, so that a timer which
     * restarts itself cannot hold the loop. */
    if (delay_ms == 0 && timers->firing)
        delay_ms = 1;
    if (tg_timer_running(timer))
        remove_at(timers, index_of(timer));
    uint64_t due_ms = now_ms + (delay_ms < DUE_MAX ? delay_ms : DUE_MAX);
    timer->due_and_place = (due_ms < DUE_MAX ? due_ms : DUE_MAX) << TG_TIMER_PLACE_BITS;
    timer->fn = fn;
    timers->count++;
    sift_up(timers, timers->count - 1, timer);
    rearm(timers);
    return TG_ERR_OK;
}

void tg_timer_stop(struct tg_timers *timers, struct tg_timer *timer)
{
    if (!tg_timer_running(timer))
        return;
    remove_at(timers, index_of(timer));
    rearm(timers);
}
