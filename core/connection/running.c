/* running.c - that a connection has runs: their list and numbers are agent/'s, and are here from the first run on.
 */
#include <assert.h>

#include "base/memory.h"
#include "connection/connection_internal.h"

uint64_t tg_conn_next_seq(struct tg_conn *conn)
{
    return tg__runs(conn)->next_seq++;
}

struct tg_list *tg_conn_run_list(struct tg_conn *conn)
{
    struct tg_conn_runs *runs = tg__runs(conn);
    if (runs == NULL) {
        runs = tg_calloc(1, sizeof *runs);
        if (runs == NULL)
            return NULL;
        tg_list_init(&runs->list);
        runs->next_seq = 1;
        tg__attach(conn, TG_ATTACHED_RUNS, &runs->attachment);
    }
    return &runs->list;
}

size_t tg_conn_runs(const struct tg_conn *conn)
{
    const struct tg_conn_runs *runs = tg__runs(conn);
    return runs == NULL ? 0 : runs->count;
}

void tg_conn_run_started(struct tg_conn *conn)
{
    tg__runs(conn)->count++;
    if (tg_conn_state(conn) != TG_PROCESSING)
        if (tg__move(conn, TG_PROCESSING, "run started") != TG_ERR_OK)
            tg_conn_fail(conn, 1011, "illegal transition", "internal error");
}

void tg_conn_run_ended(struct tg_conn *conn)
{
    struct tg_conn_runs *runs = tg__runs(conn);
    assert(runs != NULL && runs->count > 0);
    runs->count--;
    conn->last_message_ms = (uint32_t)tg_timers_now_ms(conn->hub->timers);
    if (runs->count > 0 || conn->ending || tg_conn_state(conn) != TG_PROCESSING)
        return;
    bool missing = tg__degraded(conn) != NULL;
    enum tg_state to = missing ? TG_DEGRADED : TG_PROCESSING_READY;
    if (tg__move(conn, to, "last run ended") != TG_ERR_OK)
        return;
    if (missing) {
        tg__tell_degraded(conn);
        tg__resume_retry(conn);
    } else {
        tg__arm_idle(conn);
    }
    if (conn->hub->draining)
        tg__drain(conn);
}
