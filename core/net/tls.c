/* tls.c - one TLS session as the filter of a stream.
 *
 *   handshaking ──[peer's Finished]──> established ──[close_notify]──> (the owner ends it)
 *        └──────────────[any error, plain HTTP]──────────> failed <──┘
 *
 * The library sees memory only: it reads from the bytes that the socket just gave, and what it writes
 * gathers in `out`, which leaves in one piece when the library has nothing more to say (tls_out.c).
 *
 * All that one read of the socket decodes to is delivered at once, so that a stream that stops reading
 * from inside on_read has nothing left over.
 *
 * I1  The owner is called from `received`, `ended` and `sent` only, never from inside its own calls.
 * I2  After `failed` nothing is encoded or decoded; an alert that says why is sent before.
 */
#include "net/tls.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#include "base/json_writer.h"
#include "base/memory.h"
#include "net/tls_internal.h"

/* All that one read can decode to: its bytes, and a record of which the end came with them. */
#define PLAIN_SIZE (2 * TG_NET_READ_SIZE)

static int on_receive(void *ctx, unsigned char *out, size_t len)
{
    struct tg_tls *tls = ctx;

    if (tls->in_len == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (len > tls->in_len)
        len = tls->in_len;
    memcpy(out, tls->in, len);
    tls->in += len;
    tls->in_len -= len;
    return (int)len;
}

static void fail(struct tg_stream *stream, struct tg_tls *tls, enum tg_err err, const char *why)
{
    tls->failed = true;
    tg_buffer_fini(&tls->plain);
    tg__stream_end(stream, err, why);
}

static int shake_hands(struct tg_tls *tls)
{
    int result;

    do
        result = mbedtls_ssl_handshake(&tls->ssl);
    while (tg__tls_is_nothing(result));
    if (result == 0)
        tls->established = true;
    return result;
}

/* An address is checked here because 2.28 knows names only. */
static bool is_right_server(struct tg_tls *tls)
{
    const mbedtls_x509_crt *certificate = mbedtls_ssl_get_peer_cert(&tls->ssl);

    return tls->address_len == 0 ||
           (certificate != NULL &&
            tg__tls_is_for_address(certificate, tls->address, tls->address_len));
}

/* Decodes all of `in`. Returns what stopped it, which is never a success. */
static int decode(struct tg_stream *stream, struct tg_tls *tls, size_t *len)
{
    for (;;) {
        assert(*len < PLAIN_SIZE);
        int n = mbedtls_ssl_read(&tls->ssl, stream->net->plain + *len, PLAIN_SIZE - *len);
        if (n > 0)
            *len += (size_t)n;
        else if (n == 0)
            return MBEDTLS_ERR_SSL_WANT_READ;
        else if (!tg__tls_is_nothing(n))
            return n;
    }
}

/* A letter is no TLS record, and every HTTP method begins with one. */
static bool is_plain_http(const struct tg_tls *tls, const uint8_t *data)
{
    return !tls->client && !tls->begun && data[0] >= 'A' && data[0] <= 'Z';
}

static void refuse_http(struct tg_stream *stream, struct tg_tls *tls)
{
    static const char hint[] = "HTTP/1.1 400 Bad Request\r\n"
                               "Content-Type: text/plain; charset=utf-8\r\n"
                               "Content-Length: 46\r\n"
                               "Connection: close\r\n\r\n"
                               "this port speaks TLS; use https:// or wss://\r\n";

    if (tg_buffer_append(&tls->out, hint, sizeof hint - 1) == TG_ERR_OK)
        (void)tg__tls_send_out(stream, tls); /* the end follows, whatever came of it */
    fail(stream, tls, TG_ERR_PROTO, "plain HTTP on a TLS port");
}

static void after_decoding(struct tg_stream *stream, struct tg_tls *tls, int result)
{
    char why[TG__TLS_REASON_SIZE];

    if (result == MBEDTLS_ERR_SSL_WANT_READ || stream->closing)
        return;
    if (result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        if (tls->established)
            tg__stream_end(stream, TG_ERR_OK, "end of stream");
        else
            fail(stream, tls, TG_ERR_PROTO, "the peer gave up the handshake");
        return;
    }
    tg__tls_reason(&tls->ssl, result, why);
    fail(stream, tls, TG_ERR_PROTO, why);
}

static void take(struct tg_stream *stream, struct tg_tls *tls, const uint8_t *data, size_t len)
{
    size_t plain_len = 0;
    int result = 0;

    if (is_plain_http(tls, data)) {
        refuse_http(stream, tls);
        return;
    }
    tls->begun = true;
    tls->in = data;
    tls->in_len = len;
    tg__tls_borrow_room(stream, tls);
    if (!tls->established)
        result = shake_hands(tls);
    if (result == 0 && !is_right_server(tls)) {
        fail(stream, tls, TG_ERR_PROTO, "the server's certificate is for another address");
        return;
    }
    if (result == 0)
        result = decode(stream, tls, &plain_len);
    tls->in_len = 0;
    tls->failed =
        result != MBEDTLS_ERR_SSL_WANT_READ && result != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY;
    enum tg_err err = tg__tls_push_out(stream, tls);
    if (plain_len > 0)
        tg__stream_deliver(stream, stream->net->plain, plain_len);
    if (err != TG_ERR_OK)
        fail(stream, tls, err, tg_err_text(err));
    if (tls->written_owed && tg__tls_is_idle(stream, tls)) {
        tls->written_owed = false;
        tg__stream_written(stream);
    }
    after_decoding(stream, tls, result);
}

static void tls_received(struct tg_stream *stream, uint8_t *data, size_t len)
{
    struct tg_tls *tls = tg__tls_of(stream);

    if (tls->failed)
        return;
    if (tls->on_hold) {
        tg__stream_deliver(stream, data, len);
        data += len - tls->rest;
        len = tls->rest;
    }
    if (!tls->on_hold && !stream->closing && len > 0)
        take(stream, tls, data, len);
}

static void tls_ended(struct tg_stream *stream)
{
    struct tg_tls *tls = tg__tls_of(stream);

    if (tls->established)
        fail(stream, tls, TG_ERR_PROTO, "the peer ended the connection without close_notify");
    else if (tls->begun || tls->client)
        fail(stream, tls, TG_ERR_PROTO, "the peer ended the connection during the handshake");
    else
        tg__stream_end(stream, TG_ERR_OK, "end of stream"); /* somebody who looks if we are there */
}

static void tls_sent(struct tg_stream *stream)
{
    struct tg_tls *tls = tg__tls_of(stream);
    enum tg_err err = tg__tls_push_out(stream, tls);

    if (err != TG_ERR_OK) {
        fail(stream, tls, err, tg_err_text(err));
    } else if (tg__tls_is_idle(stream, tls)) {
        tls->written_owed = false;
        tg__stream_written(stream);
    }
}

/* --- the owner --------------------------------------------------------------------------------------- */

static void tls_destroy(struct tg_filter *filter)
{
    struct tg_tls *tls = TG_CONTAINER_OF(filter, struct tg_tls, filter);

    mbedtls_ssl_free(&tls->ssl);
    tg_buffer_fini(&tls->out);
    tg_buffer_fini(&tls->plain);
    tg_free(tls->server_name);
    tg_tls_config_release(tls->config);
    tg_free(tls);
}

/* Why the certificate that the peer gave counts as none, in a word; NULL: it gave none, or a good one. */
static const char *certificate_error(const struct tg_tls *tls)
{
    uint32_t flags = mbedtls_ssl_get_verify_result(&tls->ssl);

    if (mbedtls_ssl_get_peer_cert(&tls->ssl) == NULL || flags == 0)
        return NULL;
    if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0)
        return "not_trusted"; /* then its dates mean nothing */
    if ((flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0)
        return "expired";
    return (flags & MBEDTLS_X509_BADCERT_FUTURE) != 0 ? "not_yet_valid" : "invalid";
}

static enum tg_err tls_describe(const struct tg_stream *stream, struct tg_buffer *out)
{
    const struct tg_tls *tls = tg__tls_of(stream);
    struct tg_json_writer w = tg_json_writer_on(out);
    char cipher[TG__TLS_CIPHER_SIZE];

    tg__tls_cipher_name(mbedtls_ssl_get_ciphersuite(&tls->ssl), cipher);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "version", mbedtls_ssl_get_version(&tls->ssl));
    tg_json_member_str(&w, "cipher", cipher);
    if (tls->server_name != NULL)
        tg_json_member_str(&w, "server_name", tls->server_name);
    const char *error = certificate_error(tls);
    if (error != NULL)
        tg_json_member_str(&w, "client_certificate_error", error);
    tg_json_end_object(&w);
    return tg_json_writer_failed(&w) ? TG_ERR_NOMEM : TG_ERR_OK;
}

static enum tg_err tls_certificate(const struct tg_stream *stream, struct tg_buffer *out)
{
    const struct tg_tls *tls = tg__tls_of(stream);
    const mbedtls_x509_crt *certificate = mbedtls_ssl_get_peer_cert(&tls->ssl);

    if (certificate == NULL || mbedtls_ssl_get_verify_result(&tls->ssl) != 0)
        return TG_ERR_OK;
    return tg__tls_write_certificate(certificate, out);
}

static const struct tg_filter_calls calls = {
    .received = tls_received,
    .ended = tls_ended,
    .sent = tls_sent,
    .write = tg__tls_write,
    .shutdown = tg__tls_shutdown,
    .closing = tg__tls_closing,
    .held = tg__tls_held,
    .describe = tls_describe,
    .certificate = tls_certificate,
    .destroy = tls_destroy,
};

enum tg_err tg_stream_start_tls(struct tg_stream *stream, struct tg_tls_config *config, size_t lane)
{
    assert(lane < config->lane_count && !stream->has_filter);
    if (stream->net->plain == NULL)
        stream->net->plain = tg_alloc(PLAIN_SIZE);
    struct tg_tls *tls = stream->net->plain == NULL ? NULL : tg_calloc(1, sizeof *tls);
    if (tls == NULL)
        return TG_ERR_NOMEM;
    tls->filter.calls = &calls;
    mbedtls_ssl_init(&tls->ssl);
    tls->config = tg_tls_config_retain(config);
    if (mbedtls_ssl_setup(&tls->ssl, &config->lanes[lane].ssl) != 0) {
        tls_destroy(&tls->filter);
        return TG_ERR_NOMEM;
    }
    mbedtls_ssl_set_bio(&tls->ssl, tls, tg__tls_on_send, on_receive, NULL);
    tg__tls_set_owner(&tls->ssl, tls);
    tg__stream_set_filter(stream, &tls->filter);
    return TG_ERR_OK;
}

/* An address is no server name (RFC 6066 §3), so nothing is asked for then. */
static enum tg_err name_server(struct tg_tls *tls, const char *host)
{
    if (inet_pton(AF_INET, host, tls->address) == 1)
        tls->address_len = 4;
    else if (inet_pton(AF_INET6, host, tls->address) == 1)
        tls->address_len = 16;
    const char *name = tls->address_len > 0 ? NULL : host;
    if (mbedtls_ssl_set_hostname(&tls->ssl, name) != 0)
        return TG_ERR_INVALID;
    if (tls->config->insecure)
        tls->address_len = 0;
    return TG_ERR_OK;
}

enum tg_err tg_stream_start_tls_client(struct tg_stream *stream, struct tg_tls_config *config,
                                       const char *host)
{
    enum tg_err err = tg_stream_start_tls(stream, config, 0);

    if (err != TG_ERR_OK)
        return err;
    struct tg_tls *tls = tg__tls_of(stream);
    tls->client = true;
    err = name_server(tls, host);
    if (err != TG_ERR_OK)
        return err;
    tg__tls_borrow_room(stream, tls);
    int result = shake_hands(tls);
    err = tg__tls_push_out(stream, tls);
    return result == MBEDTLS_ERR_SSL_WANT_READ ? err : TG_ERR_NOMEM;
}

void tg_stream_hold_tls(struct tg_stream *stream)
{
    struct tg_tls *tls = tg__tls_of(stream);

    assert(tg__calls_of(stream) == &calls && !tls->begun);
    tls->on_hold = true;
}

void tg_stream_release_tls(struct tg_stream *stream, size_t rest)
{
    struct tg_tls *tls = tg__tls_of(stream);

    assert(tls->on_hold);
    tls->on_hold = false;
    tls->rest = rest;
}

bool tg_stream_has_tls(const struct tg_stream *stream)
{
    return tg__calls_of(stream)->describe != NULL;
}

bool tg_stream_is_handshaking(const struct tg_stream *stream)
{
    return tg__calls_of(stream) == &calls && !tg__tls_of(stream)->established;
}

enum tg_err tg_stream_tls_describe(const struct tg_stream *stream, struct tg_buffer *out)
{
    return stream->filter->calls->describe(stream, out);
}

enum tg_err tg_stream_tls_peer_certificate(const struct tg_stream *stream, struct tg_buffer *out)
{
    return stream->filter->calls->certificate(stream, out);
}
