/* lending.c - what a connection has only while something of its peer is under way.
 *
 *   HTTP parser   none --first bytes--> lent --101, or the end of the connection--> back
 *   decoder       none --bytes of a message--> lent --frame boundary--> back
 *   outbox        none --something to send--> lent --all of it is with the kernel--> back
 *
 * The hub keeps one parser and one decoder that are not lent. That is enough: a head nearly always comes in one
 * piece, and so does a message. With compression agreed on a decoder has a memory of its own, and stays.
 * Outboxes are lent at once to as many as are answered in one turn of the loop: some are kept with their memory,
 * more without, and those over that come from malloc and go back to it. A message to a crowd costs 2,020
 * instructions for each so, and 2,300 with malloc for all that have no memory.
 */
#include <assert.h>

#include "base/memory.h"
#include "connection/connection_internal.h"

struct tg_http *tg__parser(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;
    struct tg_http *http = tg__http(conn);

    if (http != NULL)
        return http;
    http = hub->spare_http;
    hub->spare_http = NULL;
    if (http == NULL &&
        tg_http_create(&http, TG_HTTP_REQUEST, hub->options.max_header, 0) != TG_ERR_OK)
        return NULL;
    conn->intake.http = http;
    return http;
}

void tg__parser_return(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;
    struct tg_http *http = tg__http(conn);

    if (http == NULL)
        return;
    if (hub->spare_http == NULL) {
        tg_http_reset(http);
        hub->spare_http = http;
    } else {
        tg_http_destroy(http);
    }
    conn->intake.http = NULL;
}

struct tg_ws *tg__decoder_borrow(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;
    struct tg_ws *ws = hub->spare_ws;

    hub->spare_ws = NULL;
    if (ws != NULL)
        tg_ws_take_over(ws, conn);
    else if (tg_ws_create(&ws, TG_WS_SERVER, hub->options.max_message, &tg__ws_callbacks, conn) !=
             TG_ERR_OK)
        return NULL;
    return ws;
}

struct tg_ws *tg__decoder(struct tg_conn *conn)
{
    assert(conn->upgraded);
    if (conn->intake.ws == NULL)
        conn->intake.ws = tg__decoder_borrow(conn);
    return conn->intake.ws;
}

void tg__decoder_return(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;
    struct tg_ws *ws = conn->intake.ws;

    assert(conn->upgraded);
    if (ws == NULL || !tg_ws_is_at_rest(ws))
        return;
    if (hub->spare_ws == NULL)
        hub->spare_ws = ws;
    else
        tg_ws_destroy(ws);
    conn->intake.ws = NULL;
}

/* Memory over this is for malloc: all spare outboxes together stay below half a MiB. */
#define SPARE_BYTES_MAX ((size_t)32 << 10)

static struct tg_outbox *take_bare(struct tg_hub *hub)
{
    struct tg_list *node = tg_list_first(&hub->bare_outboxes);
    if (node == NULL)
        return NULL;
    tg_list_remove(node);
    hub->bare_outbox_count--;
    return TG_CONTAINER_OF(node, struct tg_outbox, flush_node);
}

/* Of those without memory; NULL: out of it. Not inlined, so that tg__outbox_lend is: 20 instructions of each
 * message. */
__attribute__((noinline)) static struct tg_outbox *make_bare(struct tg_hub *hub)
{
    struct tg_outbox *outbox = take_bare(hub);
    if (outbox != NULL)
        return outbox;
    outbox = tg_calloc(1, sizeof *outbox);
    if (outbox != NULL)
        tg_list_init(&outbox->flush_node);
    return outbox;
}

static void free_outbox(struct tg_outbox *outbox)
{
    tg_buffer_fini(&outbox->bytes);
    tg_free(outbox);
}

/* The same of tg__outbox_return. */
__attribute__((noinline)) static void put_bare(struct tg_hub *hub, struct tg_outbox *outbox)
{
    if (hub->bare_outbox_count == TG_BARE_OUTBOXES) {
        free_outbox(outbox);
        return;
    }
    tg_buffer_fini(&outbox->bytes);
    tg_list_push(&hub->bare_outboxes, &outbox->flush_node);
    hub->bare_outbox_count++;
}

struct tg_outbox *tg__outbox_lend(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;
    struct tg_outbox *outbox = hub->spare_outbox_count > 0
                                   ? hub->spare_outboxes[--hub->spare_outbox_count]
                                   : make_bare(hub);

    if (outbox == NULL)
        return NULL;
    outbox->conn = conn;
    conn->outbox = outbox;
    return outbox;
}

void tg__outbox_return(struct tg_conn *conn)
{
    struct tg_hub *hub = conn->hub;
    struct tg_outbox *outbox = conn->outbox;

    if (outbox == NULL || outbox->bytes.len > 0 || !tg_list_empty(&outbox->flush_node))
        return;
    conn->outbox = NULL;
    if (outbox->bytes.capacity > SPARE_BYTES_MAX)
        tg_buffer_fini(&outbox->bytes);
    if (hub->spare_outbox_count < TG_SPARE_OUTBOXES)
        hub->spare_outboxes[hub->spare_outbox_count++] = outbox;
    else
        put_bare(hub, outbox);
}

void tg__outbox_drop(struct tg_conn *conn)
{
    if (conn->outbox == NULL)
        return;
    tg_list_remove(&conn->outbox->flush_node);
    tg_buffer_clear(&conn->outbox->bytes);
    tg__outbox_return(conn);
}

void tg__outboxes_fini(struct tg_hub *hub)
{
    while (hub->spare_outbox_count > 0)
        free_outbox(hub->spare_outboxes[--hub->spare_outbox_count]);
    for (struct tg_outbox *outbox = take_bare(hub); outbox != NULL; outbox = take_bare(hub))
        free_outbox(outbox);
}
