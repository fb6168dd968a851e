/* asking.c - questions to the layer above, one at a time, and where their answers go.
 *
 * I1  `asking` names the hook that has not answered; answers to any other are ignored.
 * I2  A message that a hook is asked about is borrowed from the read buffer until the hook suspends.
 */
#include <assert.h>
#include <string.h>

#include "base/memory.h"
#include "connection/connection_internal.h"

bool tg__hook_defined(const struct tg_conn *conn, enum tg_hook hook)
{
    const struct tg_conn_upper *upper = &conn->hub->upper;
    return upper->hook_defined(upper->host, hook);
}

bool tg__is_plain(const struct tg_conn *conn)
{
    return tg__hook_defined(conn, TG_HOOK_TEXT);
}

void tg__drop_question(struct tg_conn *conn)
{
    if (conn->question_kept)
        tg_free(conn->question);
    conn->question_kept = false;
    conn->question = NULL;
}

/* A hook that suspends outlives the read buffer, so only then is the message copied. */
static void keep_question(struct tg_conn *conn, const struct tg_question *asked)
{
    conn->question = NULL;
    if (asked->data == NULL)
        return;
    struct tg_question *kept = tg_alloc(sizeof *kept + asked->len);
    if (kept == NULL) {
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
        return;
    }
    memcpy(kept->kept, asked->data, asked->len);
    kept->data = kept->kept;
    kept->len = asked->len;
    conn->question = kept;
    conn->question_kept = true;
}

void tg__ask(struct tg_conn *conn, enum tg_hook hook, const struct tg_hook_input *input)
{
    const struct tg_conn_upper *upper = &conn->hub->upper;
    struct tg_question asked = {.data = input->data, .len = input->len};
    assert(conn->asking == TG_ASKING_NONE);
    tg__drop_question(conn);
    conn->question = &asked;
    conn->asking = (uint8_t)hook;
    upper->hook_start(upper->host, conn, hook, input);
    if (conn->question != &asked) /* answered, and the next question has been asked */
        return;
    conn->question = NULL;
    if (conn->asking == hook && hook == TG_HOOK_ROUTE)
        keep_question(conn, &asked);
}

void tg__stop_asking(struct tg_conn *conn)
{
    const struct tg_conn_upper *upper = &conn->hub->upper;
    if (conn->asking == TG_ASKING_NONE)
        return;
    conn->asking = TG_ASKING_NONE;
    upper->hook_cancel(upper->host, conn);
}

void tg_conn_hook_done(struct tg_conn *conn, enum tg_hook hook, const struct tg_hook_result *result)
{
    if (conn->asking != hook)
        return;
    conn->asking = TG_ASKING_NONE;
    if (result->offered_id != NULL) {
        char real[TG_CONN_ID_SIZE];
        tg_conn_id_format(&conn->id, real);
        if (strcmp(real, result->offered_id) != 0) {
            tg_conn_id_mismatch(conn, result->offered_id, strlen(result->offered_id),
                                tg_hook_names[hook]);
            if (hook == TG_HOOK_CLOSED)
                tg__conn_maybe_free(conn);
            return;
        }
    }
    switch (hook) {
    case TG_HOOK_UPGRADE:
        tg__upgrade_answered(conn, result);
        break;
    case TG_HOOK_AUTHENTICATE:
        tg__authenticate_answered(conn, result);
        break;
    case TG_HOOK_REAUTHENTICATE:
        tg__reauthenticate_answered(conn, result);
        break;
    case TG_HOOK_CREATE_CONTEXT:
        tg__context_answered(conn, result);
        break;
    case TG_HOOK_PREPARE:
        tg__prepare_answered(conn, result);
        break;
    case TG_HOOK_ROUTE:
        tg__route_answered(conn, result);
        break;
    case TG_HOOK_MESSAGE:
    case TG_HOOK_BINARY:
    case TG_HOOK_TEXT:
        if (result->outcome != TG_HOOK_OK_OUTCOME)
            tg__refused_by_hook(conn, "a message hook failed", 1011, result);
        break;
    case TG_HOOK_CLOSED:
        tg__conn_maybe_free(conn);
        return; /* perhaps freed */
    case TG_HOOK_MIGRATE:
    case TG_HOOKS:
        break;
    }
    /* An answer inside this one may have led to a question that is still under way. */
    if (conn->asking == TG_ASKING_NONE)
        tg__drop_question(conn);
    if (conn->hub->draining)
        tg__drain(conn);
    tg__pump(conn);
}
