/* connect_session.h - what a person asked of a server, and how far it is: requests to send, what each
 * waits for, and whether all went well. No loop, no socket.
 *
 * What ends a request:
 *   agent_execution   agent_completed or agent_error of its run, or an `error` with its id
 *   ping              pong
 *   authenticate      connection_ready; it is sent before that (servers that ask for a token)
 *   agent_cancel      nothing: it counts as ended when sent
 *   any other         the next message that belongs to nothing else
 *   plain text        the next message
 */
#ifndef TG_APP_CONNECT_SESSION_H
#define TG_APP_CONNECT_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json_reader.h"

#define TG_SESSION_ID_SIZE 128

enum tg_request_kind {
    TG_REQUEST_AGENT,
    TG_REQUEST_PING,
    TG_REQUEST_AUTHENTICATE,
    TG_REQUEST_CANCEL,
    TG_REQUEST_OTHER,
    TG_REQUEST_PLAIN
};

enum tg_request_state { TG_REQUEST_NEW, TG_REQUEST_SENT, TG_REQUEST_ENDED };

struct tg_session_request {
    enum tg_request_kind kind;
    enum tg_request_state state;
    char *text;                      /* owned; what is sent */
    char id[TG_SESSION_ID_SIZE];     /* raw JSON of its `id`, or "" */
    char run_id[TG_SESSION_ID_SIZE]; /* once agent_started has named it */
};

/* Zero-initialise; set plain before the first add. */
struct tg_session {
    bool plain; /* text that is no JSON, both ways */
    bool ready; /* connection_ready has come; plain: the connection is open */
    bool failed;
    struct tg_session_request *requests; /* owned */
    size_t count;
    size_t ids_made;
    char last_run[TG_SESSION_ID_SIZE]; /* that started and has not ended, or "" */
};

void tg_session_fini(struct tg_session *session);

/* A message as typed. TG_ERR_INVALID: it is no JSON object with a `type` (unless plain). */
TG_MUST enum tg_err tg_session_add_text(struct tg_session *session, const char *text,
                                        struct tg_error *error);
/* agent NULL: the server chooses. */
void tg_session_add_agent(struct tg_session *session, const char *agent, const char *message);
/* run_id NULL: the last run that has started. TG_ERR_NOT_FOUND: there is none. */
TG_MUST enum tg_err tg_session_add_cancel(struct tg_session *session, const char *run_id);

/* The next request that may be sent now (it counts as sent), or NULL. */
const char *tg_session_next(struct tg_session *session);
/* A message from the server. value: it as JSON, or NULL when it is none. */
void tg_session_take(struct tg_session *session, const struct tg_json_value *message);

/* All that was asked has ended. */
bool tg_session_ended(const struct tg_session *session);
/* "1 agent run, 2 answers": what is still awaited, for people. */
void tg_session_waiting(const struct tg_session *session, char *out, size_t size);

#endif
