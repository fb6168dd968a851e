/* websocket.h - RFC 6455 framing and messages, over wslay's frame layer: bytes in, messages out.
 *
 * The decoder enforces every rule of §5-§7 a receiver must: masking by role, reserved bits and
 * opcodes, minimal lengths, control frames (125 bytes, not fragmented) between fragments,
 * continuation order, UTF-8 of text as it streams (fails at the first bad byte), close codes and
 * close reasons, and permessage-deflate (RFC 7692) where it was negotiated. An idle decoder holds no
 * buffer: framing context, message memory and (without context takeover) the compression window are
 * taken while a message or a partial frame is under way and given back at a clean boundary.
 * No loop, no socket.
 */
#ifndef TG_PROTO_WEBSOCKET_H
#define TG_PROTO_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

enum tg_ws_role { TG_WS_SERVER, TG_WS_CLIENT };
enum tg_ws_opcode {
    TG_WS_CONTINUATION = 0,
    TG_WS_TEXT = 1,
    TG_WS_BINARY = 2,
    TG_WS_CLOSE = 8,
    TG_WS_PING = 9,
    TG_WS_PONG = 10
};

#define TG_WS_CONTROL_MAX 125
#define TG_WS_REASON_MAX 123

struct tg_ws; /* opaque decoder */
struct tg_deflate_agreement;
struct tg_deflate_tuning;
struct tg_metrics;

/* on_message returns false to pause: feed then returns at once with what it has consumed. data is
 * valid until return. Control callbacks cannot pause. on_close is the last call: feed consumes
 * nothing after it. code is 1005 when the frame had none. */
struct tg_ws_callbacks {
    bool (*on_message)(void *ctx, enum tg_ws_opcode kind, const uint8_t *data, size_t len);
    void (*on_ping)(void *ctx, const uint8_t *data, size_t len);
    void (*on_pong)(void *ctx, const uint8_t *data, size_t len);
    void (*on_close)(void *ctx, int code, const char *reason, size_t reason_len);
};

/* callbacks borrowed until destroy. message_max in bytes over all fragments. */
TG_MUST enum tg_err tg_ws_create(struct tg_ws **out, enum tg_ws_role role, size_t message_max,
                                 const struct tg_ws_callbacks *callbacks, void *ctx);
void tg_ws_destroy(struct tg_ws *ws); /* NULL is allowed; not from inside a callback */

/* What a receiver found wrong, and the close code that says so. */
struct tg_ws_fault {
    int code;        /* 1002, 1007, 1009, 1011 (out of memory) */
    const char *why; /* short, static, fit for a close reason */
};

/* Feeds bytes (changed in place: unmasked). *consumed <= len; less than len only when paused, closed
 * or failed. TG_ERR_PROTO/TG_ERR_LIMIT/TG_ERR_NOMEM: the decoder is finished and *fault is set. */
TG_MUST enum tg_err tg_ws_feed(struct tg_ws *ws, uint8_t *data, size_t len, size_t *consumed,
                               struct tg_ws_fault *fault);

/* It remembers nothing: it stands at a frame boundary outside of a message, and no compression was agreed
 * on. One made anew would do the same. */
bool tg_ws_is_at_rest(const struct tg_ws *ws);
/* One at rest goes on with another ctx. */
void tg_ws_take_over(struct tg_ws *ws, void *ctx);

/* Bytes of memory that this decoder holds now, the struct itself not counted: for tests and
 * accounting. 0 when idle at a frame boundary, unless a compression window is kept (takeover). */
size_t tg_ws_held(const struct tg_ws *ws);
/* A message or a frame has begun and is not complete, and memory is held for it. */
bool tg_ws_is_midway(const struct tg_ws *ws);

/* permessage-deflate as the handshake agreed on it: RSV1 is understood from now on. Before the first
 * tg_ws_feed. Messages then count towards message_max by their inflated size, while they inflate.
 * metrics borrowed until destroy; NULL: nobody counts. */
TG_MUST enum tg_err tg_ws_use_deflate(struct tg_ws *ws, const struct tg_deflate_agreement *agreed,
                                      const struct tg_deflate_tuning *tuning,
                                      struct tg_metrics *metrics);

/* Appends a text or binary message as one frame, compressed when that was agreed on and it is worth
 * it. What was appended must reach the peer, in this order: with context takeover it reads later
 * messages by it. On failure `out` is as it was. */
TG_MUST enum tg_err tg_ws_encode_message(struct tg_ws *ws, struct tg_buffer *out,
                                         enum tg_ws_opcode opcode, const void *data, size_t len);

/* Appends one whole unfragmented frame, not compressed. A client's is masked with a random key (§5.3). */
TG_MUST enum tg_err tg_ws_encode(struct tg_buffer *out, enum tg_ws_role role,
                                 enum tg_ws_opcode opcode, const void *data, size_t len);
/* Close frame; code 0 or 1005: empty body. The reason is cut to 123 bytes at a character boundary. */
TG_MUST enum tg_err tg_ws_encode_close(struct tg_buffer *out, enum tg_ws_role role, int code,
                                       const char *reason, size_t reason_len);

/* May an endpoint send this code in a close frame (§7.4)? 1000-1003, 1007-1014, 3000-4999. */
bool tg_ws_close_code_valid(int code);

/* What the framing library's header calls itself (Debian's 1.1.1 says "1.0.1-DEV"); static. */
const char *tg_ws_library_version(void);

#endif
