/* waiting.c - the inbox of a connection: attached while something waits in it, which is seldom.
 */
#include "base/memory.h"
#include "connection/connection_internal.h"

/* Made when there is none; NULL when memory is out. */
static struct tg_inbox *open_inbox(struct tg_conn *conn)
{
    struct tg_inbox *inbox = tg__inbox(conn);
    if (inbox != NULL)
        return inbox;
    struct tg_conn_inbox *made = tg_alloc(sizeof *made);
    if (made == NULL)
        return NULL;
    tg_inbox_init(&made->inbox);
    tg__attach(conn, TG_ATTACHED_INBOX, &made->attachment);
    return &made->inbox;
}

static void let_go_if_empty(struct tg_conn *conn)
{
    const struct tg_inbox *inbox = tg__inbox(conn);
    if (tg_inbox_is_empty(inbox))
        tg__inbox_drop(conn);
}

enum tg_err tg__inbox_push(struct tg_conn *conn, enum tg_ws_opcode kind, const void *data,
                           size_t len)
{
    struct tg_inbox *inbox = open_inbox(conn);
    if (inbox == NULL)
        return TG_ERR_NOMEM;
    enum tg_err err = tg_inbox_push(inbox, kind, data, len);
    let_go_if_empty(conn); /* made for nothing, when memory is out */
    return err;
}

struct tg_inbox_message *tg__inbox_pop(struct tg_conn *conn)
{
    struct tg_inbox *inbox = tg__inbox(conn);
    struct tg_inbox_message *message = inbox == NULL ? NULL : tg_inbox_pop(inbox);
    if (message != NULL)
        let_go_if_empty(conn);
    return message;
}

void tg__inbox_take(struct tg_conn *conn, struct tg_inbox_message *message)
{
    tg_inbox_take(tg__inbox(conn), message);
    let_go_if_empty(conn);
}

enum tg_err tg__inbox_keep_unread(struct tg_conn *conn, const void *data, size_t len)
{
    if (len == 0)
        return TG_ERR_OK;
    struct tg_inbox *inbox = open_inbox(conn);
    if (inbox == NULL)
        return TG_ERR_NOMEM;
    enum tg_err err = tg_inbox_keep_unread(inbox, data, len);
    let_go_if_empty(conn);
    return err;
}

struct tg_buffer tg__inbox_take_unread(struct tg_conn *conn)
{
    struct tg_inbox *inbox = tg__inbox(conn);
    if (inbox == NULL)
        return TG_BUFFER_INIT;
    struct tg_buffer unread = tg_inbox_take_unread(inbox);
    let_go_if_empty(conn);
    return unread;
}

void tg__inbox_drop_messages(struct tg_conn *conn)
{
    struct tg_inbox *inbox = tg__inbox(conn);
    if (inbox == NULL)
        return;
    tg_inbox_drop_messages(inbox);
    let_go_if_empty(conn);
}

void tg__inbox_drop(struct tg_conn *conn)
{
    struct tg_inbox *inbox = tg__inbox(conn);
    if (inbox == NULL)
        return;
    tg_inbox_fini(inbox);
    tg__free_attached(conn, TG_ATTACHED_INBOX);
}
