/* connection.c - birth and death of a connection, and reading what it is.
 *
 * Created on accept with its one ID, registered at once, freed when three things are over: the state
 * machine is final, the stream has closed, and no hook is under way.
 *
 * I1  The ID is set here and nowhere else.
 * I2  A connection is in the registry exactly as long as its memory lives.
 */
#include "connection/connection.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "connection/client.h"

enum tg_err tg__move(struct tg_conn *conn, enum tg_state to, const char *reason)
{
    return tg_lifecycle_move(&conn->lifecycle, to, reason, &conn->id, tg__metrics(conn));
}

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct tg_conn *conn = ctx;
    tg_counter_add(&tg__metrics(conn)->bytes[TG_IN], len);
    tg__heard_from_peer(conn);
    if (tg_conn_state(conn) == TG_CONNECTING)
        tg__handshake_read(conn, data, len);
    else if (conn->upgraded)
        tg__receive(conn, data, len);
    /* else: refused; what still arrives is dropped until the peer has read the answer */
    tg__flush_after_read(conn);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    tg__stream_ended(ctx, err, why);
}

static void on_written(void *ctx)
{
    tg__flush(ctx);
}

static void on_stream_closed(void *ctx)
{
    struct tg_conn *conn = ctx;
    conn->stream = NULL;
    tg__conn_maybe_free(conn);
}

static const struct tg_stream_callbacks stream_callbacks = {
    .on_read = on_read,
    .on_end = on_end,
    .on_written = on_written,
    .on_closed = on_stream_closed,
};

static void init_fields(struct tg_conn *conn, struct tg_hub *hub, struct tg_stream *stream)
{
    conn->hub = hub;
    conn->stream = stream;
    conn->asking = TG_ASKING_NONE;
    conn->last_read_ms = (uint32_t)tg_timers_now_ms(hub->timers);
}

enum tg_err tg__conn_create(struct tg_hub *hub, struct tg_stream *stream,
                            const struct tg_address *peer)
{
    enum tg_err err;
    size_t buckets = tg_rate_limits(&hub->options.message_rate) ? 1 : 0;
    struct tg_conn *conn = tg_calloc(1, sizeof *conn + buckets * sizeof conn->message_bucket[0]);
    if (conn == NULL)
        return TG_ERR_NOMEM;
    init_fields(conn, hub, stream);
    conn->id = tg_conn_id_next(&hub->ids);
    err = tg__client_begin(conn, peer);
    if (err != TG_ERR_OK)
        goto err_free;
    err = tg_registry_add(&hub->registry, conn, hub->metrics);
    if (err != TG_ERR_OK)
        goto err_free;
    err = tg_timer_start(hub->timers, &conn->phase_timer, hub->options.handshake_timeout_ms,
                         tg__on_setup_deadline);
    if (err != TG_ERR_OK)
        goto err_unregister;
    tg_stream_bind(stream, &stream_callbacks, conn);
    err = tg_stream_read_start(stream);
    if (err != TG_ERR_OK)
        goto err_timer;
    tg_lifecycle_init(&conn->lifecycle, hub->metrics);
    tg_counter_add(&hub->metrics->connections_opened, 1);
    return TG_ERR_OK;

err_timer:
    tg_timer_stop(hub->timers, &conn->phase_timer);
err_unregister:
    tg_registry_remove(&hub->registry, &conn->id);
err_free:
    tg__client_forget_proxy(conn);
    tg_free(conn);
    return err;
}

static void free_memory(struct tg_conn *conn)
{
    static const enum tg_attachment_kind kinds[] = {TG_ATTACHED_RUNS, TG_ATTACHED_EXPIRY,
                                                    TG_ATTACHED_DEGRADED, TG_ATTACHED_MIDWAY,
                                                    TG_ATTACHED_END};
    tg__parser_return(conn);
    tg_ws_destroy(tg__ws(conn));
    tg_free(conn->request);
    tg_free(conn->facts);
    tg__version_release(conn);
    tg__inbox_drop(conn);
    tg__outbox_drop(conn);
    tg__drop_question(conn);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        tg__free_attached(conn, kinds[i]);
    tg_free(conn);
}

void tg__conn_maybe_free(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;
    if (conn->stream != NULL || conn->asking != TG_ASKING_NONE || conn->receiving)
        return;
    assert(tg_state_is_final(tg_conn_state(conn)) && tg_conn_runs(conn) == 0 && !conn->closed_owed);
    if (hub->upper.conn_over != NULL)
        hub->upper.conn_over(hub->upper.host, conn);
    tg_timer_stop(hub->timers, &conn->phase_timer);
    tg_timer_stop(hub->timers, &conn->keepalive_timer);
    tg__stop_expiry(conn);
    tg__client_end(conn);
    tg_registry_remove(&hub->registry, &conn->id);
    tg_lifecycle_fini(&conn->lifecycle, hub->metrics);
    tg_counter_add(&hub->metrics->connections_closed, 1);
    free_memory(conn);
}

const struct tg_conn_id *tg_conn_get_id(const struct tg_conn *conn)
{
    return &conn->id;
}

void tg_conn_id_text(const struct tg_conn *conn, char out[TG_CONN_ID_SIZE])
{
    tg_conn_id_format(&conn->id, out);
}

struct tg_hub *tg_conn_hub(const struct tg_conn *conn)
{
    return conn->hub;
}

enum tg_state tg_conn_state(const struct tg_conn *conn)
{
    return tg_lifecycle_state(&conn->lifecycle);
}

const struct tg_lifecycle *tg_conn_lifecycle(const struct tg_conn *conn)
{
    return &conn->lifecycle;
}

const char *tg_conn_user_id(const struct tg_conn *conn)
{
    return (const char *)tg_facts_get(conn->facts, TG_FACT_USER_ID).data;
}

struct tg_blob tg_conn_identity(const struct tg_conn *conn)
{
    return tg_facts_get(conn->facts, TG_FACT_IDENTITY);
}

struct tg_blob tg_conn_context(const struct tg_conn *conn)
{
    return tg_facts_get(conn->facts, TG_FACT_CONTEXT);
}

struct tg_blob tg_conn_services(const struct tg_conn *conn)
{
    return tg_facts_get(conn->facts, TG_FACT_SERVICES);
}

enum tg_err tg_conn_store_services(struct tg_conn *conn, const void *data, size_t len)
{
    return tg_facts_set(&conn->facts, TG_FACT_SERVICES, data, len);
}

const struct tg_request *tg_conn_request(const struct tg_conn *conn)
{
    return conn->request;
}

uint64_t tg_conn_connected_at_ms(const struct tg_conn *conn)
{
    return conn->id.time_ms;
}

double tg_conn_expires_at(const struct tg_conn *conn)
{
    const struct tg_expiry *expiry = tg__expiry(conn);
    return expiry == NULL ? 0 : expiry->at;
}

void tg_conn_remote(const struct tg_conn *conn, char out[TG_ADDRESS_SIZE])
{
    out[0] = '\0';
    if (conn->request != NULL) /* final: a trusted proxy has been heard */
        tg_address_format(&conn->client, out);
}

bool tg_conn_is_open(const struct tg_conn *conn)
{
    return tg__is_up(conn) && !conn->gone;
}

struct tg_conn_stats tg_conn_stats(const struct tg_conn *conn)
{
    const struct tg_inbox *inbox = tg__inbox(conn);
    const struct tg_degraded *degraded = tg__degraded(conn);
    return (struct tg_conn_stats){
        .inbox_messages = inbox == NULL ? 0 : inbox->count,
        .inbox_bytes = inbox == NULL ? 0 : inbox->bytes + inbox->unread.len,
        .outbox_bytes = tg__outbox_bytes(conn),
        .runs = tg_conn_runs(conn),
        .messages_in = conn->messages_in,
        .messages_out = conn->messages_out,
        .degraded_reason = degraded == NULL ? NULL : degraded->reason,
    };
}

struct tg_blob tg_conn_session(const struct tg_conn *conn)
{
    return tg_facts_get(conn->facts, TG_FACT_SESSION);
}

uint32_t tg_conn_session_revision(const struct tg_conn *conn)
{
    return conn->session_revision;
}

enum tg_err tg_conn_store_session(struct tg_conn *conn, const void *data, size_t len)
{
    if (len > tg__options(conn)->session_bytes)
        return TG_ERR_LIMIT;
    if (tg_facts_set(&conn->facts, TG_FACT_SESSION, data, len) != TG_ERR_OK)
        return TG_ERR_NOMEM;
    conn->session_revision++;
    return TG_ERR_OK;
}
