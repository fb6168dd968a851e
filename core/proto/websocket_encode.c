/* websocket_encode.c - the sending side of RFC 6455: one message, one frame.
 *
 * Owns nothing. Written here and not through wslay, whose sending side wants a context per sender and
 * a callback per piece, where a header of at most 14 bytes is all there is to do.
 */
#include <string.h>

#include "base/random.h"
#include "base/utf8.h"
#include "proto/mask.h"
#include "proto/websocket.h"

#define HEAD_MAX 14

/* Header without the masking key; returns its size. */
static size_t put_header(uint8_t *head, enum tg_ws_role role, enum tg_ws_opcode opcode, size_t len)
{
    uint8_t mask_bit = role == TG_WS_CLIENT ? 0x80 : 0;
    size_t extended = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
    uint8_t form = (uint8_t)(extended == 0 ? len : extended == 2 ? 126 : 127);

    head[0] = (uint8_t)(0x80 | opcode);
    head[1] = (uint8_t)(mask_bit | form);
    for (size_t i = 0; i < extended; i++)
        head[2 + i] = (uint8_t)((uint64_t)len >> 8 * (extended - 1 - i));
    return 2 + extended;
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
    uint8_t *key = to + size;
    if (role == TG_WS_CLIENT) {
        uint64_t random = tg_random_u64();
        memcpy(key, &random, 4);
        size += 4;
    }
    if (len > 0)
        memcpy(to + size, data, len);
    if (role == TG_WS_CLIENT)
        tg_ws_mask(to + size, len, key);
    tg_buffer_commit(out, size + len);
    return TG_ERR_OK;
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
