/* attachment.c - the list of what a connection has now and then.
 *
 * It is short, two or three at a time at most, so that looking through it costs less than an index would.
 */
#include <assert.h>

#include "base/memory.h"
#include "connection/connection_internal.h"

_Static_assert(TG_ATTACHMENT_KINDS <= 16, "each has a bit in tg_conn.attached");

struct tg_attachment *tg__attachment_find(const struct tg_conn *conn, enum tg_attachment_kind kind)
{
    struct tg_attachment *at = conn->attachments;
    while (at->kind != kind)
        at = at->next;
    return at;
}

void tg__attach(struct tg_conn *conn, enum tg_attachment_kind kind,
                struct tg_attachment *attachment)
{
    assert(tg__attached(conn, kind) == NULL);
    attachment->kind = (uint8_t)kind;
    attachment->next = conn->attachments;
    conn->attachments = attachment;
    conn->attached = (uint16_t)(conn->attached | 1u << kind);
}

struct tg_attachment *tg__detach(struct tg_conn *conn, enum tg_attachment_kind kind)
{
    struct tg_attachment **link = &conn->attachments;
    if (tg__attached(conn, kind) == NULL)
        return NULL;
    while ((*link)->kind != kind)
        link = &(*link)->next;
    struct tg_attachment *attachment = *link;
    *link = attachment->next;
    conn->attached = (uint16_t)(conn->attached & ~(1u << kind));
    return attachment;
}

void tg__free_attached(struct tg_conn *conn, enum tg_attachment_kind kind)
{
    tg_free(tg__detach(conn, kind));
}
