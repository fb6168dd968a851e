/* websocket_encode.c - the sending side of RFC 6455 and RFC 7692: one message, one frame.
 *
 * Owns nothing. Written here and not through wslay, whose sending side wants a context per sender and
 * a callback per piece, where a header of at most 14 bytes is all there is to do.
 */
#include <string.h>

#include "base/metrics.h"
#include "base/random.h"
#include "proto/mask.h"
#include "proto/websocket_internal.h"

#define HEAD_MAX TG__WS_HEAD_MAX
#define RSV1_BIT 0x40

/* A client's with a random masking key at its end (§5.3); returns its size. */
static size_t put_header(uint8_t *head, enum tg_ws_role role, enum tg_ws_opcode opcode, size_t len)
{
    uint8_t mask_bit = role == TG_WS_CLIENT ? 0x80 : 0;
    size_t extended = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
    uint8_t form = (uint8_t)(extended == 0 ? len : extended == 2 ? 126 : 127);

    head[0] = (uint8_t)(0x80 | opcode);
    head[1] = (uint8_t)(mask_bit | form);
    for (size_t i = 0; i < extended; i++)
        head[2 + i] = (uint8_t)((uint64_t)len >> 8 * (extended - 1 - i));
    if (role == TG_WS_SERVER)
        return 2 + extended;
    uint64_t random = tg_random_u64();
    memcpy(head + 2 + extended, &random, 4);
    return 2 + extended + 4;
}

enum tg_err tg_ws_encode(struct tg_buffer *out, enum tg_ws_role role, enum tg_ws_opcode opcode,
                         const void *data, size_t len)
{
    if (opcode == TG_WS_CONTINUATION || (opcode >= TG_WS_CLOSE && len > TG_WS_CONTROL_MAX))
        return TG_ERR_INVALID;
    if (len > SIZE_MAX - HEAD_MAX)
        return TG_ERR_NOMEM;
    uint8_t *to = tg_buffer_reserve(out, HEAD_MAX + len);
    if (to == NULL)
        return TG_ERR_NOMEM;
    size_t size = put_header(to, role, opcode, len);
    if (len > 0)
        memcpy(to + size, data, len);
    if (role == TG_WS_CLIENT)
        tg_ws_mask(to + size, to + size, len, to + size - 4);
    tg_buffer_commit(out, size + len);
    return TG_ERR_OK;
}

/* The header's size is known only after the payload, which is then moved up to it. */
static enum tg_err encode_compressed(struct tg_ws *ws, struct tg_buffer *out,
                                     enum tg_ws_opcode opcode, const void *data, size_t len)
{
    static const uint8_t gap[HEAD_MAX];
    struct tg_deflater *deflater = &ws->codec->out;
    size_t mark = out->len;
    enum tg_err err = tg_buffer_append(out, gap, sizeof gap);

    if (err == TG_ERR_OK)
        err = tg_deflate(deflater, data, len, out);
    size_t size = out->len - mark - sizeof gap;
    if (err != TG_ERR_OK || (size >= len && !deflater->way.takeover)) {
        out->len = mark;
        return err != TG_ERR_OK ? err : tg_ws_encode(out, ws->role, opcode, data, len);
    }
    uint8_t *frame = tg_buffer_head(out) + mark;
    size_t head_size = put_header(frame, ws->role, opcode, size);
    frame[0] |= RSV1_BIT;
    memmove(frame + head_size, frame + sizeof gap, size);
    if (ws->role == TG_WS_CLIENT)
        tg_ws_mask(frame + head_size, frame + head_size, size, frame + head_size - 4);
    out->len -= sizeof gap - head_size;
    if (ws->codec->metrics != NULL) {
        tg_counter_add(&ws->codec->metrics->compression_bytes[TG_OUT][TG_PLAIN], len);
        tg_counter_add(&ws->codec->metrics->compression_bytes[TG_OUT][TG_COMPRESSED], size);
    }
    return TG_ERR_OK;
}

enum tg_err tg_ws_encode_message(struct tg_ws *ws, struct tg_buffer *out, enum tg_ws_opcode opcode,
                                 const void *data, size_t len)
{
    if (ws->codec == NULL || len == 0 || len < ws->codec->out.tuning.min_size ||
        len > TG_DEFLATE_MESSAGE_MAX)
        return tg_ws_encode(out, ws->role, opcode, data, len);
    return encode_compressed(ws, out, opcode, data, len);
}

enum tg_err tg_ws_encode_close(struct tg_buffer *out, enum tg_ws_role role, int code,
                               const char *reason, size_t reason_len)
{
    uint8_t body[TG_WS_CONTROL_MAX];

    if (code == 0 || code == 1005)
        return tg_ws_encode(out, role, TG_WS_CLOSE, NULL, 0);
    if (!tg_ws_close_code_valid(code))
        return TG_ERR_INVALID;
    if (!tg_utf8_valid(reason, reason_len)) /* the peer would take it for a fault of ours (§8.1) */
        reason_len = 0;
    reason_len = tg_utf8_cut(reason, reason_len, TG_WS_REASON_MAX);
    body[0] = (uint8_t)(code >> 8);
    body[1] = (uint8_t)code;
    if (reason_len > 0)
        memcpy(body + 2, reason, reason_len);
    return tg_ws_encode(out, role, TG_WS_CLOSE, body, 2 + reason_len);
}

bool tg_ws_close_code_valid(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}
