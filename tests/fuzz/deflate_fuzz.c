/* deflate_fuzz.c - any messages through a sender and a receiver, and any bytes as payloads.
 *
 * The first byte picks takeover and windows, the second levels, the third the size of the messages
 * that the rest is cut into. Each must come out as it went in; as payloads they must inflate to the
 * same, whole and byte by byte, and to no more than the limit.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/deflate.h"

#define MAX 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static enum tg_err inflate_message(struct tg_inflater *inflater, const uint8_t *data, size_t len,
                                   size_t step, struct tg_buffer *out)
{
    enum tg_err err = TG_ERR_OK;

    for (size_t at = 0; at < len && err == TG_ERR_OK; at += step) {
        size_t piece = step < len - at ? step : len - at;
        uint8_t *copy = malloc(piece);
        require(copy != NULL);
        memcpy(copy, data + at, piece);
        err = tg_inflate(inflater, copy, piece, out, MAX);
        free(copy);
    }
    if (err == TG_ERR_OK)
        err = tg_inflate_end(inflater, out, MAX);
    if (err != TG_ERR_OK)
        tg_inflater_fini(inflater);
    require(out->len <= MAX);
    require(inflater->way.takeover || tg_inflater_held(inflater) == 0);
    return err;
}

static void there_and_back(struct tg_deflater *deflater, struct tg_inflater *inflater,
                           const uint8_t *data, size_t len)
{
    struct tg_buffer wire = TG_BUFFER_INIT;
    struct tg_buffer out = TG_BUFFER_INIT;

    require(tg_deflate(deflater, data, len, &wire) == TG_ERR_OK);
    require(inflate_message(inflater, tg_buffer_head(&wire), wire.len, 1 + len % 100, &out) ==
            TG_ERR_OK);
    require(out.len == len && memcmp(tg_buffer_head(&out), data, len) == 0);
    tg_buffer_fini(&wire);
    tg_buffer_fini(&out);
}

/* False when the payload is broken: nothing may follow it. */
static bool as_payload(struct tg_inflater *whole, struct tg_inflater *split, const uint8_t *data,
                       size_t len)
{
    struct tg_buffer a = TG_BUFFER_INIT;
    struct tg_buffer b = TG_BUFFER_INIT;
    enum tg_err err = inflate_message(whole, data, len, len, &a);

    require(inflate_message(split, data, len, 1, &b) == err);
    require(a.len == b.len);
    require(a.len == 0 || memcmp(tg_buffer_head(&a), tg_buffer_head(&b), a.len) == 0);
    tg_buffer_fini(&a);
    tg_buffer_fini(&b);
    return err == TG_ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    struct tg_deflate_way way = {(data[0] & 1) != 0, (uint8_t)(9 + (data[0] >> 1) % 7)};
    struct tg_deflater deflater = {
        .way = way,
        .tuning = {(uint8_t)(1 + data[1] % 9), (uint8_t)(1 + data[1] / 9 % 9), 0},
    };
    struct tg_inflater inflater = {.way = way};
    struct tg_inflater whole = {.way = way};
    struct tg_inflater split = {.way = way};
    size_t step = 1 + (size_t)data[2] * data[2] % MAX;
    bool broken = false;

    for (size_t at = 3; at < size; at += step) {
        size_t len = step < size - at ? step : size - at;
        if (len > MAX)
            len = MAX;
        there_and_back(&deflater, &inflater, data + at, len);
        broken = broken || !as_payload(&whole, &split, data + at, len);
    }
    tg_deflater_fini(&deflater);
    tg_inflater_fini(&inflater);
    tg_inflater_fini(&whole);
    tg_inflater_fini(&split);
    return 0;
}
