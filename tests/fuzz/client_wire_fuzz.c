/* client_wire_fuzz.c - what a server may say to a client of ours: any answer to the upgrade, any frames after a
 * good one, whole and in pieces, with and without pauses. Both ways must end alike.
 *
 * The first byte picks what is fed (bit 0: frames behind a good answer) and pauses (bit 1), the second the size of
 * the pieces; the rest is fed from memory of exactly its size.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire.h"
#include "proto/upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGE_MAX 1000

struct run {
    struct tg_wire *wire;
    struct tg_buffer events;
    bool pauses;
    int opens, overs;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void on_open(void *ctx)
{
    struct run *run = ctx;

    require(run->opens++ == 0 && run->overs == 0);
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
    struct run *run = ctx;

    require(run->opens == 1 && run->overs == 0 && len <= MESSAGE_MAX);
    require(tg_buffer_append(&run->events, &len, sizeof len) == TG_ERR_OK);
    require(tg_buffer_append(&run->events, text ? "t" : "b", 1) == TG_ERR_OK);
    require(tg_buffer_append(&run->events, data, len) == TG_ERR_OK);
    if (run->pauses)
        tg_wire_pause(run->wire);
}

static void on_closing(void *ctx, bool clean)
{
    (void)clean;
    require(((struct run *)ctx)->overs == 0);
}

static void on_over(void *ctx)
{
    require(((struct run *)ctx)->overs++ == 0);
}

/* A piece in memory of its own. */
static void feed(struct run *run, const void *data, size_t len)
{
    uint8_t *copy = malloc(len);

    require(copy != NULL);
    memcpy(copy, data, len);
    tg_wire_feed(run->wire, copy, len);
    free(copy);
}

static void answer_well(struct run *run)
{
    struct tg_buffer *pending = tg_wire_pending(run->wire);
    char accept[TG_WS_ACCEPT_SIZE], answer[512];

    require(tg_buffer_append(pending, "", 1) == TG_ERR_OK);
    const char *key = strstr((const char *)tg_buffer_head(pending), "Sec-WebSocket-Key: ");
    require(key != NULL);
    tg_upgrade_accept_key(key + 19, TG_WS_KEY_LEN, accept);
    (void)snprintf(answer, sizeof answer,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                   accept);
    tg_buffer_clear(pending);
    feed(run, answer, strlen(answer));
    require(run->opens == 1);
}

static void talk(struct run *run, const uint8_t *data, size_t size, uint8_t flags, size_t piece)
{
    static const struct tg_wire_callbacks callbacks = {on_open, on_message, on_closing, on_over,
                                                       NULL};
    struct tg_wire_options options = {
        .authority = "host", .target = "/", .headers = "", .message_max = MESSAGE_MAX};

    run->pauses = (flags & 2) != 0 && piece != 0;
    require(tg_wire_create(&run->wire, &options, &callbacks, run) == TG_ERR_OK);
    if ((flags & 1) != 0)
        answer_well(run);
    for (size_t at = 0; at < size;) {
        size_t len = piece == 0 || piece > size - at ? size - at : piece;
        feed(run, data + at, len);
        at += len;
        for (size_t i = 0; run->pauses && i <= len; i++)
            tg_wire_resume(run->wire);
    }
    tg_wire_ended(run->wire, TG_ERR_OK, "the end");
    require(run->overs == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run whole = {.events = TG_BUFFER_INIT}, pieces = {.events = TG_BUFFER_INIT};

    if (size < 2)
        return 0;
    talk(&whole, data + 2, size - 2, data[0], 0);
    talk(&pieces, data + 2, size - 2, data[0], (size_t)data[1] + 1);
    const struct tg_client_end *a = tg_wire_end(whole.wire), *b = tg_wire_end(pieces.wire);
    require(a->opened == b->opened && a->clean == b->clean && a->code == b->code);
    require(a->status == b->status && a->outcome == b->outcome);
    require(whole.events.len == pieces.events.len);
    require(whole.events.len == 0 || memcmp(tg_buffer_head(&whole.events),
                                            tg_buffer_head(&pieces.events), whole.events.len) == 0);
    tg_wire_destroy(whole.wire);
    tg_wire_destroy(pieces.wire);
    tg_buffer_fini(&whole.events);
    tg_buffer_fini(&pieces.events);
    return 0;
}
