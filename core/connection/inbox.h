/* inbox.h - messages that have arrived and wait for their turn, in order, bounded.
 *
 * The bound is a promise to pause reading, not to drop: tg_inbox_full says when to stop, and what the
 * decoder already handed over is always kept.
 */
#ifndef TG_CONNECTION_INBOX_H
#define TG_CONNECTION_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/list.h"
#include "proto/websocket.h"

struct tg_inbox_message {
    struct tg_list node;
    enum tg_ws_opcode kind; /* TG_WS_TEXT or TG_WS_BINARY */
    size_t len;
    uint8_t data[];
};

struct tg_inbox {
    struct tg_list messages; /* owned tg_inbox_message.node */
    size_t count;
    size_t bytes;            /* of the messages */
    size_t auth_checked;     /* this many at the front are known to be no `authenticate` message */
    struct tg_buffer unread; /* bytes read but not decoded, behind all messages */
};

void tg_inbox_init(struct tg_inbox *inbox);
void tg_inbox_fini(struct tg_inbox *inbox); /* frees all that is left; may be called twice */
/* Frees the messages that are left; the bytes behind them stay. */
void tg_inbox_drop_messages(struct tg_inbox *inbox);
bool tg_inbox_is_empty(const struct tg_inbox *inbox);
TG_MUST enum tg_err tg_inbox_push(struct tg_inbox *inbox, enum tg_ws_opcode kind, const void *data,
                                  size_t len); /* copies; TG_ERR_NOMEM */
/* Oldest message, owned by the caller (tg_free), or NULL. */
struct tg_inbox_message *tg_inbox_pop(struct tg_inbox *inbox);
/* Takes `message` out of the middle; the caller owns it. */
void tg_inbox_take(struct tg_inbox *inbox, struct tg_inbox_message *message);
bool tg_inbox_full(const struct tg_inbox *inbox, size_t messages_max, size_t bytes_max);
/* Keeps bytes that are to be decoded later; copies; TG_ERR_NOMEM. */
TG_MUST enum tg_err tg_inbox_keep_unread(struct tg_inbox *inbox, const void *data, size_t len);
/* Hands them over, owned by the caller (tg_buffer_fini); empty when there are none. */
struct tg_buffer tg_inbox_take_unread(struct tg_inbox *inbox);
/* Room enough to read again: at most half full, so that reading does not start and stop all the time. */
bool tg_inbox_has_room(const struct tg_inbox *inbox, size_t messages_max, size_t bytes_max);

#endif
