/* ctl_fetch.c - one request on a loop of its own, which runs until it is answered. */
#include "app/ctl/ctl_fetch.h"

#include <stdio.h>
#include <uv.h>

#include "base/memory.h"
#include "net/http_client.h"
#include "net/timer.h"

#define CONNECT_TIMEOUT_MS 5000
#define TIMEOUT_MS 30000 /* a reload waits for all workers */
#define ANSWER_MAX ((uint64_t)64 << 20)

struct call {
    struct tg_ctl_answer *answer; /* borrowed */
    struct tg_error *error;       /* borrowed */
    enum tg_err err;
    bool over;
};

static void on_head(void *ctx, const struct tg_fetch_head *head)
{
    struct call *call = ctx;
    call->answer->status = head->status;
}

static void on_data(void *ctx, const void *data, size_t len)
{
    struct call *call = ctx;
    if (call->err == TG_ERR_OK)
        call->err = tg_buffer_append(&call->answer->body, data, len);
    if (call->err != TG_ERR_OK)
        tg_error_set(call->error, call->err, "out of memory");
}

static void on_done(void *ctx, enum tg_fetch_outcome outcome, const char *text)
{
    struct call *call = ctx;
    call->over = true;
    if (outcome != TG_FETCH_OK)
        call->err = tg_error_set(call->error, TG_ERR_SYS, "%s", text);
}

static enum tg_err start(struct tg_http_client *client, const struct tg_ctl_request *request,
                         struct call *call)
{
    static const struct tg_fetch_callbacks callbacks = {on_head, on_data, on_done};
    struct tg_buffer bearer = TG_BUFFER_INIT;
    struct tg_fetch_header headers[2] = {{"content-type", "application/json"}};
    struct tg_fetch *fetch;
    struct tg_fetch_request fetch_request = {
        .method = request->method,
        .url = (const char *)tg_buffer_head(&request->url),
        .headers = headers,
        .header_count = 1,
        .body = tg_buffer_head(&request->body),
        .body_len = request->body.len,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = TIMEOUT_MS,
        .response_max = ANSWER_MAX,
    };
    if (request->token.len > 0) {
        enum tg_err err = tg_buffer_printf(&bearer, "Bearer %s%c",
                                           (const char *)tg_buffer_head(&request->token), '\0');
        if (err != TG_ERR_OK)
            return err;
        headers[fetch_request.header_count++] =
            (struct tg_fetch_header){"authorization", (const char *)tg_buffer_head(&bearer)};
    }
    enum tg_err err = tg_fetch_start(client, &fetch_request, &callbacks, call, &fetch);
    tg_buffer_fini(&bearer);
    return err;
}

static enum tg_err fetch_on(uv_loop_t *loop, struct tg_timers *timers,
                            const struct tg_ctl_request *request, struct call *call)
{
    struct tg_http_client_options options = {.max_connections = 1};
    struct tg_http_client *client;
    enum tg_err err = tg_http_client_create(&client, loop, timers, &options);
    if (err != TG_ERR_OK)
        return tg_error_set(call->error, err, "the HTTP client does not start");
    err = start(client, request, call);
    if (err != TG_ERR_OK)
        tg_error_set(call->error, err, "out of memory");
    while (err == TG_ERR_OK && !call->over)
        uv_run(loop, UV_RUN_ONCE);
    tg_http_client_destroy(client);
    return err == TG_ERR_OK ? call->err : err;
}

enum tg_err tg_ctl_fetch(const struct tg_ctl_request *request, struct tg_ctl_answer *out,
                         struct tg_error *error)
{
    struct call call = {.answer = out, .error = error};
    struct tg_timers *timers = NULL;
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0)
        return tg_error_set(error, TG_ERR_SYS, "the event loop does not start");
    enum tg_err err = tg_timers_create(&timers, &loop);
    if (err != TG_ERR_OK)
        tg_error_set(error, err, "the event loop does not start");
    else
        err = fetch_on(&loop, timers, request, &call);
    if (timers != NULL)
        tg_timers_destroy(timers);
    uv_run(&loop, UV_RUN_DEFAULT); /* what still has to be closed */
    (void)uv_loop_close(&loop);
    return err;
}
