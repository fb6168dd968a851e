/* websocket.c - the receiving side of RFC 6455: bytes in, messages out.
 *
 * Owns the unfinished message and, while a frame is partly received, a framing context of wslay.
 *
 *     boundary --> frame --> boundary        any -> closed  [close frame]    any -> failed
 *
 * I1  head_len is 0 and `in_payload` false exactly at a frame boundary, and `loan` is NULL at a boundary
 *     outside of feed.
 * I2  `kind` is TG_WS_CONTINUATION exactly when no message is under way; `message` is empty,
 *     `compressed` false and `utf8` between characters then.
 * I3  message.len <= message_max, and no memory is taken on the word of a header: the message grows
 *     with the bytes that arrive.
 * I4  wslay never holds a byte of a later frame, so that *consumed is exact at every pause.
 *
 * Two ways through. An unfragmented data frame whose header is in the input, the common case, is unmasked
 * where it lies: a whole one is handed on without a copy (or inflated from there, see
 * websocket_inflate.c), a long one is put together from its pieces. Everything else (headers in
 * pieces, fragments, control frames, anything wrong) goes through wslay, whose frame layer copies into
 * a buffer of 4 KiB and unmasks by the byte: a third of the server's time for echoes of 1 MiB, when
 * long frames still went there. The short way only ever accepts: whatever it does not like it leaves
 * to the other, so each rule stands in one place.
 *
 * wslay tells of a header only with the first byte of its payload, and reads as much as it is given.
 * So on_recv hands out one header, then its payload and no more, and looks at the header as it
 * passes: that is what makes I4 true and lets an oversized frame fail before its payload arrives.
 */
#include "proto/websocket.h"

#include <pthread.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/memory.h"
#include "proto/mask.h"
#include "proto/websocket_internal.h"

/* A framing context, lent to the decoder that has a partial frame. Each thread keeps one spare, as a
 * decoder needs it for moments only. */
struct tg__ws_loan {
    wslay_frame_context_ptr wslay; /* owned */
    struct tg_ws *ws;              /* borrowed while lent */
    size_t control_len;
    uint8_t control[TG_WS_CONTROL_MAX]; /* payload of a control frame */
};

/* What wslay 1.1.1 allocates for a context is not public: its 4096 bytes of buffer and some state. */
#define LOAN_BYTES (sizeof(struct tg__ws_loan) + 4096 + 192)

static _Thread_local struct tg__ws_loan *spare_loan;
static pthread_key_t thread_end_key;
static pthread_once_t thread_end_once = PTHREAD_ONCE_INIT;

static void loan_free(struct tg__ws_loan *loan)
{
    if (loan == NULL)
        return;
    wslay_frame_context_free(loan->wslay);
    tg_free(loan);
}

static void on_thread_end(void *unused)
{
    (void)unused;
    loan_free(spare_loan);
    spare_loan = NULL;
}

static void make_thread_end_key(void)
{
    /* Without a key the spare of a thread that ends is lost, which is a few KiB once. */
    (void)pthread_key_create(&thread_end_key, on_thread_end);
}

/* Only at a frame boundary: the next borrower gets it as it is. */
static void give_back(struct tg_ws *ws)
{
    struct tg__ws_loan *loan = ws->loan;

    ws->loan = NULL;
    if (loan == NULL)
        return;
    if (spare_loan != NULL) {
        loan_free(loan);
        return;
    }
    loan->ws = NULL;
    spare_loan = loan;
    pthread_once(&thread_end_once, make_thread_end_key);
    if (pthread_getspecific(thread_end_key) == NULL)
        (void)pthread_setspecific(thread_end_key, &thread_end_key); /* any value: not NULL */
}

static ssize_t on_recv(uint8_t *buf, size_t len, int flags, void *user_data)
{
    struct tg_ws *ws = ((struct tg__ws_loan *)user_data)->ws;

    (void)flags;
    if (!tg__ws_check_header(ws))
        return -1;
    size_t missing = tg__ws_header_size(ws->head, ws->head_len) - ws->head_len;
    if (len > ws->input_left)
        len = ws->input_left;
    if (missing > 0 && len > missing)
        len = missing;
    if (missing == 0 && len > ws->payload_left)
        len = (size_t)ws->payload_left;
    if (len == 0)
        return -1;
    memcpy(buf, ws->input, len);
    if (missing > 0) {
        memcpy(ws->head + ws->head_len, ws->input, len);
        ws->head_len = (uint8_t)(ws->head_len + len);
    } else {
        ws->payload_left -= len;
    }
    ws->input += len;
    ws->input_left -= len;
    return (ssize_t)len;
}

static bool borrow(struct tg_ws *ws)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = on_recv};
    struct tg__ws_loan *loan = spare_loan;

    spare_loan = NULL;
    if (loan == NULL) {
        loan = tg_alloc(sizeof *loan);
        if (loan == NULL)
            return tg__ws_fail_memory(ws);
        if (wslay_frame_context_init(&loan->wslay, &callbacks, loan) != 0) {
            tg_free(loan);
            return tg__ws_fail_memory(ws);
        }
    }
    loan->ws = ws;
    loan->control_len = 0;
    ws->loan = loan;
    return true;
}

static bool take_control(struct tg_ws *ws, unsigned opcode)
{
    const uint8_t *data = ws->loan->control;
    size_t len = ws->loan->control_len;

    ws->loan->control_len = 0;
    if (opcode == TG_WS_CLOSE)
        return tg__ws_take_close(ws, data, len);
    if (opcode == TG_WS_PING)
        ws->callbacks->on_ping(ws->ctx, data, len);
    else
        ws->callbacks->on_pong(ws->ctx, data, len);
    return true;
}

static bool take_payload(struct tg_ws *ws, const struct wslay_frame_iocb *frame)
{
    if (tg__ws_is_control(frame->opcode)) { /* wslay has refused more than 125 bytes */
        memcpy(ws->loan->control + ws->loan->control_len, frame->data, frame->data_length);
        ws->loan->control_len += frame->data_length;
        return true;
    }
    return tg__ws_take_data(ws, frame->data, frame->data_length, NULL);
}

static bool fail_framing(struct tg_ws *ws)
{
    if (!tg__ws_is_control(ws->head[0] & TG__WS_OPCODE_BITS))
        return tg__ws_fail_protocol(ws, "a length over 2^63 or not in its shortest form");
    if ((ws->head[0] & TG__WS_FIN_BIT) == 0)
        return tg__ws_fail_protocol(ws, "a fragmented control frame");
    return tg__ws_fail_protocol(ws, "a control frame of more than 125 bytes");
}

/* The long way: one step of wslay, which is a part of one frame. */
static bool take_step(struct tg_ws *ws)
{
    struct wslay_frame_iocb frame;

    if (ws->loan == NULL && !borrow(ws))
        return false;
    ssize_t n = wslay_frame_recv(ws->loan->wslay, &frame);
    if (n < 0 && n != WSLAY_ERR_WANT_READ)
        return fail_framing(ws); /* before check_header: malformed comes before too big */
    if (!tg__ws_check_header(ws))
        return false;
    if (n < 0)
        return true;
    if (n > 0 && !take_payload(ws, &frame))
        return false;
    if (ws->payload_left > 0)
        return true;
    ws->head_len = 0;
    ws->start_checked = false;
    ws->length_checked = false;
    if (tg__ws_is_control(frame.opcode))
        return take_control(ws, frame.opcode);
    return frame.fin == 0 || tg__ws_take_message(ws);
}

/* Size of the header when the input starts with that of an unfragmented, valid data frame; else 0. */
static size_t data_header(const struct tg_ws *ws, uint64_t *length)
{
    const uint8_t *head = ws->input;

    if (ws->head_len != 0 || ws->kind != TG_WS_CONTINUATION || ws->input_left < 2)
        return 0;
    unsigned first = ws->codec == NULL ? head[0] : head[0] & ~(unsigned)TG__WS_RSV1_BIT;
    if (first != (TG__WS_FIN_BIT | TG_WS_TEXT) && first != (TG__WS_FIN_BIT | TG_WS_BINARY))
        return 0;
    if (((head[1] & TG__WS_MASK_BIT) != 0) != (ws->role == TG_WS_SERVER))
        return 0;
    size_t size = tg__ws_header_size(head, 2);
    if (ws->input_left < size)
        return 0;
    *length = tg__ws_payload_length(head);
    unsigned form = head[1] & TG__WS_LENGTH_BITS;
    if ((form == 126 && *length < 126) || (form == 127 && *length < 65536))
        return 0;
    return *length <= ws->message_max ? size : 0;
}

static void take_compressed(struct tg_ws *ws, enum tg_ws_opcode kind, const uint8_t *data,
                            size_t len)
{
    ws->kind = kind;
    ws->compressed = true;
    if (tg__ws_inflate(ws, data, len))
        (void)tg__ws_take_message(ws); /* a failure shows in ws->err */
}

/* `size` bytes of header at the input, whose payload is there in part. */
static void begin_payload(struct tg_ws *ws, size_t size, uint64_t length)
{
    ws->kind = (enum tg_ws_opcode)(ws->input[0] & TG__WS_OPCODE_BITS);
    ws->compressed = (ws->input[0] & TG__WS_RSV1_BIT) != 0;
    ws->payload_left = length;
    ws->in_payload = true;
    if (ws->role == TG_WS_SERVER)
        memcpy(ws->key, ws->input + size - sizeof ws->key, sizeof ws->key);
    ws->input += size;
    ws->input_left -= size;
}

static void go_on_with_payload(struct tg_ws *ws)
{
    uint8_t *data = ws->input;
    size_t len = ws->payload_left < ws->input_left ? (size_t)ws->payload_left : ws->input_left;
    const uint8_t *key = ws->role == TG_WS_SERVER ? ws->key : NULL;

    ws->input += len;
    ws->input_left -= len;
    ws->payload_left -= len;
    if (key != NULL && ws->compressed) {
        (void)tg_ws_mask(data, data, len, key);
        key = NULL;
    }
    if (!tg__ws_take_data(ws, data, len, key))
        return; /* a failure shows in ws->err */
    tg_ws_mask_advance(ws->key, len);
    if (ws->payload_left > 0)
        return;
    ws->in_payload = false;
    (void)tg__ws_take_message(ws);
}

/* The short way. False when the input does not allow it. */
static bool take_data_frame(struct tg_ws *ws)
{
    uint64_t length;
    size_t size = data_header(ws, &length);

    if (size == 0)
        return false;
    if (length > ws->input_left - size) {
        begin_payload(ws, size, length);
        return true;
    }
    enum tg_ws_opcode kind = (enum tg_ws_opcode)(ws->input[0] & TG__WS_OPCODE_BITS);
    bool compressed = (ws->input[0] & TG__WS_RSV1_BIT) != 0;
    uint8_t *data = ws->input + size;
    size_t len = (size_t)length;
    bool ascii = ws->role == TG_WS_SERVER && tg_ws_mask(data, data, len, data - 4);
    ws->input += size + len;
    ws->input_left -= size + len;
    if (compressed)
        take_compressed(ws, kind, data, len);
    else if (kind == TG_WS_TEXT && !ascii && !tg_utf8_valid(data, len))
        (void)tg__ws_fail_utf8(ws);
    else
        ws->paused = !ws->callbacks->on_message(ws->ctx, kind, data, len);
    return true;
}

enum tg_err tg_ws_create(struct tg_ws **out, enum tg_ws_role role, size_t message_max,
                         const struct tg_ws_callbacks *callbacks, void *ctx)
{
    struct tg_ws *ws = tg_calloc(1, sizeof *ws);

    if (ws == NULL)
        return TG_ERR_NOMEM;
    ws->role = role;
    ws->message_max = message_max;
    ws->callbacks = callbacks;
    ws->ctx = ctx;
    *out = ws;
    return TG_ERR_OK;
}

void tg_ws_destroy(struct tg_ws *ws)
{
    if (ws == NULL)
        return;
    loan_free(ws->loan);
    tg_buffer_fini(&ws->message);
    tg__ws_codec_destroy(ws);
    tg_free(ws);
}

enum tg_err tg_ws_feed(struct tg_ws *ws, uint8_t *data, size_t len, size_t *consumed,
                       struct tg_ws_fault *fault)
{
    ws->input = data;
    ws->input_left = len;
    ws->paused = false;
    while (ws->input_left > 0 && !ws->paused && !ws->closed && ws->err == TG_ERR_OK) {
        if (ws->in_payload)
            go_on_with_payload(ws);
        else if (!take_data_frame(ws))
            (void)take_step(ws); /* a failure shows in ws->err */
    }
    *consumed = len - ws->input_left;
    ws->input = NULL;
    ws->input_left = 0;
    if (ws->err != TG_ERR_OK) {
        loan_free(ws->loan); /* in the middle of a frame: nobody else can use it */
        ws->loan = NULL;
        tg_buffer_fini(&ws->message);
        tg__ws_inflate_drop(ws);
        *fault = ws->fault;
        return ws->err;
    }
    if (ws->head_len == 0)
        give_back(ws);
    if (ws->closed) {
        tg_buffer_fini(&ws->message);
        tg__ws_inflate_drop(ws);
    }
    return TG_ERR_OK;
}

bool tg_ws_is_at_rest(const struct tg_ws *ws)
{
    return ws->head_len == 0 && !ws->in_payload && ws->kind == TG_WS_CONTINUATION &&
           ws->message.capacity == 0 && ws->loan == NULL && ws->codec == NULL && !ws->paused &&
           !ws->closed && ws->err == TG_ERR_OK;
}

void tg_ws_take_over(struct tg_ws *ws, void *ctx)
{
    ws->ctx = ctx;
}

size_t tg_ws_held(const struct tg_ws *ws)
{
    return (ws->loan == NULL ? 0 : LOAN_BYTES) + ws->message.capacity + tg__ws_codec_held(ws);
}

bool tg_ws_is_midway(const struct tg_ws *ws)
{
    return ws->loan != NULL || ws->message.capacity > 0;
}

const char *tg_ws_library_version(void)
{
    return WSLAY_VERSION;
}
