/* simulation_client.c - the other ends of a simulation's connections.
 *
 *   test ── send, close ──> wire ── pending ──> peer ──> stream of the connection
 *   test <── messages ──── wire <── inbox ──── peer <── (unless the client is stalled)
 *
 * A client outlives its connection: what that was is kept when its memory goes (tg__sim_conn_over).
 */
#include <string.h>

#include "app/test/simulation_internal.h"
#include "base/memory.h"
#include "connection/connection.h"
#include "proto/http.h"

static struct tg_sim_client *client_of(struct tg_sim *sim, size_t number)
{
    return sim->clients[number - 1];
}

/* --- what the connection is ------------------------------------------------------------------------ */

static void keep_blob(struct tg_buffer *place, struct tg_blob blob)
{
    tg_buffer_clear(place);
    if (blob.len > 0)
        tg__sim_must(tg_buffer_append(place, blob.data, blob.len));
}

static void keep_look(struct tg_sim_look *look, const struct tg_conn *conn)
{
    const char *user_id = tg_conn_user_id(conn);

    look->seen = true;
    tg_conn_id_text(conn, look->id);
    look->lifecycle = *tg_conn_lifecycle(conn);
    tg_free(look->user_id);
    look->user_id = user_id == NULL ? NULL : tg_xstrdup(user_id);
    keep_blob(&look->identity, tg_conn_identity(conn));
    keep_blob(&look->context, tg_conn_context(conn));
    keep_blob(&look->session, tg_conn_session(conn));
    (void)snprintf(look->policy_version, sizeof look->policy_version, "%s",
                   tg_conn_policy_version(conn));
}

void tg__sim_conn_over(void *ctx, const struct tg_conn *conn)
{
    struct tg_sim *sim = ctx;
    uint64_t serial = tg_conn_get_id(conn)->serial;

    for (size_t i = 0; i < sim->client_count; i++) {
        if (sim->clients[i]->serial == serial)
            keep_look(&sim->clients[i]->look, conn);
    }
}

static struct tg_blob blob_of(const struct tg_buffer *buffer)
{
    return (struct tg_blob){tg_buffer_head(buffer), buffer->len};
}

static void fill_end(const struct tg_sim_client *client, struct tg_sim_facts *out)
{
    const struct tg_client_end *end = tg_wire_end(client->wire);
    const struct tg_http *answer = tg_wire_answer(client->wire);

    out->over = tg_wire_state(client->wire) == TG_WIRE_OVER;
    out->status = answer == NULL ? 0 : tg_http_response_status(answer);
    out->body = end->body;
    out->close_code = end->code;
    out->close_reason = end->reason;
}

void tg_sim_client_facts(struct tg_sim *sim, size_t number, struct tg_sim_facts *out)
{
    struct tg_sim_client *client = client_of(sim, number);
    const struct tg_conn *conn =
        client->serial == 0 ? NULL : tg_hub_find_serial(sim->layers.hub, client->serial);
    struct tg_sim_look *look = &client->look;

    if (conn != NULL)
        keep_look(look, conn);
    *out = (struct tg_sim_facts){.state = "refused"};
    if (look->seen) {
        out->state = tg_state_names[tg_lifecycle_state(&look->lifecycle)];
        memcpy(out->id, look->id, sizeof out->id);
        out->lifecycle = &look->lifecycle;
    }
    out->serial = client->serial;
    out->user_id = look->user_id;
    out->identity = blob_of(&look->identity);
    out->context = blob_of(&look->context);
    out->session = blob_of(&look->session);
    out->policy_version = look->policy_version;
    fill_end(client, out);
}

bool tg_sim_client_header(struct tg_sim *sim, size_t number, size_t i, const char **name,
                          const char **value)
{
    const struct tg_http *answer = tg_wire_answer(client_of(sim, number)->wire);

    if (answer == NULL || i >= tg_http_header_count(answer))
        return false;
    struct tg_http_header header = tg_http_header_at(answer, i);
    *name = header.name.data;
    *value = header.value.data;
    return true;
}

/* --- moving -------------------------------------------------------------------------------------- */

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
    struct tg_sim_client *client = ctx;

    tg__sim_must(tg_inbox_push(&client->messages, text ? TG_WS_TEXT : TG_WS_BINARY, data, len));
}

/* The wire's state is looked at between moves; nobody waits for these. */
static void on_news(void *ctx)
{
    (void)ctx;
}

static void on_closing(void *ctx, bool clean)
{
    (void)ctx;
    (void)clean;
}

static bool send_pending(struct tg_sim_client *client)
{
    struct tg_buffer *pending = tg_wire_pending(client->wire);

    if (pending->len == 0)
        return false;
    tg__sim_must(tg_memory_peer_send(client->peer, tg_buffer_head(pending), pending->len));
    tg_buffer_clear(pending);
    return true;
}

static bool read_inbox(struct tg_sim_client *client)
{
    struct tg_buffer *inbox = tg_memory_peer_inbox(client->peer);
    struct tg_buffer bytes = *inbox;

    if (bytes.len == 0)
        return false;
    *inbox = TG_BUFFER_INIT;
    tg_wire_feed(client->wire, tg_buffer_head(&bytes), bytes.len);
    tg_buffer_fini(&bytes);
    return true;
}

static bool read_end(struct tg_sim_client *client)
{
    if (tg_wire_state(client->wire) == TG_WIRE_OVER || !tg_memory_peer_ended(client->peer))
        return false;
    tg_wire_ended(client->wire, tg_memory_peer_was_cut(client->peer) ? TG_ERR_SYS : TG_ERR_OK,
                  "the server dropped the connection");
    return true;
}

bool tg__sim_client_move(struct tg_sim_client *client)
{
    bool moved = send_pending(client);

    if (tg_memory_peer_move(client->peer))
        moved = true;
    if (!client->stalled && (read_inbox(client) || read_end(client)))
        moved = true;
    if (tg_wire_state(client->wire) != TG_WIRE_OVER || client->fin_sent)
        return moved;
    (void)send_pending(client); /* a last close frame */
    tg_memory_peer_fin(client->peer);
    client->fin_sent = true;
    return true;
}

/* --- what tests do --------------------------------------------------------------------------------- */

static struct tg_address address_of(const struct tg_sim *sim, const char *remote)
{
    static const uint8_t here[4] = {127, 0, 0, 1};
    struct tg_address address;

    if (remote == NULL)
        return tg_address_v4(here, (uint16_t)(32768 + sim->client_count % 32768));
    if (strcmp(remote, "unix") == 0)
        return (struct tg_address){.kind = TG_ADDRESS_UNIX};
    if (!tg_address_parse(remote, strlen(remote), &address))
        address = (struct tg_address){.kind = TG_ADDRESS_UNKNOWN};
    return address;
}

/* Of the connection that tg_hub_accept has just made; 0: it has made none. */
static uint64_t newest_serial(struct tg_sim *sim)
{
    const struct tg_conn *conn;
    uint64_t newest = sim->last_serial;
    size_t cursor = 0;

    while ((conn = tg_hub_next(sim->layers.hub, &cursor)) != NULL) {
        if (tg_conn_get_id(conn)->serial > newest)
            newest = tg_conn_get_id(conn)->serial;
    }
    if (newest == sim->last_serial)
        return 0;
    sim->last_serial = newest;
    return newest;
}

static enum tg_err open_client(struct tg_sim *sim, struct tg_sim_client *client,
                               const struct tg_sim_connect *options,
                               const struct tg_address *address)
{
    static const struct tg_wire_callbacks callbacks = {on_news, on_message, on_closing, on_news,
                                                       NULL};
    struct tg_wire_options wire = {
        .authority = "tidegate.test",
        .target = options->target,
        .headers = options->headers,
        .subprotocol = options->subprotocols,
        .compress = options->compress,
    };
    struct tg_memory_options memory = {
        .address = *address,
        .tls = options->tls,
        .certificate = options->certificate,
    };
    struct tg_stream *stream;
    enum tg_err err = tg_wire_create(&client->wire, &wire, &callbacks, client);

    if (err == TG_ERR_OK)
        err = tg_memory_stream_create(&stream, &client->peer, sim->net, &memory);
    if (err != TG_ERR_OK)
        return err;
    tg_hub_accept(sim->layers.hub, stream);
    client->serial = newest_serial(sim);
    return TG_ERR_OK;
}

enum tg_err tg_sim_connect(struct tg_sim *sim, const struct tg_sim_connect *options, size_t *number,
                           struct tg_error *error)
{
    struct tg_sim_client *client;
    struct tg_address address = address_of(sim, options->remote);

    if (address.kind == TG_ADDRESS_UNKNOWN)
        return tg_error_set(error, TG_ERR_INVALID,
                            "remote: \"%.60s\" is no address, such as 203.0.113.7:4711",
                            options->remote);
    client = tg_xcalloc(1, sizeof *client);
    tg_inbox_init(&client->messages);
    tg__sim_enter(sim);
    enum tg_err err = open_client(sim, client, options, &address);
    tg__sim_leave(sim);
    if (err != TG_ERR_OK) {
        tg__sim_client_destroy(client);
        return tg_error_set(error, err, "the upgrade request cannot be written: %s",
                            err == TG_ERR_INVALID ? "a path or a header has a control character"
                                                  : tg_err_text(err));
    }
    size_t size = (sim->client_count + 1) * sizeof(struct tg_sim_client *);
    struct tg_sim_client **clients = tg_realloc(sim->clients, size);
    tg__sim_must(clients == NULL ? TG_ERR_NOMEM : TG_ERR_OK);
    sim->clients = clients;
    sim->clients[sim->client_count++] = client;
    *number = sim->client_count;
    return TG_ERR_OK;
}

void tg__sim_client_destroy(struct tg_sim_client *client)
{
    tg_memory_peer_destroy(client->peer);
    tg_wire_destroy(client->wire);
    tg_inbox_fini(&client->messages);
    tg_free(client->look.user_id);
    tg_buffer_fini(&client->look.identity);
    tg_buffer_fini(&client->look.context);
    tg_buffer_fini(&client->look.session);
    tg_free(client);
}

bool tg_sim_client_send(struct tg_sim *sim, size_t number, bool text, const void *data, size_t len)
{
    struct tg_wire *wire = client_of(sim, number)->wire;

    if (tg_wire_state(wire) != TG_WIRE_OPEN)
        return false;
    tg__sim_must(tg_wire_send(wire, text, data, len));
    return true;
}

bool tg_sim_client_close(struct tg_sim *sim, size_t number, int code, const char *reason)
{
    struct tg_wire *wire = client_of(sim, number)->wire;

    if (tg_wire_state(wire) != TG_WIRE_OPEN)
        return false;
    tg_wire_close(wire, code, reason);
    return true;
}

void tg_sim_client_drop(struct tg_sim *sim, size_t number)
{
    struct tg_sim_client *client = client_of(sim, number);

    client->fin_sent = true; /* no orderly end any more */
    tg_memory_peer_reset(client->peer);
    tg_wire_fail(client->wire, TG_FETCH_RESET, "dropped");
}

void tg_sim_client_stall(struct tg_sim *sim, size_t number, size_t window)
{
    struct tg_sim_client *client = client_of(sim, number);

    client->stalled = true;
    tg_memory_peer_set_window(client->peer, window);
}

void tg_sim_client_resume(struct tg_sim *sim, size_t number)
{
    struct tg_sim_client *client = client_of(sim, number);

    client->stalled = false;
    tg_memory_peer_set_window(client->peer, SIZE_MAX);
}

bool tg_sim_client_take(struct tg_sim *sim, size_t number, bool *text, struct tg_buffer *out)
{
    struct tg_inbox_message *message = tg_inbox_pop(&client_of(sim, number)->messages);

    if (message == NULL)
        return false;
    *text = message->kind == TG_WS_TEXT;
    if (message->len > 0)
        tg__sim_must(tg_buffer_append(out, message->data, message->len));
    tg_free(message);
    return true;
}
