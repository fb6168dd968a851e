/* websocket_fuzz.c - the decoder over any bytes; whole and split input must give the same events.
 *
 * The first byte picks role, limit, pausing and compression, the second how the input is split; the
 * rest is the stream. Every piece is fed from memory of exactly its size.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "proto/deflate.h"
#include "proto/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct tg_buffer events;
    size_t message_max;
    bool pause;
    bool over;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void note(struct run *run, int what, const void *data, size_t len)
{
    require(!run->over);
    require(data != NULL);
    require(tg_buffer_append(&run->events, &what, sizeof what) == TG_ERR_OK);
    require(tg_buffer_append(&run->events, &len, sizeof len) == TG_ERR_OK);
    require(tg_buffer_append(&run->events, data, len) == TG_ERR_OK);
}

static bool on_message(void *ctx, enum tg_ws_opcode kind, const uint8_t *data, size_t len)
{
    struct run *run = ctx;

    require(len <= run->message_max);
    require(kind == TG_WS_BINARY || (kind == TG_WS_TEXT && tg_utf8_valid(data, len)));
    note(run, (int)kind, data, len);
    return !run->pause;
}

static void on_ping(void *ctx, const uint8_t *data, size_t len)
{
    require(len <= TG_WS_CONTROL_MAX);
    note(ctx, TG_WS_PING, data, len);
}

static void on_pong(void *ctx, const uint8_t *data, size_t len)
{
    require(len <= TG_WS_CONTROL_MAX);
    note(ctx, TG_WS_PONG, data, len);
}

static void on_close(void *ctx, int code, const char *reason, size_t reason_len)
{
    struct run *run = ctx;

    require(code == 1005 || tg_ws_close_code_valid(code));
    require(reason_len <= TG_WS_REASON_MAX && tg_utf8_valid(reason, reason_len));
    note(run, code, reason, reason_len);
    run->over = true;
}

/* False when the decoder failed. */
static bool feed_piece(struct tg_ws *ws, struct run *run, const uint8_t *data, size_t len)
{
    struct tg_ws_fault fault = {0, NULL};
    enum tg_err err = TG_ERR_OK;

    while (len > 0 && err == TG_ERR_OK && !run->over) {
        uint8_t *copy = malloc(len);
        size_t consumed = SIZE_MAX;
        require(copy != NULL);
        memcpy(copy, data, len);
        err = tg_ws_feed(ws, copy, len, &consumed, &fault);
        free(copy);
        require(consumed <= len);
        require(consumed == len || err != TG_ERR_OK || run->over || (run->pause && consumed > 0));
        data += consumed;
        len -= consumed;
    }
    if (err == TG_ERR_OK)
        return true;
    require(fault.why != NULL && tg_ws_close_code_valid(fault.code));
    require(tg_ws_held(ws) == 0);
    note(run, -fault.code, "", 0);
    return false;
}

static void compress(struct tg_ws *ws, bool takeover, uint8_t bits)
{
    static const struct tg_deflate_tuning tuning = {.level = 1, .memory_level = 1};
    struct tg_deflate_way way = {takeover, bits};

    require(tg_ws_use_deflate(ws, &(struct tg_deflate_agreement){way, way}, &tuning, NULL) ==
            TG_ERR_OK);
}

static struct tg_buffer play(uint8_t options, size_t step, const uint8_t *data, size_t len)
{
    static const struct tg_ws_callbacks callbacks = {on_message, on_ping, on_pong, on_close};
    enum tg_ws_role role = (options & 1) != 0 ? TG_WS_CLIENT : TG_WS_SERVER;
    struct run run = {.pause = (options & 2) != 0, .message_max = (options & 4) != 0 ? 130 : 70000};
    struct tg_ws *ws;

    require(tg_ws_create(&ws, role, run.message_max, &callbacks, &run) == TG_ERR_OK);
    if ((options & 8) != 0)
        compress(ws, (options & 16) != 0, (uint8_t)(9 + (options >> 5) % 7));
    for (size_t at = 0; at < len && !run.over;) {
        size_t piece = step == 0 || step > len - at ? len - at : step;
        if (!feed_piece(ws, &run, data + at, piece))
            break;
        at += piece;
        step = step == 0 ? 0 : step * 5 % 251 + 1;
    }
    tg_ws_destroy(ws);
    return run.events;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct tg_buffer whole = play(data[0], 0, data + 2, size - 2);
    struct tg_buffer split = play(data[0] ^ 2, data[1] == 0 ? 1 : data[1], data + 2, size - 2);
    require(whole.len == split.len);
    require(whole.len == 0 ||
            memcmp(tg_buffer_head(&whole), tg_buffer_head(&split), whole.len) == 0);
    tg_buffer_fini(&whole);
    tg_buffer_fini(&split);
    return 0;
}
