/* websocket_message.c - what frames add up to: messages, and the close that ends them. */
#include "proto/mask.h"
#include "proto/websocket_internal.h"

/* The last fragment is in. */
bool tg__ws_take_message(struct tg_ws *ws)
{
    enum tg_ws_opcode kind = ws->kind;

    if (ws->compressed && !tg__ws_inflate_end(ws))
        return false;
    if (kind == TG_WS_TEXT && !tg_utf8_complete(&ws->utf8))
        return tg__ws_fail_utf8(ws);
    struct tg_buffer message = ws->message;
    ws->message = TG_BUFFER_INIT;
    ws->kind = TG_WS_CONTINUATION;
    ws->compressed = false;
    const uint8_t *data = message.len == 0 ? (const uint8_t *)"" : tg_buffer_head(&message);
    ws->paused = !ws->callbacks->on_message(ws->ctx, kind, data, message.len);
    tg_buffer_fini(&message);
    return true;
}

/* Room for what is known to come, but no more than four times what is there: a header's word alone takes no
 * memory. Doubling copied each byte of 1 MiB once more on average. */
static bool make_room(struct tg_ws *ws, size_t len)
{
    struct tg_buffer *message = &ws->message;
    size_t needed = message->len + len;
    if (message->capacity >= needed)
        return true;
    uint64_t wanted = needed + ws->payload_left;
    if (wanted > (uint64_t)needed * 4)
        wanted = (uint64_t)needed * 4;
    return tg_buffer_reserve(message, (size_t)wanted - message->len) != NULL;
}

/* What is masked is unmasked on its way into the message, which spares a look at each byte: 2 % of an echo of 1 MiB. */
bool tg__ws_take_data(struct tg_ws *ws, const uint8_t *data, size_t len, const uint8_t *key)
{
    bool ascii = false; /* as far as is known */

    if (ws->compressed)
        return tg__ws_inflate(ws, data, len);
    uint8_t *to = make_room(ws, len) ? tg_buffer_reserve(&ws->message, len) : NULL;
    if (to == NULL)
        return tg__ws_fail_memory(ws);
    if (key == NULL)
        memcpy(to, data, len);
    else
        ascii = tg_ws_mask(to, data, len, key) && tg_utf8_complete(&ws->utf8);
    tg_buffer_commit(&ws->message, len);
    if (ws->kind == TG_WS_TEXT && !ascii && !tg_utf8_feed(&ws->utf8, to, len))
        return tg__ws_fail_utf8(ws);
    return true;
}

/* §5.5.1, §7.4 */
bool tg__ws_take_close(struct tg_ws *ws, const uint8_t *data, size_t len)
{
    if (len == 1)
        return tg__ws_fail_protocol(ws, "a close frame of one byte");
    int code = len == 0 ? 1005 : data[0] << 8 | data[1];
    const char *reason = len == 0 ? "" : (const char *)data + 2;
    size_t reason_len = len == 0 ? 0 : len - 2;
    if (len > 0 && !tg_ws_close_code_valid(code))
        return tg__ws_fail_protocol(ws, "a close code that must not be sent");
    if (!tg_utf8_valid(reason, reason_len))
        return tg__ws_fail(ws, TG_ERR_PROTO, 1007, "the close reason is not UTF-8");
    ws->closed = true;
    ws->callbacks->on_close(ws->ctx, code, reason, reason_len);
    return true;
}
