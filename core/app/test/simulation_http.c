/* simulation_http.c - an HTTP client without a network.
 *
 *   started ─[next]─> asked ─[answer: pieces]─> … piece due ─> callback … ─> on_done, freed
 *
 * A fetch owns a copy of its request and the pieces of its answer that are not due yet. Timeouts are those of
 * the request, on the simulation's clock.
 *
 * I1  Callbacks run from timers only, so never inside start, pause, resume, cancel or answer.
 * I2  A fetch that is cancelled inside a callback of its own is freed when that has returned.
 */
#include "app/test/simulation_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/test/simulation_copy.h"
#include "base/list.h"
#include "base/memory.h"

struct sim_http {
    struct tg_http_client base;
    struct tg_timers *timers;
    struct tg_list fetches; /* in the order of their start */
    size_t last_number;
};

struct fetch {
    struct tg_fetch base;
    struct tg_list node;
    size_t number;
    bool asked; /* somebody has looked at it */
    bool paused;
    bool in_callback;
    bool cancelled;
    struct tg_fetch_request request; /* its texts are in the block of `method`, owned */
    const struct tg_fetch_callbacks *callbacks;
    void *ctx;
    struct tg_list pieces;       /* owned */
    struct tg_timer piece_timer; /* the first of them */
    uint64_t piece_due_ms;
    struct tg_timer limit_timer; /* whichever timeout comes first */
    uint64_t started_ms, heard_ms;
    size_t received;
};

static struct sim_http *http_of(struct tg_http_client *client)
{
    return (struct sim_http *)(void *)client;
}

static struct fetch *fetch_of(struct tg_fetch *fetch)
{
    return (struct fetch *)(void *)fetch;
}

static struct tg_timers *timers_of(const struct fetch *fetch)
{
    return http_of(fetch->base.client)->timers;
}

static struct tg__sim_piece *first_piece(const struct fetch *fetch)
{
    return TG_CONTAINER_OF(tg_list_first(&fetch->pieces), struct tg__sim_piece, node);
}

static void free_fetch(struct fetch *fetch)
{
    while (!tg_list_empty(&fetch->pieces)) {
        struct tg__sim_piece *piece = first_piece(fetch);
        tg_list_remove(&piece->node);
        tg_free(piece);
    }
    tg_list_remove(&fetch->node);
    tg_timer_stop(timers_of(fetch), &fetch->piece_timer);
    tg_timer_stop(timers_of(fetch), &fetch->limit_timer);
    tg_free((void *)(uintptr_t)fetch->request.method);
    tg_free(fetch);
}

static void end(struct fetch *fetch, enum tg_fetch_outcome outcome)
{
    char text[160];
    const char *host = strstr(fetch->request.url, "://");

    host = host == NULL ? fetch->request.url : host + 3;
    (void)snprintf(text, sizeof text, "%.*s: %s", (int)strcspn(host, "/?#"), host,
                   tg_fetch_outcome_names[outcome]);
    fetch->callbacks->on_done(fetch->ctx, outcome, outcome == TG_FETCH_OK ? "" : text);
    free_fetch(fetch);
}

/* A test that is out of memory has no result. */
static void start_timer(struct fetch *fetch, struct tg_timer *timer, uint64_t due_ms,
                        tg_timer_fn fn)
{
    uint64_t now_ms = tg_timers_now_ms(timers_of(fetch));

    if (tg_timer_start(timers_of(fetch), timer, due_ms > now_ms ? due_ms - now_ms : 0, fn) !=
        TG_ERR_OK)
        abort();
}

static void on_limit(struct tg_timer *timer)
{
    end(TG_CONTAINER_OF(timer, struct fetch, limit_timer), TG_FETCH_TIMEOUT);
}

static void arm_limit(struct fetch *fetch)
{
    const struct tg_fetch_request *request = &fetch->request;
    uint64_t due_ms = UINT64_MAX;

    if (request->timeout_ms != 0)
        due_ms = fetch->started_ms + request->timeout_ms;
    if (request->idle_timeout_ms != 0 && !fetch->paused &&
        fetch->heard_ms + request->idle_timeout_ms < due_ms)
        due_ms = fetch->heard_ms + request->idle_timeout_ms;
    tg_timer_stop(timers_of(fetch), &fetch->limit_timer);
    if (due_ms != UINT64_MAX)
        start_timer(fetch, &fetch->limit_timer, due_ms, on_limit);
}

static void deliver_head(struct fetch *fetch, const struct tg_sim_piece *piece)
{
    struct tg_fetch_head head = {
        .status = piece->status,
        .version = "1.1",
        .url = fetch->request.url,
        .headers = piece->headers,
        .header_count = piece->header_count,
    };
    fetch->callbacks->on_head(fetch->ctx, &head);
}

/* True: the fetch is over. */
static bool deliver(struct fetch *fetch, const struct tg_sim_piece *piece)
{
    if (piece->kind == TG_SIM_DONE) {
        end(fetch, piece->outcome);
        return true;
    }
    fetch->received += piece->len;
    if (fetch->request.response_max != 0 && fetch->received > fetch->request.response_max) {
        end(fetch, TG_FETCH_TOO_LARGE);
        return true;
    }
    fetch->in_callback = true;
    if (piece->kind == TG_SIM_HEAD)
        deliver_head(fetch, piece);
    else if (piece->len > 0)
        fetch->callbacks->on_data(fetch->ctx, piece->data, piece->len);
    fetch->in_callback = false;
    bool over = fetch->cancelled;
    if (over)
        free_fetch(fetch);
    return over;
}

static void on_piece(struct tg_timer *timer);

/* Sets the timer for the piece at the front. */
static void arm_piece(struct fetch *fetch)
{
    if (fetch->paused || tg_list_empty(&fetch->pieces) || tg_timer_running(&fetch->piece_timer))
        return;
    start_timer(fetch, &fetch->piece_timer, fetch->piece_due_ms, on_piece);
}

static void on_piece(struct tg_timer *timer)
{
    struct fetch *fetch = TG_CONTAINER_OF(timer, struct fetch, piece_timer);
    struct tg__sim_piece *piece = first_piece(fetch);

    tg_list_remove(&piece->node);
    fetch->heard_ms = tg_timers_now_ms(timers_of(fetch));
    bool over = deliver(fetch, &piece->what);
    tg_free(piece);
    if (over)
        return;
    if (!tg_list_empty(&fetch->pieces))
        fetch->piece_due_ms = fetch->heard_ms + first_piece(fetch)->what.delay_ms;
    arm_piece(fetch);
    arm_limit(fetch);
}

/* --- as a client ---------------------------------------------------------------------------------- */

static enum tg_err start(struct tg_http_client *client, const struct tg_fetch_request *request,
                         const struct tg_fetch_callbacks *callbacks, void *ctx,
                         struct tg_fetch **out)
{
    struct sim_http *http = http_of(client);
    struct fetch *fetch = tg_calloc(1, sizeof *fetch);

    if (fetch == NULL)
        return TG_ERR_NOMEM;
    if (tg__sim_copy_request(request, &fetch->request) != TG_ERR_OK) {
        tg_free(fetch);
        return TG_ERR_NOMEM;
    }
    fetch->base.client = client;
    fetch->number = ++http->last_number;
    fetch->callbacks = callbacks;
    fetch->ctx = ctx;
    fetch->started_ms = fetch->heard_ms = tg_timers_now_ms(http->timers);
    tg_list_init(&fetch->pieces);
    tg_list_push(&http->fetches, &fetch->node);
    arm_limit(fetch);
    *out = &fetch->base;
    return TG_ERR_OK;
}

static void pause_fetch(struct tg_fetch *base)
{
    struct fetch *fetch = fetch_of(base);

    fetch->paused = true;
    tg_timer_stop(timers_of(fetch), &fetch->piece_timer);
    arm_limit(fetch);
}

static void resume_fetch(struct tg_fetch *base)
{
    struct fetch *fetch = fetch_of(base);

    if (!fetch->paused)
        return;
    fetch->paused = false;
    fetch->heard_ms = tg_timers_now_ms(timers_of(fetch));
    arm_piece(fetch);
    arm_limit(fetch);
}

static void cancel(struct tg_fetch *base)
{
    struct fetch *fetch = fetch_of(base);

    fetch->cancelled = true;
    if (!fetch->in_callback)
        free_fetch(fetch);
}

static void destroy(struct tg_http_client *client)
{
    struct sim_http *http = http_of(client);

    TG_LIST_EACH (node, next, &http->fetches)
        free_fetch(TG_CONTAINER_OF(node, struct fetch, node));
    tg_free(http);
}

enum tg_err tg_sim_http_create(struct tg_http_client **out, struct tg_timers *timers)
{
    static const struct tg_http_client_ops ops = {start, pause_fetch, resume_fetch, cancel,
                                                  destroy};
    struct sim_http *http = tg_calloc(1, sizeof *http);

    if (http == NULL)
        return TG_ERR_NOMEM;
    http->base.ops = &ops;
    http->timers = timers;
    tg_list_init(&http->fetches);
    *out = &http->base;
    return TG_ERR_OK;
}

static struct fetch *first_not_asked(const struct sim_http *http)
{
    TG_LIST_EACH (node, next, &http->fetches) {
        struct fetch *fetch = TG_CONTAINER_OF(node, struct fetch, node);
        if (!fetch->asked)
            return fetch;
    }
    return NULL;
}

size_t tg_sim_http_next(struct tg_http_client *client, const struct tg_fetch_request **request)
{
    struct fetch *fetch = first_not_asked(http_of(client));

    if (fetch == NULL)
        return 0;
    fetch->asked = true;
    *request = &fetch->request;
    return fetch->number;
}

bool tg_sim_http_is_asked(const struct tg_http_client *client)
{
    return first_not_asked((const struct sim_http *)(const void *)client) != NULL;
}

enum tg_err tg_sim_http_answer(struct tg_http_client *client, size_t number,
                               const struct tg_sim_piece *from)
{
    struct sim_http *http = http_of(client);

    TG_LIST_EACH (node, next, &http->fetches) {
        struct fetch *fetch = TG_CONTAINER_OF(node, struct fetch, node);
        if (fetch->number != number)
            continue;
        struct tg__sim_piece *piece = tg__sim_copy_piece(from);
        if (piece == NULL)
            return TG_ERR_NOMEM;
        if (tg_list_empty(&fetch->pieces))
            fetch->piece_due_ms = tg_timers_now_ms(http->timers) + from->delay_ms;
        tg_list_push(&fetch->pieces, &piece->node);
        arm_piece(fetch);
    }
    return TG_ERR_OK;
}
