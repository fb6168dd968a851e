/* event_stream_fuzz.c - the first byte says in which pieces the rest is fed; the events must be the same
 * as of the rest in one piece, and of its lines joined again nothing may be lost.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "proto/event_stream.h"

#define MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    struct tg_buffer text; /* of all events, one after the other */
    size_t events;
    enum tg_err err;
};

static void add(struct tg_buffer *out, struct tg_line line)
{
    enum tg_err err = tg_buffer_append(out, line.data, line.len);
    assert(err == TG_ERR_OK);
    err = tg_buffer_append(out, "|", 1);
    assert(err == TG_ERR_OK);
}

static struct result parse(const uint8_t *data, size_t size, size_t piece)
{
    struct tg_event_stream stream;
    struct result result = {.err = TG_ERR_OK};

    tg_event_stream_init(&stream, MAX);
    for (size_t at = 0; at < size && result.err == TG_ERR_OK;) {
        struct tg_event event;
        size_t used;
        bool found;
        size_t len = size - at < piece ? size - at : piece;
        result.err = tg_event_stream_feed(&stream, data + at, len, &used, &event, &found);
        assert(used <= len);
        if (result.err != TG_ERR_OK)
            break;
        assert(found || used == len);
        at += used;
        if (!found)
            continue;
        assert(event.data.len <= MAX && event.type.len > 0);
        add(&result.text, event.type);
        add(&result.text, event.data);
        add(&result.text, event.id);
        result.events++;
    }
    tg_event_stream_fini(&stream);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct result whole = parse(data + 1, size - 1, size);
    struct result pieces = parse(data + 1, size - 1, (size_t)data[0] % 32 + 1);
    assert(whole.err == pieces.err && whole.events == pieces.events);
    assert(whole.text.len == pieces.text.len);
    assert(whole.text.len == 0 ||
           memcmp(tg_buffer_head(&whole.text), tg_buffer_head(&pieces.text), whole.text.len) == 0);
    tg_buffer_fini(&whole.text);
    tg_buffer_fini(&pieces.text);
    return 0;
}
