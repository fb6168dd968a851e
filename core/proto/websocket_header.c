/* websocket_header.c - the header of a frame, judged as its bytes arrive, and what a decoder says when it
 * fails.
 */
#include "proto/websocket_internal.h"

bool tg__ws_fail(struct tg_ws *ws, enum tg_err err, int code, const char *why)
{
    if (ws->err == TG_ERR_OK) {
        ws->err = err;
        ws->fault = (struct tg_ws_fault){code, why};
    }
    return false;
}

bool tg__ws_fail_utf8(struct tg_ws *ws)
{
    return tg__ws_fail(ws, TG_ERR_PROTO, 1007, "text is not UTF-8");
}

bool tg__ws_fail_protocol(struct tg_ws *ws, const char *why)
{
    return tg__ws_fail(ws, TG_ERR_PROTO, 1002, why);
}

bool tg__ws_fail_memory(struct tg_ws *ws)
{
    return tg__ws_fail(ws, TG_ERR_NOMEM, 1011, "out of memory");
}

/* What the first two bytes show (§5.1, §5.2, §5.4). The rules of control frames and the shortest
 * form of lengths are wslay's. */
static bool check_start(struct tg_ws *ws)
{
    unsigned opcode = ws->head[0] & TG__WS_OPCODE_BITS;
    bool masked = (ws->head[1] & TG__WS_MASK_BIT) != 0;
    unsigned reserved = ws->head[0] & TG__WS_RSV_BITS;

    if (ws->codec != NULL && (opcode == TG_WS_TEXT || opcode == TG_WS_BINARY))
        reserved &= ~(unsigned)TG__WS_RSV1_BIT; /* RFC 7692 §6: of a message's first frame only */
    if (reserved != 0)
        return tg__ws_fail_protocol(ws, "a reserved bit is set");
    if (opcode > TG_WS_PONG || (opcode > TG_WS_BINARY && opcode < TG_WS_CLOSE))
        return tg__ws_fail_protocol(ws, "a reserved opcode");
    if (masked && ws->role == TG_WS_CLIENT)
        return tg__ws_fail_protocol(ws, "a server must not mask");
    if (!masked && ws->role == TG_WS_SERVER)
        return tg__ws_fail_protocol(ws, "a client must mask");
    if (opcode == TG_WS_CONTINUATION && ws->kind == TG_WS_CONTINUATION)
        return tg__ws_fail_protocol(ws, "a continuation of no message");
    if ((opcode == TG_WS_TEXT || opcode == TG_WS_BINARY) && ws->kind != TG_WS_CONTINUATION)
        return tg__ws_fail_protocol(ws, "a new message inside of a fragmented one");
    return true;
}

static bool check_length(struct tg_ws *ws)
{
    unsigned opcode = ws->head[0] & TG__WS_OPCODE_BITS;

    ws->payload_left = tg__ws_payload_length(ws->head);
    if (tg__ws_is_control(opcode))
        return true;
    if (opcode != TG_WS_CONTINUATION) {
        ws->kind = (enum tg_ws_opcode)opcode;
        ws->compressed = (ws->head[0] & TG__WS_RSV1_BIT) != 0;
    }
    if (!ws->compressed && ws->payload_left > ws->message_max - ws->message.len)
        return tg__ws_fail(ws, TG_ERR_LIMIT, 1009, "message too big");
    return true;
}

/* Judges as much of the header as has passed. */
bool tg__ws_check_header(struct tg_ws *ws)
{
    if (ws->err != TG_ERR_OK)
        return false;
    if (ws->head_len < 2)
        return true;
    if (!ws->start_checked) {
        ws->start_checked = true;
        if (!check_start(ws))
            return false;
    }
    if (!ws->length_checked && ws->head_len == tg__ws_header_size(ws->head, ws->head_len)) {
        ws->length_checked = true;
        return check_length(ws);
    }
    return true;
}
