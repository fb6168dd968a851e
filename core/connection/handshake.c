/* handshake.c - from the first byte to 101 Switching Protocols, or a refusal that says why.
 *
 *   head incomplete ──> keep reading          malformed, too large, no upgrade ──> 4xx, failed
 *   GET /healthz ──> 200, closed              complete ──> `upgrade` hook ──> 101, accepted
 *
 * Every answer carries the connection ID, a refusal included, so that a proxy's log and ours can be
 * joined. What the client sent behind its head is kept until the 101 is out.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/utf8.h"
#include "connection/client.h"
#include "connection/redact.h"
#include "connection/secure.h"
#include "net/tls.h"
#include "proto/extensions.h"
#include "proto/upgrade.h"

#define LINES_PER_SECOND 100 /* about refusals, which any peer can cause */
#define SUBPROTOCOL "tidegate.v1"
#define DRAINING "the server is shutting down; connect again later\n"

static bool text_is(struct tg_http_text text, const char *want)
{
    return text.len == strlen(want) && memcmp(text.data, want, text.len) == 0;
}

static void answer(struct tg_conn *conn, int status, const char *body, const char *extra)
{
    char id[TG_CONN_ID_SIZE];
    struct tg_buffer headers = TG_BUFFER_INIT;
    struct tg_outbox *outbox = tg__outbox(conn);
    tg_conn_id_format(&conn->id, id);
    if (outbox == NULL) /* no memory for an answer: the close must do */
        return;
    if (tg_buffer_printf(&headers, "Tidegate-Connection-Id: %s\r\n%s", id,
                         extra == NULL ? "" : extra) == TG_ERR_OK &&
        tg_buffer_append(&headers, "", 1) == TG_ERR_OK &&
        tg_http_write_response(&outbox->bytes, status, "text/plain; charset=utf-8",
                               (const char *)tg_buffer_head(&headers), body, strlen(body),
                               false) != TG_ERR_OK)
        tg_buffer_clear(&outbox->bytes); /* the same */
    tg_buffer_fini(&headers);
    tg__flush_later(outbox);
}

static void log_refused(struct tg_conn *conn, int status, const char *line)
{
    char id[TG_CONN_ID_SIZE];
    char remote[TG_ADDRESS_SIZE];
    struct tg_hub *hub = conn->hub;
    uint64_t left_out;
    if (!tg_log_gate_pass(&hub->refused_gate, tg_timers_now_ms(hub->timers), LINES_PER_SECOND,
                          &left_out))
        return;
    tg_conn_id_format(&conn->id, id);
    tg_address_format(&conn->client, remote);
    tg_log_about(conn, TG_LOG_INFO, "conn.refused", tg_log_str("id", id),
                 tg_log_int("status", status), tg_log_strn("reason", line, strlen(line) - 1),
                 tg_log_str("remote", remote), tg_log_uint("more", left_out));
}

void tg__handshake_refuse(struct tg_conn *conn, int status, const char *why, const char *extra,
                          enum tg_state to, const char *what)
{
    char line[256];
    (void)snprintf(line, sizeof line - 1, "%s", why);
    size_t len = tg_utf8_cut(line, strlen(line), sizeof line - 2);
    bool ended = len > 0 && line[len - 1] == '\n';
    (void)snprintf(line + len, sizeof line - len, "%s", ended ? "" : "\n");
    if (to == TG_FAILED) {
        tg_counter_add(&tg__metrics(conn)->handshakes_refused, 1);
        log_refused(conn, status, line);
    }
    if (conn->stream != NULL &&
        tg_stream_is_handshaking(conn->stream)) { /* nothing can be told to it */
        tg__secure_failed(conn, what);
        tg__lose(conn, 0, what);
        return;
    }
    answer(conn, status, line, extra);
    tg__finish(conn, to, what);
}

static const char *offered_subprotocol(const struct tg_http *http)
{
    uint64_t cursor = 0;
    struct tg_http_text item;
    while (tg_http_next_item(http, TG_HEADER_SEC_WEBSOCKET_PROTOCOL, &cursor, &item))
        if (text_is(item, SUBPROTOCOL))
            return SUBPROTOCOL;
    return NULL;
}

/* Writes the header line that answers the client's extensions, or "". *decoder: what they need, the caller's. */
static enum tg_err agree_on_extensions(struct tg_conn *conn, char *line, size_t size,
                                       struct tg_ws **decoder)
{
    const struct tg_hub_options *options = tg__options(conn);
    struct tg_deflate_agreement agreed;
    char value[TG_EXTENSIONS_SIZE];
    line[0] = '\0';
    if (!options->compression ||
        !tg_extensions_negotiate(tg__http(conn), &options->deflate_terms, &agreed, value))
        return TG_ERR_OK;
    (void)snprintf(line, size, TG_EXTENSIONS_HEADER "%s\r\n", value);
    *decoder = tg__decoder_borrow(conn);
    return *decoder == NULL
               ? TG_ERR_NOMEM
               : tg_ws_use_deflate(*decoder, &agreed, &options->deflate_tuning, tg__metrics(conn));
}

static enum tg_err write_switching(struct tg_conn *conn, struct tg_ws **decoder)
{
    static const char name[] = "Tidegate-Connection-Id: ";
    char extra[sizeof name + TG_CONN_ID_SIZE + sizeof "\r\n" TG_EXTENSIONS_HEADER "\r\n" +
               TG_EXTENSIONS_SIZE];
    char *after_id = extra + sizeof name - 1 + TG_CONN_ID_LEN;
    const char *subprotocol = offered_subprotocol(tg__http(conn));
    memcpy(extra, name, sizeof name - 1);
    tg_conn_id_format(&conn->id, extra + sizeof name - 1);
    memcpy(after_id, "\r\n", 2);
    enum tg_err err = agree_on_extensions(conn, after_id + 2,
                                          sizeof extra - (size_t)(after_id + 2 - extra), decoder);
    if (err != TG_ERR_OK)
        return err;
    struct tg_outbox *outbox = tg__outbox(conn);
    if (outbox == NULL)
        return TG_ERR_NOMEM;
    return tg_upgrade_accept(&outbox->bytes, tg__http(conn), subprotocol, extra);
}

static void log_open(const struct tg_conn *conn)
{
    char id[TG_CONN_ID_SIZE];
    char remote[TG_ADDRESS_SIZE];
    if (!tg_log_enabled(TG_LOG_INFO))
        return;
    tg_conn_id_format(&conn->id, id);
    tg_conn_remote(conn, remote);
    tg_log(TG_LOG_INFO, "conn.open", tg_log_str("id", id), tg_log_str("remote", remote),
           tg_log_str("path", tg_request_path(conn->request)));
}

static void accept_upgrade(struct tg_conn *conn)
{
    struct tg_ws *decoder = NULL;
    if (write_switching(conn, &decoder) != TG_ERR_OK) {
        tg_ws_destroy(decoder);
        tg__handshake_refuse(conn, 503, "out of memory; try again later", NULL, TG_FAILED,
                             "out of memory");
        return;
    }
    tg__parser_return(conn);
    conn->upgraded = true;
    conn->intake.ws = decoder;
    tg__flush_later(conn->outbox);
    if (tg__move(conn, TG_ACCEPTED, "upgrade accepted") != TG_ERR_OK) {
        tg__lose(conn, 1006, "illegal transition");
        return;
    }
    log_open(conn);
    tg__setup_start(conn);
}

void tg__upgrade_answered(struct tg_conn *conn, const struct tg_hook_result *result)
{
    const char *why = result->reason;
    if (tg_conn_state(conn) != TG_CONNECTING)
        return;
    if (result->outcome == TG_HOOK_OK_OUTCOME) {
        accept_upgrade(conn);
    } else if (result->outcome == TG_HOOK_DENIED_OUTCOME) {
        int status = result->status == 0 ? 403 : result->status;
        tg__handshake_refuse(conn, status, why == NULL ? "refused" : why, NULL, TG_FAILED,
                             "upgrade: denied");
    } else {
        tg__handshake_refuse(conn, 500, "the server could not decide on this request", NULL,
                             TG_FAILED, "upgrade: hook failed");
    }
}

static bool is_health_check(const struct tg_http *http)
{
    return !tg_http_is_upgrade(http) && text_is(tg_http_path(http), "/healthz") &&
           text_is(tg_http_method(http), "GET");
}

/* Only browsers send Origin, and they cannot be made to lie about it (RFC 6454 §7). */
static bool origin_allowed(const struct tg_conn *conn)
{
    const struct tg_hub_options *options = tg__options(conn);
    if (options->allowed_origin_count == 0)
        return true;
    struct tg_http_text origin = tg_http_find(tg__http(conn), TG_HEADER_ORIGIN, NULL);
    if (origin.data == NULL)
        return true;
    for (size_t i = 0; i < options->allowed_origin_count; i++)
        if (strcasecmp(options->allowed_origins[i], origin.data) == 0)
            return true;
    return false;
}

static bool keep_request(struct tg_conn *conn, bool secure)
{
    struct tg_request_about about = {.secure = secure, .via_proxy = conn->via_proxy};
    conn->request = tg__secure_request(conn, &about);
    return conn->request != NULL;
}

static void head_complete(struct tg_conn *conn)
{
    struct tg_upgrade_refusal refusal;
    bool secure;
    if (!tg__client_from_head(conn, &secure))
        return;
    if (!keep_request(conn, secure)) {
        tg__handshake_refuse(conn, 503, "out of memory; try again later", NULL, TG_FAILED,
                             "out of memory");
        return;
    }
    if (is_health_check(tg__http(conn))) {
        bool draining = conn->hub->draining;
        tg__handshake_refuse(conn, draining ? 503 : 200, draining ? "draining" : "ok", NULL,
                             TG_CLOSED, "health check answered");
        return;
    }
    if (!tg__client_admit(conn))
        return;
    if (tg_upgrade_check(tg__http(conn), &refusal) != TG_ERR_OK) {
        tg__handshake_refuse(conn, refusal.status, refusal.why, refusal.extra, TG_FAILED,
                             "upgrade: bad request");
        return;
    }
    if (!origin_allowed(conn)) {
        tg__count_refusal(conn->hub, TG_REFUSAL_ORIGIN);
        tg__handshake_refuse(conn, 403, "this origin may not connect (allowed_origins)", NULL,
                             TG_FAILED, "upgrade: origin not allowed");
        return;
    }
    if (conn->hub->draining) {
        tg__handshake_refuse(conn, 503, DRAINING, "Retry-After: 5\r\n", TG_FAILED, "draining");
        return;
    }
    if (tg__hook_defined(conn, TG_HOOK_UPGRADE))
        tg__ask(conn, TG_HOOK_UPGRADE, &(struct tg_hook_input){0});
    else
        accept_upgrade(conn);
}

void tg__handshake_read(struct tg_conn *conn, const uint8_t *data, size_t len)
{
    size_t consumed = 0;
    if (conn->request != NULL) { /* an answer to `upgrade` is awaited; reading is stopped already */
        if (tg__inbox_keep_unread(conn, data, len) != TG_ERR_OK)
            tg__lose(conn, 1006, "out of memory");
        return;
    }
    if (!tg__client_read_proxy(conn, &data, &len) || len == 0)
        return;
    struct tg_http *http = tg__parser(conn);
    if (http == NULL) {
        tg__handshake_refuse(conn, 503, "out of memory; try again later", NULL, TG_FAILED,
                             "out of memory");
        return;
    }
    enum tg_http_status status = tg_http_feed(http, data, len, &consumed);
    if (status == TG_HTTP_MORE)
        return;
    if (status == TG_HTTP_BAD) {
        const char *why = NULL;
        int code = tg_http_refusal(http, &why);
        tg__handshake_refuse(conn, code, why, NULL, TG_FAILED, "bad HTTP request");
        return;
    }
    conn->paused = true; /* and if no answer is out at the end of this, the pump stops reading */
    if (consumed < len &&
        tg__inbox_keep_unread(conn, data + consumed, len - consumed) != TG_ERR_OK) {
        tg__lose(conn, 1006, "out of memory");
        return;
    }
    head_complete(conn);
    tg__pump(conn);
}
