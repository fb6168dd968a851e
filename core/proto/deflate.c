/* deflate.c - zlib streams: who owns them, and one message through them.
 *
 * With context takeover a direction owns its stream. Without, the stream is the thread's: compressing
 * a message begins and ends in one call, so all connections share one stream for each window size;
 * inflating goes on over many reads, so a stream is lent until the message ends, and one spare waits
 * for the next. Shared streams for inflating have the largest window whatever was agreed on: that
 * reads every smaller one too.
 *
 * I1  Without takeover `stream` is NULL between messages, in both directions.
 * I2  A stream is reset when it is taken, never when it is given back: it may be left in any state.
 *
 * zlib does not say where a message ends, only whether it could. The four bytes that the sender cut
 * off (§7.2.1) are an empty stored block, after which a whole message stands exactly between two
 * blocks with no bit left over; anything else was cut off in the middle.
 */
#include "proto/deflate.h"

#include <assert.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"

#define WINDOW_SIZES (TG_DEFLATE_BITS_MAX - TG_DEFLATE_BITS_MIN + 1)
#define GUESS_MIN 256         /* first room for what bytes inflate to */
#define GUESS_MAX (64 * 1024) /* and the most at a time */
#define BETWEEN_BLOCKS 128    /* z_stream.data_type: at the start of a block, no bits left over */
#define FLUSH_MAX 16          /* what a flush adds to deflateBound, generously */

static const uint8_t tail[] = {0x00, 0x00, 0xff, 0xff};

struct tg_zstream {
    z_stream z;
    int (*end)(z_stream *z);
    size_t held;
    struct tg_deflate_tuning tuning; /* of a deflating one */
};

struct spares {
    struct tg_zstream *inflating;
    struct tg_zstream *deflating[WINDOW_SIZES];
};

static _Thread_local struct spares spares; /* owned */
static pthread_key_t thread_end_key;
static pthread_once_t thread_end_once = PTHREAD_ONCE_INIT;

static void *on_alloc(void *opaque, unsigned count, unsigned size)
{
    struct tg_zstream *stream = opaque;
    void *block = tg_calloc(count, size);

    if (block != NULL)
        stream->held += (size_t)count * size;
    return block;
}

static void on_free(void *opaque, void *block)
{
    (void)opaque; /* zlib frees only when the stream ends */
    tg_free(block);
}

static void stream_destroy(struct tg_zstream *stream)
{
    if (stream == NULL)
        return;
    (void)stream->end(&stream->z);
    tg_free(stream);
}

static void on_thread_end(void *unused)
{
    (void)unused;
    stream_destroy(spares.inflating);
    for (size_t i = 0; i < WINDOW_SIZES; i++)
        stream_destroy(spares.deflating[i]);
    spares = (struct spares){0};
}

static void make_thread_end_key(void)
{
    /* Without a key the spares of a thread that ends are lost, which is some 100 KiB once. */
    (void)pthread_key_create(&thread_end_key, on_thread_end);
}

/* Before a stream becomes a spare. */
static void watch_thread_end(void)
{
    pthread_once(&thread_end_once, make_thread_end_key);
    if (pthread_getspecific(thread_end_key) == NULL)
        (void)pthread_setspecific(thread_end_key, &thread_end_key); /* any value: not NULL */
}

static struct tg_zstream *stream_alloc(int (*end)(z_stream *z))
{
    struct tg_zstream *stream = tg_calloc(1, sizeof *stream);

    if (stream == NULL)
        return NULL;
    stream->end = end;
    stream->held = sizeof *stream;
    stream->z.zalloc = on_alloc;
    stream->z.zfree = on_free;
    stream->z.opaque = stream;
    return stream;
}

static struct tg_zstream *open_deflating(uint8_t bits, const struct tg_deflate_tuning *tuning)
{
    struct tg_zstream *stream = stream_alloc(deflateEnd);

    if (stream == NULL)
        return NULL;
    stream->tuning = *tuning;
    /* Negative bits: no zlib header around the blocks. */
    if (deflateInit2(&stream->z, tuning->level, Z_DEFLATED, -bits, tuning->memory_level,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        tg_free(stream); /* zlib has freed its part */
        return NULL;
    }
    return stream;
}

static struct tg_zstream *open_inflating(uint8_t bits)
{
    struct tg_zstream *stream = stream_alloc(inflateEnd);

    if (stream == NULL)
        return NULL;
    if (inflateInit2(&stream->z, -bits) != Z_OK) {
        tg_free(stream);
        return NULL;
    }
    return stream;
}

/* The thread's, as new. */
static struct tg_zstream *shared_deflating(const struct tg_deflater *deflater)
{
    const struct tg_deflate_tuning *tuning = &deflater->tuning;
    struct tg_zstream **place = &spares.deflating[deflater->way.window_bits - TG_DEFLATE_BITS_MIN];
    struct tg_zstream *stream = *place;

    if (stream != NULL && stream->tuning.level == tuning->level &&
        stream->tuning.memory_level == tuning->memory_level) {
        (void)deflateReset(&stream->z);
        return stream;
    }
    stream_destroy(stream);
    *place = open_deflating(deflater->way.window_bits, tuning);
    watch_thread_end();
    return *place;
}

/* zlib writes the whole payload in one call when there is this much room. */
static size_t deflate_room(struct tg_zstream *stream, size_t len)
{
    return deflateBound(&stream->z, len) + FLUSH_MAX;
}

static enum tg_err deflate_into(struct tg_zstream *stream, const void *data, size_t len,
                                struct tg_buffer *out)
{
    z_stream *z = &stream->z;
    size_t room = deflate_room(stream, len);

    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)len;
    do {
        z->next_out = tg_buffer_reserve(out, room);
        if (z->next_out == NULL)
            return TG_ERR_NOMEM;
        z->avail_out = (uInt)room;
        (void)deflate(z, Z_SYNC_FLUSH); /* cannot fail on a stream in order */
        tg_buffer_commit(out, room - z->avail_out);
    } while (z->avail_out == 0);
    assert(memcmp(tg_buffer_head(out) + out->len - sizeof tail, tail, sizeof tail) == 0);
    out->len -= sizeof tail;
    return TG_ERR_OK;
}

enum tg_err tg_deflate(struct tg_deflater *deflater, const void *data, size_t len,
                       struct tg_buffer *out)
{
    assert(len > 0 && len <= TG_DEFLATE_MESSAGE_MAX);
    if (!deflater->way.takeover) {
        struct tg_zstream *shared = shared_deflating(deflater);
        return shared == NULL ? TG_ERR_NOMEM : deflate_into(shared, data, len, out);
    }
    if (deflater->stream == NULL)
        deflater->stream = open_deflating(deflater->way.window_bits, &deflater->tuning);
    if (deflater->stream == NULL)
        return TG_ERR_NOMEM;
    enum tg_err err = deflate_into(deflater->stream, data, len, out);
    if (err != TG_ERR_OK)
        tg_deflater_fini(deflater); /* its window holds what the peer has never seen */
    return err;
}

void tg_deflater_fini(struct tg_deflater *deflater)
{
    stream_destroy(deflater->stream);
    deflater->stream = NULL;
}

size_t tg_deflater_held(const struct tg_deflater *deflater)
{
    return deflater->stream == NULL ? 0 : deflater->stream->held;
}

static struct tg_zstream *take_inflating(const struct tg_deflate_way *way)
{
    struct tg_zstream *stream = spares.inflating;

    if (way->takeover)
        return open_inflating(way->window_bits);
    if (stream == NULL)
        return open_inflating(TG_DEFLATE_BITS_MAX);
    spares.inflating = NULL;
    (void)inflateReset(&stream->z);
    return stream;
}

/* One call of zlib, into at most `room` bytes of `out`; 0: out is full, so any byte is one too many. */
static enum tg_err inflate_some(struct tg_inflater *inflater, struct tg_buffer *out, size_t room)
{
    z_stream *z = &inflater->stream->z;
    uint8_t probe;
    bool full = room == 0;

    z->next_out = full ? &probe : tg_buffer_reserve(out, room);
    if (z->next_out == NULL)
        return TG_ERR_NOMEM;
    z->avail_out = full ? 1 : (uInt)room;
    inflater->fed = inflater->fed || z->avail_in > 0;
    int result = inflate(z, Z_SYNC_FLUSH);
    if (!full)
        tg_buffer_commit(out, room - z->avail_out);
    else if (z->avail_out == 0)
        return TG_ERR_LIMIT;
    if (result == Z_STREAM_END) {
        /* A final block ends nothing here (§7.2.3.4): more blocks may follow, and they may look back
         * over it. So the window is kept, which inflateReset would not. */
        (void)inflateResetKeep(z);
        inflater->fed = false;
        return TG_ERR_OK;
    }
    if (result == Z_MEM_ERROR)
        return TG_ERR_NOMEM;
    return result == Z_OK || result == Z_BUF_ERROR ? TG_ERR_OK : TG_ERR_PROTO;
}

enum tg_err tg_inflate(struct tg_inflater *inflater, const void *data, size_t len,
                       struct tg_buffer *out, size_t max)
{
    size_t guess = len > GUESS_MAX / 4 ? GUESS_MAX : len * 4 < GUESS_MIN ? GUESS_MIN : len * 4;

    if (len == 0)
        return TG_ERR_OK;
    if (inflater->stream == NULL)
        inflater->stream = take_inflating(&inflater->way);
    if (inflater->stream == NULL)
        return TG_ERR_NOMEM;
    z_stream *z = &inflater->stream->z;
    z->next_in = (Bytef *)(uintptr_t)data;
    for (size_t left = len; left > 0;) {
        size_t piece = left < UINT_MAX ? left : UINT_MAX;
        enum tg_err err;
        z->avail_in = (uInt)piece;
        do { /* room left over says that zlib keeps nothing back */
            size_t room = max - out->len < guess ? max - out->len : guess;
            err = inflate_some(inflater, out, room);
            if (err != TG_ERR_OK)
                return err;
        } while (z->avail_in > 0 || z->avail_out == 0);
        left -= piece;
    }
    return TG_ERR_OK;
}

enum tg_err tg_inflate_end(struct tg_inflater *inflater, struct tg_buffer *out, size_t max)
{
    enum tg_err err = TG_ERR_OK;

    /* Without a byte since the start or a final block there is no block that the tail could end.
     * Senders that write an empty message as no bytes are understood this way too. */
    if (inflater->fed) {
        err = tg_inflate(inflater, tail, sizeof tail, out, max);
        if (err == TG_ERR_OK && (!inflater->fed || inflater->stream->z.data_type != BETWEEN_BLOCKS))
            err = TG_ERR_PROTO;
        inflater->fed = false;
    }
    if (!inflater->way.takeover)
        tg_inflater_fini(inflater);
    return err;
}

void tg_inflater_fini(struct tg_inflater *inflater)
{
    struct tg_zstream *stream = inflater->stream;

    inflater->stream = NULL;
    inflater->fed = false;
    if (stream == NULL)
        return;
    if (inflater->way.takeover || spares.inflating != NULL) {
        stream_destroy(stream);
        return;
    }
    spares.inflating = stream;
    watch_thread_end();
}

size_t tg_inflater_held(const struct tg_inflater *inflater)
{
    return inflater->stream == NULL ? 0 : inflater->stream->held;
}

const char *tg_deflate_library_version(void)
{
    return zlibVersion();
}
