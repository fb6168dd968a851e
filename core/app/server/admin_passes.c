/* admin_passes.c - issuing tickets, and ending what a user or a token has open on all workers.
 *
 * A ticket is in the answer and nowhere else: not in the log, and never readable again.
 */
#include <math.h>
#include <string.h>

#include "app/server/admin_internal.h"
#include "base/json_reader.h"
#include "base/json_writer.h"
#include "proto/websocket.h"
#include "script/hooks/closing.h"

#define USER_ID_SIZE 257
#define REVOKE_TTL_SECONDS 86400.0
#define REVOKE_TTL_SECONDS_MAX 315360000.0 /* ten years */

/* The body as a checked object; one without members when there is none. */
static bool read_object(struct tg_admin_request *request, struct tg_json_value *object)
{
    const struct tg_buffer *body = tg_admin_body(request);
    if (body == NULL || body->len == 0)
        return tg_json_parse("{}", 2, object, NULL) == TG_ERR_OK;
    return tg_json_parse((const char *)tg_buffer_head(body), body->len, object, NULL) ==
               TG_ERR_OK &&
           object->kind == TG_JSON_OBJECT;
}

/* A misspelt member must not be passed over: "orgin" would make a ticket that is good for every page. */
static bool has_only(const struct tg_json_value *object, const char *const *names, size_t count)
{
    struct tg_json_value key;
    struct tg_json_value value;
    size_t cursor = 0;
    while (tg_json_next(object, &cursor, &key, &value)) {
        size_t i = 0;
        while (i < count && !tg_json_equals(&key, names[i]))
            i++;
        if (i == count)
            return false;
    }
    return true;
}

/* In milliseconds; 0: not what it should be. */
static uint64_t read_ttl(const struct tg_json_value *object, double seconds, double most)
{
    struct tg_json_value ttl = tg_json_member(object, "ttl");
    if (ttl.kind == TG_JSON_NUMBER)
        seconds = tg_json_number(&ttl);
    else if (ttl.kind != TG_JSON_NONE)
        return 0;
    return seconds > 0 && seconds <= most ? (uint64_t)ceil(seconds * 1000) : 0;
}

/* --- POST /ticket ---------------------------------------------------------------------------------- */

struct ticket_body {
    char user_id[USER_ID_SIZE];
    char origin[TG_TICKET_ORIGIN_MAX + 1];
    bool bound; /* to the origin */
    uint64_t ttl_ms;
    struct tg_json_value identity; /* NONE: user_id is all */
};

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

/* What a browser sends as Origin, to which it is compared: no path, not even a slash. */
static bool is_origin(const char *text)
{
    const char *host = strstr(text, "://");
    if (strcmp(text, "null") == 0)
        return true;
    return host != NULL && host > text && host[3] != '\0' && strpbrk(host + 3, "/?#@ ") == NULL;
}

/* NULL, or what is wrong. */
static const char *read_ticket(const struct tg_json_value *object, struct ticket_body *out)
{
    static const char *const names[] = {"user_id", "identity", "origin", "ttl"};
    struct tg_json_value user = tg_json_member(object, "user_id");
    struct tg_json_value origin = tg_json_member(object, "origin");
    out->identity = tg_json_member(object, "identity");
    struct tg_json_value inner = tg_json_member(&out->identity, "user_id");
    out->bound = origin.kind != TG_JSON_NONE;
    out->ttl_ms = read_ttl(object, TG_TICKET_TTL_MS / 1000.0, TG_TICKET_TTL_MAX_MS / 1000.0);
    if (!has_only(object, names, sizeof names / sizeof names[0]))
        return "a ticket has user_id, identity, origin and ttl, and nothing else";
    if (tg_json_copy_string(&user, out->user_id, sizeof out->user_id) != TG_ERR_OK ||
        out->user_id[0] == '\0' || has_control(out->user_id))
        return "user_id is text of 1 to 256 bytes, without control characters";
    if (out->identity.kind != TG_JSON_NONE && out->identity.kind != TG_JSON_OBJECT)
        return "identity is an object";
    if (inner.kind != TG_JSON_NONE && !tg_json_equals(&inner, out->user_id))
        return "identity.user_id is another than user_id";
    if (out->bound && (tg_json_copy_string(&origin, out->origin, sizeof out->origin) != TG_ERR_OK ||
                       !is_origin(out->origin)))
        return "origin is text of 1 to 255 bytes, such as https://app.example, without a path";
    if (out->ttl_ms == 0)
        return "ttl is a number of seconds, more than 0 and at most 300";
    return NULL;
}

static void write_identity(struct tg_json_writer *w, const struct ticket_body *ticket)
{
    struct tg_json_value key;
    struct tg_json_value value;
    size_t cursor = 0;
    tg_json_begin_object(w);
    tg_json_member_str(w, "user_id", ticket->user_id);
    while (tg_json_next(&ticket->identity, &cursor, &key, &value)) {
        struct tg_buffer name = TG_BUFFER_INIT;
        if (tg_json_decode_string(&key, &name) != TG_ERR_OK)
            w->failed = true;
        else if (name.len != 7 || memcmp(tg_buffer_head(&name), "user_id", 7) != 0) {
            tg_json_keyn(w, name.len == 0 ? "" : (const char *)tg_buffer_head(&name), name.len);
            tg_json_raw(w, value.raw, value.len);
        }
        tg_buffer_fini(&name);
    }
    tg_json_end_object(w);
}

static enum tg_err issue(struct tg_server *server, const struct ticket_body *body,
                         char ticket[TG_TICKET_SIZE], double *expires_at)
{
    struct tg_buffer identity = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&identity);
    enum tg_err err = TG_ERR_NOMEM;
    write_identity(&w, body);
    if (!tg_json_writer_failed(&w)) {
        struct tg_ticket_order order = {
            .identity = tg_buffer_head(&identity),
            .identity_len = identity.len,
            .origin = body->bound ? body->origin : NULL,
            .origin_len = body->bound ? strlen(body->origin) : 0,
            .ttl_ms = body->ttl_ms,
        };
        err = identity.len > TG_TICKET_IDENTITY_MAX
                  ? TG_ERR_INVALID
                  : tg_passes_issue(server->passes, &order, ticket, expires_at);
    }
    tg_buffer_fini(&identity);
    return err;
}

void tg__admin_post_ticket(void *ctx, struct tg_admin_request *request)
{
    struct tg_json_value object;
    struct ticket_body body;
    char ticket[TG_TICKET_SIZE];
    double expires_at = 0;
    const char *wrong =
        read_object(request, &object) ? read_ticket(&object, &body) : "the body is a JSON object";
    if (wrong != NULL) {
        tg_admin_reply_error(request, 400, "bad_ticket", wrong);
        return;
    }
    enum tg_err err = issue(ctx, &body, ticket, &expires_at);
    if (err == TG_ERR_INVALID) {
        tg_admin_reply_error(request, 400, "bad_ticket", "identity has at most 4096 bytes");
        return;
    }
    if (err == TG_ERR_LIMIT) {
        tg_admin_reply_error(request, 503, "too_many_tickets",
                             "too many tickets are out; some expire every moment");
        return;
    }
    struct tg_buffer answer = TG_BUFFER_INIT;
    struct tg_json_writer w = tg_json_writer_on(&answer);
    tg_json_begin_object(&w);
    tg_json_member_str(&w, "ticket", ticket);
    tg_json_member_real(&w, "expires_at", expires_at);
    tg_json_end_object(&w);
    tg__admin_reply(request, 200, NULL, &answer, err != TG_ERR_OK || tg_json_writer_failed(&w));
}

/* --- closing on all workers ------------------------------------------------------------------------ */

static void finish_closed(struct tg_gather *gather, struct tg_admin_request *request)
{
    struct tg_buffer body = TG_BUFFER_INIT;
    enum tg_err err = tg_buffer_printf(&body, "{\"closed\":%zu}", gather->matched);
    tg__admin_reply(request, 200, NULL, &body, err != TG_ERR_OK);
}

static void close_matching(struct tg_server *server, struct tg_admin_request *request,
                           const struct tg_closing *what)
{
    struct tg_gather *gather = tg__gather_create(server, request, finish_closed);
    gather->awaited = server->worker_count;
    for (size_t i = 0; i < server->worker_count; i++)
        tg_worker_close_matching(server->workers[i], what, tg__gather_rows, gather);
}

void tg__admin_post_close_user(void *ctx, struct tg_admin_request *request)
{
    char reason[TG_WS_REASON_MAX + 1];
    struct tg_closing what = {
        .by = TG_CLOSING_USER, .key = tg_admin_param(request), .reason = reason};
    if (tg__admin_read_close(request, &what.code, reason))
        close_matching(ctx, request, &what);
}

void tg__admin_post_revoke(void *ctx, struct tg_admin_request *request)
{
    struct tg_server *server = ctx;
    struct tg_json_value object;
    struct tg_closing what = {.by = TG_CLOSING_TOKEN,
                              .key = tg_admin_param(request),
                              .code = 4401,
                              .reason = TG_REVOKED_REASON};
    static const char *const names[] = {"ttl"};
    uint64_t ttl_ms = read_object(request, &object) && has_only(&object, names, 1)
                          ? read_ttl(&object, REVOKE_TTL_SECONDS, REVOKE_TTL_SECONDS_MAX)
                          : 0;
    if (ttl_ms == 0 || strlen(what.key) > TG_TOKEN_ID_MAX) {
        tg_admin_reply_error(request, 400, "bad_revocation",
                             "the body is {\"ttl\": seconds that the token would have been good, "
                             "at most ten years}, and its ID has at most 1024 bytes");
        return;
    }
    enum tg_err err = tg_passes_revoke(server->passes, what.key, strlen(what.key), ttl_ms);
    if (err != TG_ERR_OK) {
        tg_admin_reply_error(request, 503, "not_revoked",
                             err == TG_ERR_LIMIT ? "too many tokens are revoked already"
                                                 : "out of memory; try again");
        return;
    }
    close_matching(server, request, &what);
}
