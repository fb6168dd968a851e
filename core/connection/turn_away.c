/* turn_away.c - an answer for peers that cannot become connections, which they can really read.
 *
 * A socket that is closed with bytes unread resets the connection, and the reset may overtake the answer.
 * So the request is read first, then comes the answer and our FIN, then the peer has a moment to close.
 * Those that wait for this are bounded in number and in time; beyond that the answer goes out at once
 * and whoever gets a reset instead gets a reset.
 */
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "connection/client.h"

#define VISITORS_MAX 256
#define READ_MS 2000  /* for the request */
#define CLOSE_MS 2000 /* for its FIN */
#define HEAD_MAX 65536
#define LINES_PER_SECOND 10

/* The start of a PROXY header of version 2, which looks like the end of a head. */
#define SIGNATURE_LEN 12

struct visitor {
    struct tg_list node;
    struct tg_hub *hub;       /* borrowed; outlives its visitors */
    struct tg_stream *stream; /* owned until its on_closed */
    struct tg_timer timer;
    struct tg_conn_id id;
    struct tg_refusal_answer answer;
    size_t read;      /* bytes of the request */
    uint8_t line_end; /* bytes of CR LF CR LF that were just read */
    bool answered;
    bool peer_ended;
};

static void part(struct visitor *visitor)
{
    tg_timer_stop(visitor->hub->timers, &visitor->timer);
    tg_stream_close(visitor->stream);
}

static void on_deadline(struct tg_timer *timer);

static bool write_answer(struct visitor *visitor)
{
    char id[TG_CONN_ID_SIZE];
    struct tg_buffer extra = TG_BUFFER_INIT;
    struct tg_buffer out = TG_BUFFER_INIT;
    const char *text = visitor->answer.text;

    tg_conn_id_format(&visitor->id, id);
    bool written = tg_buffer_printf(&extra, "Tidegate-Connection-Id: %s\r\n%s", id,
                                    visitor->answer.extra) == TG_ERR_OK &&
                   tg_buffer_append(&extra, "", 1) == TG_ERR_OK &&
                   tg_http_write_response(&out, visitor->answer.status, "text/plain; charset=utf-8",
                                          (const char *)tg_buffer_head(&extra), text, strlen(text),
                                          false) == TG_ERR_OK &&
                   tg_stream_write(visitor->stream, &out) == TG_ERR_OK;
    if (written)
        tg_stream_shutdown(visitor->stream);
    tg_buffer_fini(&extra);
    tg_buffer_fini(&out);
    return written;
}

static void answer(struct visitor *visitor)
{
    if (visitor->answered)
        return;
    visitor->answered = true;
    if (!write_answer(visitor) || (visitor->peer_ended && !tg_stream_is_writing(visitor->stream)) ||
        tg_timer_start(visitor->hub->timers, &visitor->timer, CLOSE_MS, on_deadline) != TG_ERR_OK)
        part(visitor);
}

static void on_deadline(struct tg_timer *timer)
{
    struct visitor *visitor = TG_CONTAINER_OF(timer, struct visitor, timer);

    if (visitor->answered)
        part(visitor);
    else
        answer(visitor);
}

/* Is the blank line that ends a head among what was read? */
static bool sees_end(struct visitor *visitor, const uint8_t *data, size_t len)
{
    static const char end[] = "\r\n\r\n";

    for (size_t i = 0; i < len; i++) {
        if (data[i] == (uint8_t)end[visitor->line_end])
            visitor->line_end++;
        else
            visitor->line_end = data[i] == '\r';
        if (visitor->line_end < sizeof end - 1)
            continue;
        if (visitor->read + i >= SIGNATURE_LEN)
            return true;
        visitor->line_end = 0;
    }
    visitor->read += len;
    return visitor->read > HEAD_MAX;
}

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct visitor *visitor = ctx;

    if (!visitor->answered && sees_end(visitor, data, len))
        answer(visitor);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct visitor *visitor = ctx;

    (void)why;
    visitor->peer_ended = true;
    if (err != TG_ERR_OK || (visitor->answered && !tg_stream_is_writing(visitor->stream)))
        part(visitor);
    else
        answer(visitor);
}

static void on_written(void *ctx)
{
    struct visitor *visitor = ctx;

    if (visitor->peer_ended)
        part(visitor);
}

static void on_closed(void *ctx)
{
    struct visitor *visitor = ctx;

    tg_list_remove(&visitor->node);
    visitor->hub->visitor_count--;
    tg_free(visitor);
}

static const struct tg_stream_callbacks visitor_callbacks = {
    .on_read = on_read,
    .on_end = on_end,
    .on_written = on_written,
    .on_closed = on_closed,
};

static void log_visitor(struct tg_hub *hub, const struct tg_conn_id *id,
                        const struct tg_address *peer, enum tg_refusal why)
{
    char id_text[TG_CONN_ID_SIZE];
    char remote[TG_ADDRESS_SIZE];
    uint64_t left_out;

    if (!tg_log_gate_pass(&hub->turned_away_gate, tg_timers_now_ms(hub->timers), LINES_PER_SECOND,
                          &left_out))
        return;
    tg_conn_id_format(id, id_text);
    tg_address_format(peer, remote);
    tg_log(TG_LOG_WARN, "conn.turned_away", tg_log_str("id", id_text),
           tg_log_str("reason", tg_refusal_names[why]), tg_log_str("remote", remote),
           tg_log_uint("more", left_out));
}

static void on_nothing_read(void *ctx, uint8_t *data, size_t len)
{
    (void)ctx, (void)data, (void)len;
}
static void on_nothing_ended(void *ctx, enum tg_err err, const char *why)
{
    (void)ctx, (void)err, (void)why;
}
static void on_nothing(void *ctx)
{
    (void)ctx;
}

static const struct tg_stream_callbacks nobody = {
    .on_read = on_nothing_read,
    .on_end = on_nothing_ended,
    .on_written = on_nothing,
    .on_closed = on_nothing,
};

/* No room to wait for it. */
static void answer_at_once(struct tg_stream *stream, const struct tg_conn_id *id,
                           const struct tg_refusal_answer *text)
{
    struct visitor passing = {.stream = stream, .id = *id, .answer = *text};

    tg_stream_bind(stream, &nobody, NULL);
    (void)write_answer(&passing);
    tg_stream_close(stream);
}

void tg__turn_away(struct tg_hub *hub, struct tg_stream *stream, const struct tg_address *peer,
                   enum tg_refusal why, uint64_t wait_ms)
{
    struct tg_conn_id id = tg_conn_id_next(&hub->ids);
    struct tg_refusal_answer text = tg__refusal_answer(why, wait_ms);
    struct visitor *visitor =
        hub->visitor_count < VISITORS_MAX ? tg_calloc(1, sizeof *visitor) : NULL;

    tg_counter_add(&hub->metrics->handshakes_refused, 1);
    tg__count_refusal(hub, why);
    log_visitor(hub, &id, peer, why);
    if (visitor == NULL) {
        answer_at_once(stream, &id, &text);
        return;
    }
    *visitor = (struct visitor){.hub = hub, .stream = stream, .id = id, .answer = text};
    tg_list_init(&visitor->node);
    tg_list_push(&hub->visitors, &visitor->node);
    hub->visitor_count++;
    tg_stream_bind(stream, &visitor_callbacks, visitor);
    if (tg_timer_start(hub->timers, &visitor->timer, READ_MS, on_deadline) != TG_ERR_OK ||
        tg_stream_read_start(stream) != TG_ERR_OK)
        part(visitor);
}

void tg__turn_away_end(struct tg_hub *hub)
{
    TG_LIST_EACH (node, next, &hub->visitors) {
        struct visitor *visitor = TG_CONTAINER_OF(node, struct visitor, node);
        part(visitor);
    }
}
