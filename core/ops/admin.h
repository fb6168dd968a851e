/* admin.h - the admin listener: a small HTTP/1.1 server whose routes are rows of a table.
 *
 * Knows HTTP, who may ask, and nothing of connections or scripts: app/ hands it a table of routes
 * and each handler answers now or later. Main thread only.
 *
 * Who may ask: the token when one is set (Authorization: Bearer …, compared in constant time); a
 * `Host` that is not one of the listener's names (its address, localhost, 127.0.0.1, [::1]) and an
 * `Origin` that is not the listener's own are refused with 403, so that no web page can reach it
 * through a browser (DNS rebinding, cross-site requests).
 */
#ifndef TG_OPS_ADMIN_H
#define TG_OPS_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "net/stream.h"
#include "net/timer.h"

struct tg_admin;
struct tg_admin_request;

/* Answers the request with tg_admin_reply, at once or later from the same thread. */
typedef void (*tg_admin_handler_fn)(void *ctx, struct tg_admin_request *request);

struct tg_admin_route {
    const char *method;  /* "GET", "POST" */
    const char *pattern; /* "/connections/:id/close"; one ":name" segment at most */
    tg_admin_handler_fn handler;
};

struct tg_admin_options {
    int fd;                    /* from tg_listener_bind; owned by the admin from create on */
    const char *address;       /* as bound, for the Host check */
    const char *token;         /* NULL: none */
    uint64_t reply_timeout_ms; /* for a handler's answer; then 504 */
    uint64_t read_timeout_ms;  /* for a whole request to arrive; then 408. 0: 10 s */
};

TG_MUST enum tg_err tg_admin_create(struct tg_admin **out, struct tg_net *net,
                                    struct tg_timers *timers,
                                    const struct tg_admin_options *options,
                                    const struct tg_admin_route *routes, size_t route_count,
                                    void *ctx);
/* Stops listening and closes every admin connection. Neither the admin nor any request may be used
 * after it; the loop frees them. Handlers may call it. NULL is allowed. */
void tg_admin_destroy(struct tg_admin *admin);

/* Borrowed until the reply. "" when absent. */
const char *tg_admin_param(
    const struct tg_admin_request *request); /* the ":name" segment, decoded */
/* Value of a query parameter, decoded, or NULL. */
const char *tg_admin_query(const struct tg_admin_request *request, const char *name);
const struct tg_buffer *tg_admin_body(const struct tg_admin_request *request);

/* A request may outlive its connection: hold it by ticket while waiting for other threads. */
uint64_t tg_admin_ticket(const struct tg_admin_request *request);
/* NULL when the client has gone or the time was up. */
struct tg_admin_request *tg_admin_find(struct tg_admin *admin, uint64_t ticket);

/* Sends the answer; the request is over. content_type NULL: application/json. Takes the body's bytes. */
void tg_admin_reply(struct tg_admin_request *request, int status, const char *content_type,
                    struct tg_buffer *body);
/* {"error":{"code":…,"message":…}} */
void tg_admin_reply_error(struct tg_admin_request *request, int status, const char *code,
                          const char *message);

#endif
