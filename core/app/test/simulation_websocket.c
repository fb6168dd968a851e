/* simulation_websocket.c - a client of WebSockets without a network.
 *
 *   started ─[answer: head]─> open ─[answer: data]─> … ─[answer: done, time-out]─> on_done, freed
 *      └──────[close]───────────^──────────────────────────────────────────────> freed
 *
 * A link owns the pieces of its answer that are not due yet. What the policy does is news, kept for whoever
 * plays the upstream, in order and over all links; it outlives its link.
 *
 * I1  Callbacks run from timers only, so never inside start, send, pause, resume, close or answer.
 * I2  A link that is closed inside a callback of its own is freed when that has returned.
 */
#include "app/test/simulation_websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/test/simulation_copy.h"
#include "base/list.h"
#include "base/memory.h"

struct news {
    struct tg_list node;
    struct tg_sim_ws_news what;      /* its data is in the block of this */
    struct tg_fetch_request request; /* OPENED: owned, by its method */
    uint8_t bytes[];
};

struct sim_ws {
    struct tg_ws_client base;
    struct tg_timers *timers;
    struct tg_list links;
    struct tg_list news; /* owned, oldest first */
    struct news *told;   /* owned; borrowed by whoever looked last */
    size_t last_number;
};

struct link {
    struct tg_ws_link base;
    struct tg_list node;
    size_t number;
    bool open, paused, in_callback, closed;
    const struct tg_ws_link_callbacks *callbacks;
    void *ctx;
    char host[TG_FETCH_HOST_SIZE];
    struct tg_list pieces; /* owned */
    struct tg_timer piece_timer;
    uint64_t piece_due_ms;
    struct tg_timer limit_timer;
    uint64_t connect_timeout_ms, idle_timeout_ms;
    size_t message_max;
};

static struct sim_ws *ws_of(const struct tg_ws_client *client)
{
    return (struct sim_ws *)(uintptr_t)client;
}

static struct link *link_of(struct tg_ws_link *base)
{
    return (struct link *)(void *)base;
}

static struct tg_timers *timers_of(const struct link *link)
{
    return ws_of(link->base.client)->timers;
}

static struct tg__sim_piece *first_piece(const struct link *link)
{
    return TG_CONTAINER_OF(tg_list_first(&link->pieces), struct tg__sim_piece, node);
}

static void free_news(struct news *news)
{
    if (news != NULL)
        tg_free((void *)(uintptr_t)news->request.method);
    tg_free(news);
}

static void free_link(struct link *link)
{
    while (!tg_list_empty(&link->pieces)) {
        struct tg__sim_piece *piece = first_piece(link);
        tg_list_remove(&piece->node);
        tg_free(piece);
    }
    tg_list_remove(&link->node);
    tg_timer_stop(timers_of(link), &link->piece_timer);
    tg_timer_stop(timers_of(link), &link->limit_timer);
    tg_free(link);
}

/* --- what happens to a link ------------------------------------------------------------------------ */

static void end(struct link *link, const struct tg_ws_done *how)
{
    char text[TG_FETCH_HOST_SIZE + 64];
    struct tg_ws_done done = *how;

    if (done.status != 0)
        (void)snprintf(text, sizeof text, "%s: answered HTTP %d", link->host, done.status);
    else if (done.outcome == TG_FETCH_OK)
        (void)snprintf(text, sizeof text, "%s: closed with %d", link->host, done.code);
    else
        (void)snprintf(text, sizeof text, "%s: %s", link->host,
                       tg_fetch_outcome_names[done.outcome]);
    done.text = text;
    done.reason = "";
    link->in_callback = true;
    link->callbacks->on_done(link->ctx, &done);
    free_link(link);
}

static void on_limit(struct tg_timer *timer)
{
    struct tg_ws_done done = {.outcome = TG_FETCH_TIMEOUT};

    end(TG_CONTAINER_OF(timer, struct link, limit_timer), &done);
}

/* A test that is out of memory has no result. */
static void start_timer(struct link *link, struct tg_timer *timer, uint64_t delay_ms,
                        tg_timer_fn fn)
{
    if (tg_timer_start(timers_of(link), timer, delay_ms, fn) != TG_ERR_OK)
        abort();
}

/* From now on. */
static void arm_limit(struct link *link)
{
    uint64_t limit_ms = link->open ? link->idle_timeout_ms : link->connect_timeout_ms;

    tg_timer_stop(timers_of(link), &link->limit_timer);
    if (limit_ms != 0 && !link->paused)
        start_timer(link, &link->limit_timer, limit_ms, on_limit);
}

/* True: the link is over. */
static bool deliver(struct link *link, const struct tg_sim_piece *piece)
{
    struct tg_ws_done done = {.outcome = piece->outcome};

    if (piece->kind == TG_SIM_HEAD && piece->status != 101)
        done = (struct tg_ws_done){.outcome = TG_FETCH_OK, .status = piece->status};
    else if (piece->kind == TG_SIM_DONE)
        done.code = piece->outcome == TG_FETCH_OK ? piece->code : 0;
    if (piece->kind == TG_SIM_DONE || done.status != 0) {
        end(link, &done);
        return true;
    }
    if (piece->kind == TG_SIM_DATA && link->message_max != 0 && piece->len > link->message_max) {
        done = (struct tg_ws_done){.outcome = TG_FETCH_TOO_LARGE};
        end(link, &done);
        return true;
    }
    link->in_callback = true;
    if (piece->kind == TG_SIM_HEAD) {
        link->open = true;
        link->callbacks->on_open(link->ctx, "");
    } else {
        link->callbacks->on_message(link->ctx, !piece->binary, piece->data, piece->len);
    }
    link->in_callback = false;
    bool over = link->closed;
    if (over)
        free_link(link);
    return over;
}

static void on_piece(struct tg_timer *timer);

/* Sets the timer for the piece at the front. */
static void arm_piece(struct link *link)
{
    uint64_t now_ms = tg_timers_now_ms(timers_of(link));

    if (link->paused || tg_list_empty(&link->pieces) || tg_timer_running(&link->piece_timer))
        return;
    start_timer(link, &link->piece_timer,
                link->piece_due_ms > now_ms ? link->piece_due_ms - now_ms : 0, on_piece);
}

static void on_piece(struct tg_timer *timer)
{
    struct link *link = TG_CONTAINER_OF(timer, struct link, piece_timer);
    struct tg__sim_piece *piece = first_piece(link);

    tg_list_remove(&piece->node);
    bool over = deliver(link, &piece->what);
    tg_free(piece);
    if (over)
        return;
    if (!tg_list_empty(&link->pieces))
        link->piece_due_ms = tg_timers_now_ms(timers_of(link)) + first_piece(link)->what.delay_ms;
    arm_piece(link);
    arm_limit(link);
}

/* --- news ------------------------------------------------------------------------------------------ */

static struct news *add_news(struct link *link, enum tg_sim_ws_kind kind, const void *data,
                             size_t len)
{
    struct news *news = tg_calloc(1, sizeof *news + len + 1);

    if (news == NULL)
        return NULL;
    if (len > 0)
        memcpy(news->bytes, data, len);
    news->what = (struct tg_sim_ws_news){
        .kind = kind, .number = link->number, .data = news->bytes, .len = len};
    tg_list_push(&ws_of(link->base.client)->news, &news->node);
    return news;
}

static enum tg_err tell_opened(struct link *link, const struct tg_ws_request *request)
{
    struct tg_fetch_request as_fetch = {
        .method = "GET",
        .url = request->url,
        .headers = request->headers,
        .header_count = request->header_count,
    };
    struct news *news = add_news(link, TG_SIM_WS_OPENED, "", 0);

    if (news == NULL)
        return TG_ERR_NOMEM;
    if (tg__sim_copy_request(&as_fetch, &news->request) != TG_ERR_OK) {
        tg_list_remove(&news->node);
        tg_free(news);
        return TG_ERR_NOMEM;
    }
    news->what.request = &news->request;
    return TG_ERR_OK;
}

/* --- as a client ------------------------------------------------------------------------------------ */

static enum tg_err start(struct tg_ws_client *client, const struct tg_ws_request *request,
                         const struct tg_ws_link_callbacks *callbacks, void *ctx,
                         struct tg_ws_link **out)
{
    struct sim_ws *ws = ws_of(client);
    struct link *link = tg_calloc(1, sizeof *link);

    if (link == NULL)
        return TG_ERR_NOMEM;
    link->base.client = client;
    link->number = ++ws->last_number;
    link->callbacks = callbacks;
    link->ctx = ctx;
    link->connect_timeout_ms = request->connect_timeout_ms;
    link->idle_timeout_ms = request->idle_timeout_ms;
    link->message_max = request->message_max;
    tg_fetch_host(request->url, link->host);
    tg_list_init(&link->pieces);
    tg_list_push(&ws->links, &link->node);
    if (tell_opened(link, request) != TG_ERR_OK) {
        free_link(link);
        return TG_ERR_NOMEM;
    }
    arm_limit(link);
    *out = &link->base;
    return TG_ERR_OK;
}

static enum tg_err send_message(struct tg_ws_link *base, bool text, const void *data, size_t len,
                                bool *waits)
{
    struct link *link = link_of(base);

    *waits = false;
    if (!link->open)
        return TG_ERR_CLOSED;
    struct news *news = add_news(link, TG_SIM_WS_SENT, data, len);
    if (news == NULL)
        return TG_ERR_NOMEM;
    news->what.text = text;
    arm_limit(link);
    return TG_ERR_OK;
}

static void pause_link(struct tg_ws_link *base)
{
    struct link *link = link_of(base);

    link->paused = true;
    tg_timer_stop(timers_of(link), &link->piece_timer);
    arm_limit(link);
}

static void resume_link(struct tg_ws_link *base)
{
    struct link *link = link_of(base);

    if (!link->paused)
        return;
    link->paused = false;
    arm_piece(link);
    arm_limit(link);
}

static void set_idle_timeout(struct tg_ws_link *base, uint64_t ms)
{
    link_of(base)->idle_timeout_ms = ms;
    arm_limit(link_of(base));
}

static void close_link(struct tg_ws_link *base, int code, const char *reason)
{
    struct link *link = link_of(base);

    (void)reason;
    struct news *news = add_news(link, TG_SIM_WS_CLOSED, "", 0);
    if (news == NULL)
        abort();
    news->what.code = code;
    link->closed = true;
    if (!link->in_callback)
        free_link(link);
}

static void destroy(struct tg_ws_client *client)
{
    struct sim_ws *ws = ws_of(client);

    TG_LIST_EACH (node, next, &ws->links)
        free_link(TG_CONTAINER_OF(node, struct link, node));
    TG_LIST_EACH (node, next, &ws->news)
        free_news(TG_CONTAINER_OF(node, struct news, node));
    free_news(ws->told);
    tg_free(ws);
}

enum tg_err tg_sim_ws_create(struct tg_ws_client **out, struct tg_timers *timers)
{
    static const struct tg_ws_client_ops ops = {
        start, send_message, pause_link, resume_link, set_idle_timeout, close_link, destroy};
    struct sim_ws *ws = tg_calloc(1, sizeof *ws);

    if (ws == NULL)
        return TG_ERR_NOMEM;
    ws->base.ops = &ops;
    ws->timers = timers;
    tg_list_init(&ws->links);
    tg_list_init(&ws->news);
    *out = &ws->base;
    return TG_ERR_OK;
}

/* --- for whoever plays the upstream ----------------------------------------------------------------- */

bool tg_sim_ws_has_news(const struct tg_ws_client *client)
{
    return !tg_list_empty(&ws_of(client)->news);
}

bool tg_sim_ws_next(struct tg_ws_client *client, struct tg_sim_ws_news *out)
{
    struct sim_ws *ws = ws_of(client);
    struct tg_list *node = tg_list_first(&ws->news);

    free_news(ws->told);
    ws->told = NULL;
    if (node == NULL)
        return false;
    tg_list_remove(node);
    ws->told = TG_CONTAINER_OF(node, struct news, node);
    *out = ws->told->what;
    return true;
}

enum tg_err tg_sim_ws_answer(struct tg_ws_client *client, size_t number,
                             const struct tg_sim_piece *from)
{
    struct sim_ws *ws = ws_of(client);

    TG_LIST_EACH (node, next, &ws->links) {
        struct link *link = TG_CONTAINER_OF(node, struct link, node);
        if (link->number != number)
            continue;
        struct tg__sim_piece *piece = tg__sim_copy_piece(from);
        if (piece == NULL)
            return TG_ERR_NOMEM;
        if (tg_list_empty(&link->pieces))
            link->piece_due_ms = tg_timers_now_ms(ws->timers) + from->delay_ms;
        tg_list_push(&link->pieces, &piece->node);
        arm_piece(link);
    }
    return TG_ERR_OK;
}
