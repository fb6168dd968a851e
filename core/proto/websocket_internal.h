/* websocket_internal.h - the decoder's struct, shared by the websocket*.c files only. */
#ifndef TG_PROTO_WEBSOCKET_INTERNAL_H
#define TG_PROTO_WEBSOCKET_INTERNAL_H

#include "base/utf8.h"
#include "proto/deflate.h"
#include "proto/websocket.h"

#define TG__WS_HEAD_MAX 14

#define TG__WS_FIN_BIT 0x80
#define TG__WS_RSV1_BIT 0x40
#define TG__WS_RSV_BITS 0x70
#define TG__WS_OPCODE_BITS 0x0f
#define TG__WS_MASK_BIT 0x80
#define TG__WS_LENGTH_BITS 0x7f

struct tg__ws_loan;

/* permessage-deflate of one connection; there only when it was negotiated. */
struct tg__ws_codec {
    struct tg_deflater out;
    struct tg_inflater in;
    struct tg_metrics *metrics; /* borrowed until tg_ws_destroy; NULL: nobody counts */
};

struct tg_ws {
    const struct tg_ws_callbacks *callbacks; /* borrowed until tg_ws_destroy */
    void *ctx;                               /* borrowed until tg_ws_destroy */
    size_t message_max;
    struct tg__ws_loan *loan;   /* owned */
    struct tg__ws_codec *codec; /* owned; NULL: nothing was negotiated */
    struct tg_buffer message;   /* owned: the fragments so far, inflated */
    uint8_t *input;             /* borrowed for the time of tg_ws_feed */
    size_t input_left;
    uint64_t payload_left; /* of this frame, not yet given to wslay, or not yet taken past it */
    struct tg_ws_fault fault;
    enum tg_err err;
    enum tg_ws_role role;
    enum tg_ws_opcode kind; /* of the message under way */
    struct tg_utf8 utf8;
    uint8_t head_len; /* header bytes of this frame that wslay has been given */
    uint8_t head[TG__WS_HEAD_MAX];
    uint8_t key[4];  /* with in_payload: the mask, beginning with the byte that is next */
    bool in_payload; /* of a data frame that goes past wslay */
    bool start_checked;
    bool length_checked;
    bool compressed; /* the message under way is */
    bool paused;
    bool closed;
};

static inline bool tg__ws_is_control(unsigned opcode)
{
    return (opcode & 8) != 0;
}

/* Bytes of a header, as far as its first two tell; 2 before that. */
static inline size_t tg__ws_header_size(const uint8_t *head, size_t len)
{
    if (len < 2)
        return 2;
    unsigned length = head[1] & TG__WS_LENGTH_BITS;
    return 2u +
           (length == 126   ? 2u
            : length == 127 ? 8u
                            : 0u) +
           ((head[1] & TG__WS_MASK_BIT) != 0 ? 4u : 0u);
}

/* Payload length of a complete header. */
static inline uint64_t tg__ws_payload_length(const uint8_t *head)
{
    uint64_t length = head[1] & TG__WS_LENGTH_BITS;
    size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;

    if (extended == 0)
        return length;
    length = 0;
    for (size_t i = 0; i < extended; i++)
        length = length << 8 | head[2 + i];
    return length;
}

/* websocket_header.c */

/* Return false, for `return tg__ws_fail(…)`. The first fault is the one that counts. */
bool tg__ws_fail(struct tg_ws *ws, enum tg_err err, int code, const char *why);
bool tg__ws_fail_protocol(struct tg_ws *ws, const char *why);
bool tg__ws_fail_memory(struct tg_ws *ws);
bool tg__ws_fail_utf8(struct tg_ws *ws);
/* As much of the header as has passed. */
bool tg__ws_check_header(struct tg_ws *ws);

/* websocket_message.c; false: the decoder has failed. */
bool tg__ws_take_message(struct tg_ws *ws); /* the last fragment is in */
/* A part of one. key: what it is masked with; NULL: it is not, or no longer. */
bool tg__ws_take_data(struct tg_ws *ws, const uint8_t *data, size_t len, const uint8_t *key);
bool tg__ws_take_close(struct tg_ws *ws, const uint8_t *data, size_t len); /* its payload */

/* websocket_inflate.c; false: the decoder has failed. Only while ws->codec is there. */
bool tg__ws_inflate(struct tg_ws *ws, const uint8_t *data, size_t len);
bool tg__ws_inflate_end(struct tg_ws *ws);
/* With or without a codec. */
void tg__ws_inflate_drop(struct tg_ws *ws);
void tg__ws_codec_destroy(struct tg_ws *ws);
size_t tg__ws_codec_held(const struct tg_ws *ws);

#endif
