/* secure.c - a connection over TLS: what is kept of it for scripts, and what is told when it fails.
 */
#include "connection/secure.h"

#include "base/log.h"
#include "net/tls.h"

#define LINES_PER_SECOND 10 /* any peer can cause them */

static const char *text_of(struct tg_buffer *json)
{
    return json->len == 0 ? NULL : (const char *)tg_buffer_head(json);
}

static enum tg_err terminate(struct tg_buffer *json)
{
    return json->len == 0 ? TG_ERR_OK : tg_buffer_append(json, "", 1);
}

struct tg_request *tg__secure_request(const struct tg_conn *conn, struct tg_request_about *about)
{
    struct tg_buffer info = TG_BUFFER_INIT;
    struct tg_buffer certificate = TG_BUFFER_INIT;
    struct tg_request *request = NULL;
    if (!tg_stream_has_tls(conn->stream))
        return tg_request_create(tg__http(conn), about);
    if (tg_stream_tls_describe(conn->stream, &info) == TG_ERR_OK &&
        tg_stream_tls_peer_certificate(conn->stream, &certificate) == TG_ERR_OK &&
        terminate(&info) == TG_ERR_OK && terminate(&certificate) == TG_ERR_OK) {
        about->tls_info = text_of(&info);
        about->client_certificate = text_of(&certificate);
        request = tg_request_create(tg__http(conn), about);
    }
    tg_buffer_fini(&info);
    tg_buffer_fini(&certificate);
    return request;
}

void tg__secure_failed(struct tg_conn *conn, const char *why)
{
    char id[TG_CONN_ID_SIZE];
    char remote[TG_ADDRESS_SIZE];
    struct tg_hub *hub = conn->hub;
    uint64_t left_out;
    if (conn->stream == NULL || !tg_stream_is_handshaking(conn->stream))
        return;
    tg_counter_add(&hub->metrics->tls_handshake_failures, 1);
    if (!tg_log_gate_pass(&hub->tls_gate, tg_timers_now_ms(hub->timers), LINES_PER_SECOND,
                          &left_out))
        return;
    tg_conn_id_format(&conn->id, id);
    tg_address_format(&conn->client, remote);
    tg_log(TG_LOG_INFO, "tls.handshake_failed", tg_log_str("id", id), tg_log_str("reason", why),
           tg_log_str("remote", remote), tg_log_uint("more", left_out));
}
