/* client_connect.c - from a name to a stream: each of its addresses in turn, as far as it may be reached.
 */
#include <stdio.h>
#include <string.h>

#include "base/public_address.h"
#include "client/client_internal.h"
#include "net/tls.h"

static void try_next_address(struct tg_client *client);

static void attempt_failed(struct tg_client *client, const char *why)
{
    client->connect_outcome =
        strcmp(why, "connection refused") == 0 ? TG_FETCH_REFUSED : TG_FETCH_CONNECT;
    tg_error_set(&client->connect_error, TG_ERR_SYS, "%s port %u: %s", client->url.host,
                 (unsigned)client->url.port, why);
    tg__ws_client_drop_stream(client);
    try_next_address(client);
}

static void on_connected(void *ctx, enum tg_err err, const char *why)
{
    struct tg_client *client = ctx;

    if (client->state != TG__CLIENT_CONNECTING)
        return;
    tg__ws_client_enter(client);
    if (err != TG_ERR_OK)
        attempt_failed(client, why);
    else if (client->tls == NULL ||
             tg_stream_start_tls_client(client->stream, client->tls, client->url.host) == TG_ERR_OK)
        tg__ws_client_start_wire(client);
    else
        tg__ws_client_fail(client, TG_FETCH_TLS, "TLS does not start");
    tg__ws_client_leave(client);
}

static bool connect_to(struct tg_client *client, const struct tg_address *address)
{
    struct tg_address host = *address;
    char text[TG_ADDRESS_SIZE];

    host.port = 0;
    tg_address_format(&host, text);
    if (tg_stream_connect(&client->stream, client->net, text, client->url.port, on_connected,
                          client, &client->connect_error) != TG_ERR_OK) {
        client->stream = NULL;
        return false;
    }
    tg_stream_bind(client->stream, &tg__ws_client_stream_callbacks, client);
    return true;
}

static void try_next_address(struct tg_client *client)
{
    client->state = TG__CLIENT_CONNECTING;
    while (client->next < client->address_count) {
        const struct tg_address *address = &client->addresses[client->next++];
        /* The address that is connected to, so no name gets around this by resolving to another later. */
        if (client->public_only && !tg_address_is_public(address)) {
            client->connect_outcome = TG_FETCH_FORBIDDEN;
            tg_error_set(&client->connect_error, TG_ERR_INVALID, "%s %s", client->url.host,
                         TG_FETCH_ADDRESS_REFUSED);
        } else if (connect_to(client, address)) {
            tg__ws_client_start_attempt(client, client->address_count - client->next);
            return;
        }
    }
    tg__ws_client_fail(client, client->connect_outcome, client->connect_error.text);
}

void tg__ws_client_give_up_attempt(struct tg_client *client)
{
    attempt_failed(client, "connection timed out");
}

void tg__ws_client_on_found(void *ctx, const struct tg_address *found, size_t count,
                            const char *why)
{
    struct tg_client *client = ctx;
    char text[400];

    client->lookup = NULL;
    tg__ws_client_enter(client);
    if (count == 0) {
        snprintf(text, sizeof text, "cannot find %s: %s", client->url.host, why);
        tg__ws_client_fail(client, TG_FETCH_RESOLVE, text);
    } else {
        memcpy(client->addresses, found, count * sizeof *found);
        client->address_count = count;
        try_next_address(client);
    }
    tg__ws_client_leave(client);
}
