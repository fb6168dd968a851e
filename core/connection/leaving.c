/* leaving.c - a peer's good-bye stands behind what it sent before.
 *
 *   close frame, bad frame, FIN, reset ──[a message waits or is being answered]──> leaving
 *   leaving ──[none does any more, or close_timeout]──> the end
 *
 * Not a state of its own: hooks are asked about the messages in the state that they came for, setup
 * included, and answer a peer that still reads (RFC 6455 §5.5.1: we may send until our own close frame).
 * When the stream is lost only the sending fails. Runs end with the connection, as ever.
 *
 * I1  leaving ends with exactly one of: tg__peer_left, another end, the deadline. Whatever is still
 *     waiting then is dropped, counted and logged (ending.c).
 */
#include "connection/connection_internal.h"

static bool is_about_a_message(enum tg_hook hook)
{
    return hook == TG_HOOK_ROUTE || hook == TG_HOOK_MESSAGE || hook == TG_HOOK_BINARY ||
           hook == TG_HOOK_TEXT || hook == TG_HOOK_REAUTHENTICATE;
}

static bool is_owed_something(const struct tg_conn *conn)
{
    return tg__inbox_count(conn) > 0 || tg__inbox_unread(conn) > 0 ||
           is_about_a_message((enum tg_hook)conn->asking);
}

bool tg__is_done_leaving(const struct tg_conn *conn)
{
    /* Without a hook under way nothing moves on, such as messages before one that would authenticate. */
    return conn->asking == TG_ASKING_NONE || !is_owed_something(conn);
}

static void on_deadline(struct tg_timer *timer)
{
    tg__peer_left(TG_CONTAINER_OF(timer, struct tg_conn, keepalive_timer));
}

bool tg__leave_later(struct tg_conn *conn)
{
    if (!is_owed_something(conn))
        return false;
    /* Silence of the peer is now expected, so the timer that watches it is free. */
    conn->leaving = tg_timer_start(conn->hub->timers, &conn->keepalive_timer,
                                   tg__options(conn)->close_timeout_ms, on_deadline) == TG_ERR_OK;
    return conn->leaving;
}
