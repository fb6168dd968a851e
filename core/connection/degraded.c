/* degraded.c - that a service is missing: what `prepare` said of it, and that the client knows.
 *
 *   authenticated, reconnecting ──[prepare: degraded]──> degraded, client told the first time
 *   ready, idle ──[tg_conn_degrade]──> degraded, client told
 *   processing ──[tg_conn_degrade]──> (the last run ends) ──> degraded, client told
 *
 * It is noted as long as it lasts, which is until `prepare` says that all is there (setup.c). The retry is one of
 * the connection's timers (deadlines.c).
 */
#include <string.h>

#include "base/memory.h"
#include "connection/connection_internal.h"

static enum tg_err note_degraded(struct tg_conn *conn, const char *why)
{
    size_t size = strlen(why) + 1;
    struct tg_degraded *degraded = tg_calloc(1, sizeof *degraded + size);
    const struct tg_degraded *before = tg__degraded(conn);
    if (degraded == NULL)
        return TG_ERR_NOMEM;
    memcpy(degraded->reason, why, size);
    if (before != NULL) {
        degraded->retry_delay_ms = before->retry_delay_ms;
        degraded->untold = before->untold;
    }
    tg__free_attached(conn, TG_ATTACHED_DEGRADED);
    tg__attach(conn, TG_ATTACHED_DEGRADED, &degraded->attachment);
    return TG_ERR_OK;
}

void tg__become_degraded(struct tg_conn *conn, const char *why)
{
    if (why == NULL)
        why = "a service is missing";
    if (note_degraded(conn, why) != TG_ERR_OK) {
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
        return;
    }
    bool first = tg_conn_state(conn) == TG_AUTHENTICATED;
    if (tg__move(conn, TG_DEGRADED, first ? "prepare: degraded" : "prepare: still degraded") !=
        TG_ERR_OK) {
        tg_conn_fail(conn, 1011, "illegal transition", "internal error");
        return;
    }
    if (first)
        tg__send_ready(conn);
    tg__arm_retry(conn);
}

void tg__tell_degraded(struct tg_conn *conn)
{
    struct tg_degraded *degraded = tg__degraded(conn);
    if (degraded == NULL || !degraded->untold)
        return;
    degraded->untold = false;
    tg__send_ready(conn);
}

enum tg_err tg_conn_degrade(struct tg_conn *conn, const char *why)
{
    enum tg_state state = tg_conn_state(conn);
    if (!tg_conn_is_open(conn))
        return TG_ERR_CLOSED;
    if (state == TG_DEGRADED || state == TG_RECONNECTING || tg__degraded(conn) != NULL)
        return TG_ERR_OK; /* it is known, and being tried again */
    if (!tg_state_is_operational(state))
        return TG_ERR_ILLEGAL;
    if (note_degraded(conn, why) != TG_ERR_OK)
        return TG_ERR_NOMEM;
    tg__degraded(conn)->untold = true;
    if (state != TG_PROCESSING) {
        enum tg_err err = tg__move(conn, TG_DEGRADED, "a service is missing");
        if (err != TG_ERR_OK)
            return err;
        tg__tell_degraded(conn);
    }
    tg__arm_retry(conn); /* in place of the idle timer; when it comes due during a run, after it */
    return TG_ERR_OK;
}
