/* http_owner.c - the owner's side of a fetch: what it may do, and what it is told.
 *
 * I1  Owners are told from the loop only, and only from tg__fetches_tell.
 * I2  A fetch whose owner cancels it in its own callback is freed when that callback returns.
 */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "net/http_client_internal.h"

static void tell_head(struct tg__fetch *fetch)
{
    struct tg_fetch_header *headers = tg__head_list(&fetch->head);
    struct tg_fetch_head head = {
        .status = fetch->head.status,
        .version = fetch->head.version,
        .url = fetch->url.text,
        .headers = headers,
        .header_count = fetch->head.count,
    };

    fetch->told_head = true;
    if (headers == NULL) {
        tg_buffer_clear(&fetch->received);
        fetch->finished = false; /* however well it ended, it cannot be told */
        tg__fetch_finish(fetch, TG_FETCH_CLOSED, "out of memory");
        return;
    }
    fetch->callbacks->on_head(fetch->ctx, &head);
    tg_free(headers);
}

static void tell_data(struct tg__fetch *fetch)
{
    /* Taken away first: what the owner does may bring more. */
    struct tg_buffer batch = fetch->received;

    fetch->received = TG_BUFFER_INIT;
    fetch->callbacks->on_data(fetch->ctx, tg_buffer_head(&batch), batch.len);
    tg_buffer_fini(&batch);
}

static void tell(struct tg__fetch *fetch)
{
    fetch->telling = true;
    if (!fetch->paused && !fetch->told_head && fetch->head.complete && !fetch->hop)
        tell_head(fetch);
    if (!fetch->paused && !fetch->gone && fetch->received.len > 0)
        tell_data(fetch);
    bool over = !fetch->paused && !fetch->gone && fetch->finished;
    if (over)
        fetch->callbacks->on_done(fetch->ctx, fetch->outcome, fetch->text);
    fetch->telling = false;
    if (over || fetch->gone)
        tg__fetch_release(fetch);
    else if (fetch->held && !fetch->paused)
        tg__transfer_release(fetch);
}

void tg__fetches_tell(struct tg__curl_client *client)
{
    struct tg_list batch;
    struct tg_list *node;

    /* Only what is there now: an owner that begins a new fetch at once, and fails, must not hold the
     * loop. */
    tg_list_init(&batch);
    while ((node = tg_list_first(&client->ready)) != NULL) {
        tg_list_remove(node);
        tg_list_push(&batch, node);
    }
    while ((node = tg_list_first(&batch)) != NULL) {
        tg_list_remove(node);
        tell(TG_CONTAINER_OF(node, struct tg__fetch, ready));
    }
}

static struct tg__fetch *fetch_of(struct tg_fetch *fetch)
{
    return TG_CONTAINER_OF(fetch, struct tg__fetch, base);
}

static void pause_fetch(struct tg_fetch *base)
{
    struct tg__fetch *fetch = fetch_of(base);

    fetch->paused = true;
    tg_timer_stop(tg__client_of(fetch)->timers, &fetch->idle_timer);
}

static void resume_fetch(struct tg_fetch *base)
{
    struct tg__fetch *fetch = fetch_of(base);

    if (!fetch->paused)
        return;
    fetch->paused = false;
    tg__fetch_make_ready(fetch);
    if (tg__fetch_restart_idle_timer(fetch) != TG_ERR_OK)
        tg__fetch_finish(fetch, TG_FETCH_CLOSED, "out of memory");
}

static void cancel_fetch(struct tg_fetch *base)
{
    struct tg__fetch *fetch = fetch_of(base);

    if (!fetch->telling) {
        tg__fetch_release(fetch);
        return;
    }
    fetch->gone = true;
    tg__fetch_stop_timers(fetch);
    tg__transfer_close(fetch);
    tg_list_remove(&fetch->ready);
}

/* Copies what is needed later. The rest goes to the transfer. */
static enum tg_err copy_request(struct tg__fetch *fetch, const struct tg_fetch_request *request)
{
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;

    (void)snprintf(fetch->method, sizeof fetch->method, "%s", request->method);
    fetch->follows = reads && request->redirects_max > 0;
    fetch->hops_left = request->redirects_max;
    fetch->timeout_ms = request->timeout_ms;
    fetch->idle_timeout_ms = request->idle_timeout_ms;
    fetch->response_max = request->response_max;
    fetch->stream = request->stream;
    if (request->body == NULL)
        return TG_ERR_OK;
    fetch->body = tg_alloc(request->body_len + 1);
    if (fetch->body == NULL)
        return TG_ERR_NOMEM;
    if (request->body_len > 0)
        memcpy(fetch->body, request->body, request->body_len);
    fetch->body_len = request->body_len;
    return TG_ERR_OK;
}

static enum tg_err go(struct tg__fetch *fetch, const struct tg_fetch_request *request)
{
    enum tg_err err = copy_request(fetch, request);

    if (err == TG_ERR_OK)
        err = tg__url_parse(&fetch->url, NULL, request->url);
    if (err == TG_ERR_INVALID) {
        tg_fetch_host(request->url, fetch->url.name);
        tg__fetch_finish(
            fetch, TG_FETCH_INVALID,
            "a URL that begins with http:// or https:// and holds no password expected");
        return TG_ERR_OK;
    }
    if (err == TG_ERR_OK)
        err = tg__transfer_open(fetch, request);
    if (err == TG_ERR_OK)
        err = tg__fetch_start_timers(fetch);
    return err == TG_ERR_OK ? tg__fetch_begin(fetch) : err;
}

static enum tg_err start_fetch(struct tg_http_client *base, const struct tg_fetch_request *request,
                               const struct tg_fetch_callbacks *callbacks, void *ctx,
                               struct tg_fetch **out)
{
    struct tg__curl_client *client = TG_CONTAINER_OF(base, struct tg__curl_client, base);
    struct tg__fetch *fetch = tg_calloc(1, sizeof *fetch);

    if (fetch == NULL)
        return TG_ERR_NOMEM;
    fetch->base.client = base;
    fetch->callbacks = callbacks;
    fetch->ctx = ctx;
    tg_list_init(&fetch->ready);
    tg_list_init(&fetch->node);
    tg_list_push(&client->fetches, &fetch->node);
    enum tg_err err = go(fetch, request);
    if (err != TG_ERR_OK) {
        tg__fetch_release(fetch);
        return err;
    }
    *out = &fetch->base;
    return TG_ERR_OK;
}

static void destroy_client(struct tg_http_client *base)
{
    struct tg__curl_client *client = TG_CONTAINER_OF(base, struct tg__curl_client, base);
    struct tg_list *node;

    while ((node = tg_list_first(&client->fetches)) != NULL)
        tg__fetch_release(TG_CONTAINER_OF(node, struct tg__fetch, node));
    tg__client_close_multi(client);
    while ((node = tg_list_first(&client->watches)) != NULL)
        tg__watch_close(tg__watch_at(node));
    tg_timer_stop(client->timers, &client->curl_timer);
    tg__kick_close(client->kick);
    tg_free(client);
}

const struct tg_http_client_ops tg__fetch_ops = {
    .start = start_fetch,
    .pause = pause_fetch,
    .resume = resume_fetch,
    .cancel = cancel_fetch,
    .destroy = destroy_client,
};
