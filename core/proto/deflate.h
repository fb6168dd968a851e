/* deflate.h - the compression of permessage-deflate (RFC 7692 §7.2) over zlib: one message in, one
 * payload out, and payload bytes back into a message as they arrive. Knows nothing of frames.
 *
 * A direction without context takeover holds memory only in the middle of a message: its streams
 * belong to the thread, which keeps what was used last for the next message of any connection.
 */
#ifndef TG_PROTO_DEFLATE_H
#define TG_PROTO_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define TG_DEFLATE_BITS_MIN 9 /* RFC 7692 allows 8, with which zlib cannot compress */
#define TG_DEFLATE_BITS_MAX 15

/* One direction, as agreed on. */
struct tg_deflate_way {
    bool takeover;       /* the window is kept from one message to the next */
    uint8_t window_bits; /* TG_DEFLATE_BITS_MIN to TG_DEFLATE_BITS_MAX */
};

struct tg_deflate_agreement {
    struct tg_deflate_way from_server;
    struct tg_deflate_way from_client;
};

/* What the sending side may choose for itself. */
struct tg_deflate_tuning {
    uint8_t level;        /* 1..9, as zlib's */
    uint8_t memory_level; /* 1..9, as zlib's */
    size_t min_size;      /* shorter messages are sent as they are */
};

struct tg_zstream; /* opaque */

/* All zero but `way` and `tuning` to begin with; fini may be called at any time and twice. */
struct tg_deflater {
    struct tg_deflate_way way;
    struct tg_deflate_tuning tuning;
    struct tg_zstream *stream; /* owned; with takeover only, from the first message on */
};

/* Appends the payload of a message of at most TG_DEFLATE_MESSAGE_MAX bytes, not empty. On
 * TG_ERR_NOMEM `out` may have grown, and the next message starts with an empty window, which every
 * receiver can read. */
#define TG_DEFLATE_MESSAGE_MAX ((size_t)1 << 30)
TG_MUST enum tg_err tg_deflate(struct tg_deflater *deflater, const void *data, size_t len,
                               struct tg_buffer *out);
void tg_deflater_fini(struct tg_deflater *deflater);
size_t tg_deflater_held(const struct tg_deflater *deflater);

/* All zero but `way` to begin with. */
struct tg_inflater {
    struct tg_deflate_way way;
    struct tg_zstream *stream; /* owned; without takeover only in the middle of a message */
    bool fed; /* bytes came since the message, or the last final block of it, began */
};

/* Appends what the next bytes of a payload inflate to, as far as `out` holds no more than `max`. Both
 * may fail with TG_ERR_LIMIT (there is more than max), TG_ERR_PROTO (no DEFLATE data, or cut off) and
 * TG_ERR_NOMEM; what came before the fault is in `out` then, and only fini may follow. */
TG_MUST enum tg_err tg_inflate(struct tg_inflater *inflater, const void *data, size_t len,
                               struct tg_buffer *out, size_t max);
TG_MUST enum tg_err tg_inflate_end(struct tg_inflater *inflater, struct tg_buffer *out, size_t max);
void tg_inflater_fini(struct tg_inflater *inflater);
size_t tg_inflater_held(const struct tg_inflater *inflater);

/* "1.2.13": the library as loaded; static. */
const char *tg_deflate_library_version(void);

#endif
