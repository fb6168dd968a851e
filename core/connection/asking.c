/* asking.c - questions to the layer above, one at a time, and where their answers go.
 *
 * I1  `asking` names the hook that has not answered; answers to any other are ignored.
 * I2  A message that `route` is asked about is borrowed from the read buffer until the hook suspends. What the
 *     others are asked about is of no use once they answer, and is not kept.
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

void tg__question_free(struct tg_conn *conn)
{
    struct tg_question *question = tg__question(conn);
    (void)tg__detach(conn, TG_ATTACHED_QUESTION);
    if (question->kept)
        tg_free(question);
}

/* A hook that suspends outlives the read buffer, so only then is the message copied. */
static void keep_question(struct tg_conn *conn, const struct tg_question *asked)
{
    if (asked->data == NULL)
        return;
    struct tg_question *kept = tg_alloc(sizeof *kept + asked->len);
    if (kept == NULL) {
        tg_conn_fail(conn, 1011, "out of memory", "out of memory");
        return;
    }
    memcpy(kept->bytes, asked->data, asked->len);
    kept->data = kept->bytes;
    kept->len = asked->len;
    kept->kept = true;
    tg__attach(conn, TG_ATTACHED_QUESTION, &kept->attachment);
}

static void start_route(struct tg_conn *conn, const struct tg_hook_input *input)
{
    const struct tg_conn_upper *upper = &conn->hub->upper;
    struct tg_question asked = {.data = input->data, .len = input->len};
    tg__attach(conn, TG_ATTACHED_QUESTION, &asked.attachment);
    upper->hook_start(upper->host, conn, TG_HOOK_ROUTE, input);
    if (tg__question(conn) != &asked) /* answered, and perhaps the next question has been asked */
        return;
    (void)tg__detach(conn, TG_ATTACHED_QUESTION);
    if (conn->asking == TG_HOOK_ROUTE)
        keep_question(conn, &asked);
}

void tg__ask(struct tg_conn *conn, enum tg_hook hook, const struct tg_hook_input *input)
{
    const struct tg_conn_upper *upper = &conn->hub->upper;
    assert(conn->asking == TG_ASKING_NONE);
    tg__drop_question(conn);
    conn->asking = (uint8_t)hook;
    if (hook == TG_HOOK_ROUTE)
        start_route(conn, input);
    else
        upper->hook_start(upper->host, conn, hook, input);
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
