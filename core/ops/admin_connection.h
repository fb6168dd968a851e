/* admin_connection.h - one client of the admin listener, shared by admin_connection.c (its bytes) and
 * admin_request.c (what it asks).
 */
#ifndef TG_OPS_ADMIN_CONNECTION_H
#define TG_OPS_ADMIN_CONNECTION_H

#include "net/timer.h"
#include "ops/admin_internal.h"
#include "proto/http.h"

#define TG__ADMIN_HEADERS "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"

enum tg__admin_state {
    TG__ADMIN_READING,
    TG__ADMIN_HANDLING,
    TG__ADMIN_WRITING,
    TG__ADMIN_LINGERING,
    TG__ADMIN_CLOSED
};

struct tg_admin_request {
    struct tg__admin_conn *conn;
    uint64_t ticket;        /* 0: not in flight */
    struct tg_buffer param; /* owned; NUL-terminated, or empty */
    struct tg_buffer query; /* owned; as tg_admin_query_parse leaves it */
    bool head_only;
    bool keep_alive;
};

struct tg__admin_conn {
    struct tg_list node;
    struct tg_admin *admin;   /* borrowed until on_closed */
    struct tg_stream *stream; /* owned */
    struct tg_http *http;     /* owned; NULL between requests */
    struct tg_buffer input;   /* owned */
    struct tg_timer timer;
    struct tg_admin_request request;
    enum tg__admin_state state;
    bool peer_ended;
    bool advancing;
};

/* admin_connection.c */
void tg__admin_conn_close(struct tg__admin_conn *conn); /* at once */
void tg__admin_conn_set_timer(struct tg__admin_conn *conn, uint64_t delay_ms);
void tg__admin_conn_drop_ticket(struct tg__admin_conn *conn);
/* Writes the answer; extra: header lines in place of TG__ADMIN_HEADERS, or NULL. */
void tg__admin_conn_answer(struct tg__admin_conn *conn, int status, const char *content_type,
                           const char *extra, const struct tg_buffer *body);
/* Goes on with the requests that wait. */
void tg__admin_conn_advance(struct tg__admin_conn *conn);

/* admin_request.c */
/* A complete request is there: refuses it, or hands it to its handler. */
void tg__admin_request_begin(struct tg__admin_conn *conn);
void tg__admin_request_refuse_malformed(struct tg__admin_conn *conn);
/* {"error": {"code", "message"}} */
void tg__admin_refuse(struct tg__admin_conn *conn, int status, const char *code,
                      const char *message, const char *extra);

#endif
