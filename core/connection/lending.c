/* lending.c - what a connection has only while something of its peer is under way.
 *
 *   HTTP parser   none --first bytes--> lent --101, or the end of the connection--> back
 *   decoder       none --bytes of a message--> lent --frame boundary--> back
 *   outbox's room none --a message to send--> lent --all of it is with the kernel--> back
 *
 * The hub keeps one parser and one decoder that are not lent. That is enough: a head nearly always comes in one
 * piece, and so does a message. With compression agreed on a decoder has a memory of its own, and stays.
 */
#include "connection/connection_internal.h"

struct tg_http *tg__parser(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;

    if (conn->http != NULL)
        return conn->http;
    conn->http = hub->spare_http;
    hub->spare_http = NULL;
    if (conn->http == NULL &&
        tg_http_create(&conn->http, TG_HTTP_REQUEST, hub->options.max_header, 0) != TG_ERR_OK)
        return NULL;
    return conn->http;
}

void tg__parser_return(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;

    if (conn->http == NULL)
        return;
    if (hub->spare_http == NULL) {
        tg_http_reset(conn->http);
        hub->spare_http = conn->http;
    } else {
        tg_http_destroy(conn->http);
    }
    conn->http = NULL;
}

struct tg_ws *tg__decoder(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;

    if (conn->ws != NULL)
        return conn->ws;
    conn->ws = hub->spare_ws;
    hub->spare_ws = NULL;
    if (conn->ws != NULL)
        tg_ws_take_over(conn->ws, conn);
    else if (tg_ws_create(&conn->ws, TG_WS_SERVER, hub->options.max_message, &tg__ws_callbacks,
                          conn) != TG_ERR_OK)
        return NULL;
    return conn->ws;
}

void tg__decoder_return(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;

    if (conn->ws == NULL || !tg_ws_is_at_rest(conn->ws))
        return;
    if (hub->spare_ws == NULL)
        hub->spare_ws = conn->ws;
    else
        tg_ws_destroy(conn->ws);
    conn->ws = NULL;
}

/* Rooms over this are for malloc: all spare ones together stay below half a MiB. */
#define SPARE_ROOM_MAX ((size_t)32 << 10)

void tg__outbox_room(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;

    if (conn->outbox.capacity == 0 && hub->spare_room_count > 0)
        conn->outbox = hub->spare_rooms[--hub->spare_room_count];
}

void tg__outbox_room_return(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;

    if (conn->outbox.len > 0 || conn->outbox.capacity == 0)
        return;
    if (hub->spare_room_count < TG_SPARE_ROOMS && conn->outbox.capacity <= SPARE_ROOM_MAX)
        hub->spare_rooms[hub->spare_room_count++] = conn->outbox;
    else
        tg_buffer_fini(&conn->outbox);
    conn->outbox = TG_BUFFER_INIT;
}
