/* attachment.h - what a connection has only now and then: one list of it hangs on the connection, with at most
 * one of each kind, so that an idle client pays one pointer for all of them.
 *
 * Which kinds are there stands in the connection as well (a bit each): what asks with every message finds out
 * without a look at other memory that there is nothing.
 */
#ifndef TG_CONNECTION_ATTACHMENT_H
#define TG_CONNECTION_ATTACHMENT_H

#include <stdint.h>

enum tg_attachment_kind {
    TG_ATTACHED_INBOX,
    TG_ATTACHED_QUESTION,
    TG_ATTACHED_DEFERRED,
    TG_ATTACHED_CONGESTION,
    TG_ATTACHED_RUNS,
    TG_ATTACHED_EXPIRY,
    TG_ATTACHED_DEGRADED,
    TG_ATTACHED_MIDWAY,
    TG_ATTACHED_END,
    TG_ATTACHMENT_KINDS
};

/* Embed it as the first member. */
struct tg_attachment {
    struct tg_attachment *next;
    uint8_t kind; /* enum tg_attachment_kind */
};

#endif
