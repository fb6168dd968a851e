/* tls_out.c - what leaves a TLS session: encoded in pieces, as the socket takes them.
 *
 * What the owner writes waits in `plain` while the handshake lasts or the socket is full, so that a client
 * that reads slowly costs one copy and not two. `out` borrows its memory from the loop: between two events a
 * session at rest has none.
 */
#include "net/tls_internal.h"

/* Encoded at a time: what the socket does not take is not encoded yet. */
#define CHUNK (64 * 1024)
#define SPARE_MAX (CHUNK + CHUNK / 4)

int tg__tls_on_send(void *ctx, const unsigned char *data, size_t len)
{
    struct tg_tls *tls = ctx;

    if (tg_buffer_append(&tls->out, data, len) != TG_ERR_OK)
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    return (int)len;
}

void tg__tls_borrow_room(struct tg_stream *stream, struct tg_tls *tls)
{
    if (tls->out.capacity > 0)
        return;
    tls->out = stream->net->spare;
    stream->net->spare = TG_BUFFER_INIT;
}

static void return_room(struct tg_stream *stream, struct tg_tls *tls)
{
    if (tls->out.len > 0)
        return;
    if (stream->net->spare.capacity == 0 && tls->out.capacity <= SPARE_MAX)
        stream->net->spare = tls->out;
    else
        tg_buffer_fini(&tls->out);
    tls->out = TG_BUFFER_INIT;
}

bool tg__tls_is_idle(const struct tg_stream *stream, const struct tg_tls *tls)
{
    return !stream->writing && tls->out.len == 0 && tls->plain.len == 0;
}

enum tg_err tg__tls_send_out(struct tg_stream *stream, struct tg_tls *tls)
{
    if (stream->writing || tls->out.len == 0)
        return TG_ERR_OK;
    return tg__stream_send(stream, &tls->out);
}

/* Moves up to CHUNK bytes from `plain` to `out`. */
static enum tg_err encode_some(struct tg_tls *tls)
{
    size_t left = tls->plain.len < CHUNK ? tls->plain.len : CHUNK;

    while (left > 0) {
        int n = mbedtls_ssl_write(&tls->ssl, tg_buffer_head(&tls->plain), left);
        if (tg__tls_is_nothing(n))
            continue;
        if (n <= 0)
            return n == MBEDTLS_ERR_SSL_ALLOC_FAILED ? TG_ERR_NOMEM : TG_ERR_PROTO;
        tg_buffer_consume(&tls->plain, (size_t)n, 0);
        left -= (size_t)n;
    }
    return TG_ERR_OK;
}

static void say_bye(struct tg_tls *tls)
{
    if (!tls->established || tls->failed || tls->bye_said)
        return;
    tls->bye_said = true;
    (void)mbedtls_ssl_close_notify(&tls->ssl); /* the FIN that follows says the same */
}

/* Encodes and sends until the socket is full or there is nothing more, then FIN when it is wanted. */
enum tg_err tg__tls_push_out(struct tg_stream *stream, struct tg_tls *tls)
{
    enum tg_err err = TG_ERR_OK;

    tg__tls_borrow_room(stream, tls);
    while (err == TG_ERR_OK && !stream->writing) {
        err = tg__tls_send_out(stream, tls);
        if (err != TG_ERR_OK || stream->writing || tls->plain.len == 0 || !tls->established ||
            tls->failed)
            break;
        err = encode_some(tls);
    }
    if (err == TG_ERR_OK && tls->fin_wanted && tg__tls_is_idle(stream, tls)) {
        say_bye(tls);
        err = tg__tls_send_out(stream, tls);
        tls->fin_wanted = false;
        tg__stream_send_fin(stream);
    }
    return_room(stream, tls);
    return err;
}

enum tg_err tg__tls_write(struct tg_stream *stream, struct tg_buffer *bytes)
{
    struct tg_tls *tls = tg__tls_of(stream);

    if (tls->failed)
        return TG_ERR_CLOSED;
    tg_buffer_fini(&tls->plain);
    tls->plain = *bytes;
    *bytes = TG_BUFFER_INIT;
    enum tg_err err = tg__tls_push_out(stream, tls);
    tls->written_owed = !tg__tls_is_idle(stream, tls);
    if (err != TG_ERR_OK) {
        tls->failed = true;
        tg_buffer_fini(&tls->plain);
    }
    return err;
}

void tg__tls_shutdown(struct tg_stream *stream)
{
    struct tg_tls *tls = tg__tls_of(stream);

    tls->fin_wanted = true;
    if (tg__tls_push_out(stream, tls) != TG_ERR_OK)
        tls->failed = true; /* there is no connection any more, which the read side reports */
}

void tg__tls_closing(struct tg_stream *stream)
{
    struct tg_tls *tls = tg__tls_of(stream);

    if (stream->writing || tls->plain.len > 0)
        return;
    tg__tls_borrow_room(stream, tls);
    say_bye(tls);
    if (tg__tls_send_out(stream, tls) != TG_ERR_OK)
        tls->failed = true;
    return_room(stream, tls);
}

size_t tg__tls_held(const struct tg_stream *stream)
{
    const struct tg_tls *tls = tg__tls_of(stream);

    return tls->plain.len + tls->out.len;
}
