/* client.c - who the client is, and whether it may come.
 *
 * I1  A connection that was admitted is released exactly once, with the address it was admitted by: the
 *     address does not change after that.
 * I2  What a peer that is no trusted proxy says about addresses is neither believed nor shown to a script.
 *
 * A trusted proxy that speaks for itself is not limited by its address: if its headers fail, that is one
 * shared address for everybody behind it.
 */
#include "connection/client.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/memory.h"
#include "net/tls.h"
#include "proto/forwarded.h"

#define RETRY_S 5 /* when nothing better is known */

static bool is_trusted(const struct tg_hub *hub, const struct tg_address *address)
{
    return tg_cidr_any(hub->options.trusted_proxies, hub->options.trusted_proxy_count, address);
}

/* Asks for one more connection of this address; true when there is nobody to ask. */
static bool admit(struct tg_hub *hub, const struct tg_address *client, enum tg_refusal *why,
                  uint64_t *wait_ms)
{
    struct tg_admission *admission = hub->options.admission;

    *wait_ms = 0;
    if (admission == NULL || is_trusted(hub, client))
        return true;
    switch (tg_admission_admit(admission, client, tg_timers_now_ms(hub->timers), wait_ms)) {
    case TG_ADMITTED:
        return true;
    case TG_ADMISSION_TOO_MANY:
        *why = TG_REFUSAL_MAX_PER_IP;
        break;
    case TG_ADMISSION_TOO_FAST:
        *why = TG_REFUSAL_CONNECTION_RATE;
        break;
    }
    return false;
}

static void release(struct tg_hub *hub, const struct tg_address *client)
{
    if (!is_trusted(hub, client))
        tg_admission_release(hub->options.admission, client);
}

bool tg__client_enter(struct tg_hub *hub, const struct tg_address *peer, enum tg_refusal *why,
                      uint64_t *wait_ms)
{
    struct tg_admission *admission = hub->options.admission;

    *wait_ms = 0;
    if (admission == NULL)
        return true;
    *why = TG_REFUSAL_MAX_CONNECTIONS;
    if (!tg_admission_enter(admission))
        return false;
    if (is_trusted(hub, peer) || admit(hub, peer, why, wait_ms))
        return true;
    tg_admission_leave(admission);
    return false;
}

void tg__client_abandon(struct tg_hub *hub, const struct tg_address *peer)
{
    if (hub->options.admission == NULL)
        return;
    release(hub, peer);
    tg_admission_leave(hub->options.admission);
}

enum tg_err tg__client_begin(struct tg_conn *conn, const struct tg_address *peer)
{
    conn->client = *peer;
    conn->via_proxy = is_trusted(conn->hub, peer);
    conn->admitted = !conn->via_proxy;
    if (!conn->via_proxy || !tg__options(conn)->proxy_protocol)
        return TG_ERR_OK;
    struct tg_proxy_parser *proxy = tg_calloc(1, sizeof *proxy);
    if (proxy == NULL)
        return TG_ERR_NOMEM;
    conn->intake.proxy = proxy;
    conn->proxy_awaited = true;
    if (tg_stream_has_tls(conn->stream))
        tg_stream_hold_tls(conn->stream); /* the PROXY header stands before it */
    return TG_ERR_OK;
}

void tg__client_forget_proxy(struct tg_conn *conn)
{
    if (!conn->proxy_awaited)
        return;
    tg_free(conn->intake.proxy);
    conn->intake.proxy = NULL;
    conn->proxy_awaited = false;
}

void tg__client_end(struct tg_conn *conn)
{
    struct tg_admission *admission = tg__options(conn)->admission;

    tg__client_forget_proxy(conn);
    if (admission == NULL)
        return;
    if (conn->admitted)
        release(conn->hub, &conn->client);
    tg_admission_leave(admission);
}

void tg__count_refusal(struct tg_hub *hub, enum tg_refusal why)
{
    tg_counter_add(&hub->metrics->refusals[why], 1);
}

struct tg_refusal_answer tg__refusal_answer(enum tg_refusal why, uint64_t wait_ms)
{
    uint64_t seconds = wait_ms == 0 ? RETRY_S : (wait_ms + 999) / 1000;
    struct tg_refusal_answer answer = {.status = 503};

    if (why == TG_REFUSAL_MAX_PER_IP) {
        answer.status = 429;
        answer.text = "too many connections from this address; close one, or try again later\n";
    } else if (why == TG_REFUSAL_CONNECTION_RATE) {
        answer.status = 429;
        answer.text = "too many new connections from this address; slow down\n";
    } else if (why == TG_REFUSAL_MEMORY) {
        answer.text = "out of memory; try again later\n";
    } else {
        answer.text = "the server has as many connections as it may; try again later\n";
    }
    (void)snprintf(answer.extra, sizeof answer.extra, "Retry-After: %" PRIu64 "\r\n", seconds);
    return answer;
}

static void refuse(struct tg_conn *conn, enum tg_refusal why, uint64_t wait_ms, const char *what)
{
    struct tg_refusal_answer answer = tg__refusal_answer(why, wait_ms);

    tg__count_refusal(conn->hub, why);
    tg__handshake_refuse(conn, answer.status, answer.text, answer.extra, TG_FAILED, what);
}

static void refuse_proxy(struct tg_conn *conn, const char *why, const char *what)
{
    tg__count_refusal(conn->hub, TG_REFUSAL_PROXY);
    tg__handshake_refuse(conn, 400, why, NULL, TG_FAILED, what);
}

bool tg__client_admit(struct tg_conn *conn)
{
    enum tg_refusal why = TG_REFUSAL_MEMORY;
    uint64_t wait_ms = 0;

    if (conn->admitted)
        return true;
    if (!admit(conn->hub, &conn->client, &why, &wait_ms)) {
        refuse(conn, why, wait_ms, "upgrade: too many from this address");
        return false;
    }
    conn->admitted = true;
    return true;
}

bool tg__client_read_proxy(struct tg_conn *conn, const uint8_t **data, size_t *len)
{
    size_t consumed = 0;

    if (!conn->proxy_awaited)
        return true;
    struct tg_proxy_parser *proxy = conn->intake.proxy;
    enum tg_proxy_status status = tg_proxy_feed(proxy, *data, *len, &consumed);
    *data += consumed;
    *len -= consumed;
    if (status == TG_PROXY_MORE)
        return false;
    if (tg_stream_has_tls(conn->stream)) {
        tg_stream_release_tls(conn->stream, *len);
        *len = 0;
    }
    bool known = status == TG_PROXY_DONE && !proxy->local;
    const char *why = proxy->why;
    if (known) {
        conn->client = proxy->source;
        conn->via_proxy = is_trusted(conn->hub, &conn->client);
    }
    tg__client_forget_proxy(conn);
    if (status == TG_PROXY_BAD) {
        refuse_proxy(conn, why, "bad PROXY header");
        return false;
    }
    return conn->via_proxy || tg__client_admit(conn);
}

bool tg__client_from_head(struct tg_conn *conn, bool *secure)
{
    const struct tg_hub_options *options = tg__options(conn);
    struct tg_forwarded forwarded;
    const char *why = "";

    *secure = false;
    if (!conn->via_proxy)
        return true;
    if (tg_forwarded_resolve(tg__http(conn), &conn->client, options->trusted_proxies,
                             options->trusted_proxy_count, &forwarded, &why) != TG_ERR_OK) {
        refuse_proxy(conn, why, "bad forwarding headers");
        return false;
    }
    conn->client = forwarded.client;
    *secure = forwarded.secure;
    return true;
}
