/* http_fetch.c - one request and its answer, over as many redirects as it takes.
 *
 *   start ─> transfer ─[redirect]─> transfer ─> … ─> finished ─[told]─> freed
 *      └─[bad URL, host not allowed, deadline, libcurl failed]─────^
 *
 * I1  fetch->easy is NULL exactly when it is finished: no transfer, no timer.
 * I2  A fetch is on client->ready when there is something to tell and its owner has not paused it, or
 *     it is paused and will be put there by resume.
 *
 * Redirects are followed here and not by libcurl: each hop is checked like a request, and leaving the
 * origin takes away every header that could be a credential, whatever its name.
 */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "net/http_client_internal.h"

void tg__fetch_make_ready(struct tg__fetch *fetch)
{
    struct tg__curl_client *client = tg__client_of(fetch);

    if (!tg_list_empty(&fetch->ready))
        return;
    tg_list_push(&client->ready, &fetch->ready);
    if (!client->turning)
        tg__kick_start(client->kick);
}

void tg__fetch_stop_timers(struct tg__fetch *fetch)
{
    struct tg_timers *timers = tg__client_of(fetch)->timers;

    tg_timer_stop(timers, &fetch->total_timer);
    tg_timer_stop(timers, &fetch->idle_timer);
}

void tg__fetch_finish(struct tg__fetch *fetch, enum tg_fetch_outcome outcome, const char *why)
{
    if (fetch->finished)
        return;
    fetch->finished = true;
    fetch->outcome = outcome;
    if (outcome != TG_FETCH_OK)
        (void)snprintf(fetch->text, sizeof fetch->text, "%s%s%s", fetch->url.name,
                       fetch->url.name[0] == '\0' ? "" : ": ", why);
    tg__transfer_close(fetch); /* `why` may be libcurl's: not before */
    tg__fetch_stop_timers(fetch);
    tg__fetch_make_ready(fetch);
}

void tg__fetch_release(struct tg__fetch *fetch)
{
    tg_list_remove(&fetch->node);
    tg_list_remove(&fetch->ready);
    tg__fetch_stop_timers(fetch);
    tg__transfer_close(fetch);
    tg__url_fini(&fetch->url);
    tg__head_fini(&fetch->head);
    tg_buffer_fini(&fetch->received);
    tg_free(fetch->body);
    tg_free(fetch);
}

/* --- deadlines ---------------------------------------------------------------------------------- */

static void on_total_timeout(struct tg_timer *timer)
{
    struct tg__fetch *fetch = TG_CONTAINER_OF(timer, struct tg__fetch, total_timer);
    char why[64];

    (void)snprintf(why, sizeof why, "took longer than %llums",
                   (unsigned long long)fetch->timeout_ms);
    tg__fetch_finish(fetch, TG_FETCH_TIMEOUT, why);
}

static void on_idle_timeout(struct tg_timer *timer)
{
    struct tg__fetch *fetch = TG_CONTAINER_OF(timer, struct tg__fetch, idle_timer);
    char why[64];

    (void)snprintf(why, sizeof why, "sent nothing for %llums",
                   (unsigned long long)fetch->idle_timeout_ms);
    tg__fetch_finish(fetch, TG_FETCH_TIMEOUT, why);
}

enum tg_err tg__fetch_restart_idle_timer(struct tg__fetch *fetch)
{
    if (fetch->idle_timeout_ms == 0 || fetch->finished || fetch->paused)
        return TG_ERR_OK;
    return tg_timer_start(tg__client_of(fetch)->timers, &fetch->idle_timer, fetch->idle_timeout_ms,
                          on_idle_timeout);
}

enum tg_err tg__fetch_start_timers(struct tg__fetch *fetch)
{
    enum tg_err err = TG_ERR_OK;

    if (fetch->timeout_ms != 0)
        err = tg_timer_start(tg__client_of(fetch)->timers, &fetch->total_timer, fetch->timeout_ms,
                             on_total_timeout);
    return err == TG_ERR_OK ? tg__fetch_restart_idle_timer(fetch) : err;
}

/* --- from libcurl ------------------------------------------------------------------------------- */

static bool stop_because(struct tg__fetch *fetch, enum tg_fetch_outcome fault)
{
    fetch->fault = fault;
    return false;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool tg__fetch_take_line(struct tg__fetch *fetch, const char *line, size_t len)
{
    bool before = fetch->head.complete;
    enum tg_err err = tg__head_add(&fetch->head, line, len);
    if (err != TG_ERR_OK)
        return stop_because(fetch, err == TG_ERR_LIMIT ? TG_FETCH_TOO_LARGE : TG_FETCH_CLOSED);
    if (tg__fetch_restart_idle_timer(fetch) != TG_ERR_OK)
        return stop_because(fetch, TG_FETCH_CLOSED);
    if (before || !fetch->head.complete)
        return true;
    fetch->hop = fetch->follows && is_redirect(fetch->head.status) &&
                 tg__head_find(&fetch->head, "location") != NULL;
    if (!fetch->hop)
        tg__fetch_make_ready(fetch);
    return true;
}

bool tg__fetch_take_body(struct tg__fetch *fetch, const char *data, size_t len)
{
    fetch->body_bytes += len;
    if (tg__fetch_restart_idle_timer(fetch) != TG_ERR_OK)
        return stop_because(fetch, TG_FETCH_CLOSED);
    if (fetch->hop) {
        fetch->hop_cut = fetch->body_bytes > TG__HOP_BYTES_MAX;
        return !fetch->hop_cut;
    }
    if (fetch->response_max != 0 && fetch->body_bytes > fetch->response_max)
        return stop_because(fetch, TG_FETCH_TOO_LARGE);
    if (tg_buffer_append(&fetch->received, data, len) != TG_ERR_OK)
        return stop_because(fetch, TG_FETCH_CLOSED);
    if (fetch->stream && fetch->received.len >= TG_FETCH_WINDOW)
        tg__transfer_hold(fetch);
    tg__fetch_make_ready(fetch);
    return true;
}

static bool same_origin(const struct tg__url *a, const struct tg__url *b)
{
    return a->https == b->https && a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* Goes to fetch->url; a failure is told like any other. */
enum tg_err tg__fetch_begin(struct tg__fetch *fetch)
{
    const struct tg_http_client_options *options = &tg__client_of(fetch)->options;

    if (!tg_fetch_host_allowed(options, fetch->url.host, fetch->url.port, fetch->url.https)) {
        tg__fetch_finish(fetch, TG_FETCH_FORBIDDEN, TG_FETCH_HOST_REFUSED);
        return TG_ERR_OK;
    }
    return tg__transfer_begin(fetch);
}

static void follow(struct tg__fetch *fetch)
{
    struct tg__url next = {.text = NULL};
    const char *location = tg__head_find(&fetch->head, "location");

    if (fetch->hops_left == 0) {
        tg__fetch_finish(fetch, TG_FETCH_REDIRECTS, "redirects too often");
        return;
    }
    fetch->hops_left--;
    enum tg_err err = tg__url_parse(&next, fetch->url.text, location);
    if (err == TG_ERR_INVALID) {
        tg__fetch_finish(fetch, TG_FETCH_FORBIDDEN, "redirects to what is no http or https URL");
        return;
    }
    if (err == TG_ERR_OK && fetch->url.https && !next.https) {
        tg__fetch_finish(fetch, TG_FETCH_FORBIDDEN, "redirects from https to http");
        tg__url_fini(&next);
        return;
    }
    if (err == TG_ERR_OK) {
        fetch->foreign = fetch->foreign || !same_origin(&fetch->url, &next);
        tg__url_fini(&fetch->url);
        fetch->url = next;
        tg__head_reset(&fetch->head);
        fetch->head.bytes = 0;
        fetch->body_bytes = 0;
        fetch->hop = false;
        fetch->hop_cut = false;
        tg__transfer_stop(fetch);
        err = tg__fetch_begin(fetch);
    }
    if (err != TG_ERR_OK)
        tg__fetch_finish(fetch, TG_FETCH_CLOSED, "out of memory");
}

static const char *fault_text(const struct tg__fetch *fetch, char out[80])
{
    if (fetch->fault == TG_FETCH_CLOSED)
        return "out of memory";
    if (!fetch->head.complete)
        (void)snprintf(out, 80, "sent more than %zu bytes of headers", TG__HEAD_BYTES_MAX);
    else
        (void)snprintf(out, 80, "the answer is larger than %llu bytes",
                       (unsigned long long)fetch->response_max);
    return out;
}

void tg__fetch_end_of_transfer(struct tg__fetch *fetch, enum tg_fetch_outcome outcome,
                               const char *why)
{
    char text[80];

    if (fetch->finished)
        return;
    if (fetch->fault != TG_FETCH_OK)
        tg__fetch_finish(fetch, fetch->fault, fault_text(fetch, text));
    else if (fetch->hop && (outcome == TG_FETCH_OK || fetch->hop_cut))
        follow(fetch);
    else if (outcome == TG_FETCH_OK && !fetch->head.complete)
        tg__fetch_finish(fetch, TG_FETCH_PROTOCOL, "did not answer in HTTP");
    else
        tg__fetch_finish(fetch, outcome, why);
}
