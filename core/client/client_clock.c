/* client_clock.c - how long a connection may take: to open, to be silent, to close.
 *
 * While it is open one timer looks now and then; bytes that come only note when. So a message costs no timer.
 */
#include "client/client_internal.h"

#include <stdio.h>

#include "base/list.h"

#define CLOSE_TIMEOUT_MS 3000
#define END_TIMEOUT_MS 1000 /* for the server to end the TCP connection after the close frames */
#define ATTEMPT_MIN_MS 250  /* for an address, however many there are */
#define NEVER UINT64_MAX

static void start(struct tg_client *client, struct tg_timer *timer, uint64_t delay_ms,
                  tg_timer_fn fn)
{
    if (tg_timer_start(client->timers, timer, delay_ms, fn) != TG_ERR_OK)
        tg__ws_client_fail(client, TG_FETCH_CLOSED, "out of memory");
}

static uint64_t now_of(const struct tg_client *client)
{
    return tg_timers_now_ms(client->timers);
}

/* --- opening -------------------------------------------------------------------------------------- */

static void on_connect_timeout(struct tg_timer *timer)
{
    struct tg_client *client = TG_CONTAINER_OF(timer, struct tg_client, deadline);
    char why[80];

    (void)snprintf(why, sizeof why, "not open after %llums (connect_timeout)",
                   (unsigned long long)client->connect_timeout_ms);
    tg__ws_client_enter(client);
    tg__ws_client_fail(client, TG_FETCH_TIMEOUT, why);
    tg__ws_client_leave(client);
}

enum tg_err tg__ws_client_start_connecting(struct tg_client *client)
{
    if (client->connect_timeout_ms == 0)
        return TG_ERR_OK;
    client->deadline_due_ms = now_of(client) + client->connect_timeout_ms;
    return tg_timer_start(client->timers, &client->deadline, client->connect_timeout_ms,
                          on_connect_timeout);
}

static void on_attempt_timeout(struct tg_timer *timer)
{
    struct tg_client *client = TG_CONTAINER_OF(timer, struct tg_client, attempt);

    if (client->state != TG__CLIENT_CONNECTING)
        return;
    tg__ws_client_enter(client);
    tg__ws_client_give_up_attempt(client);
    tg__ws_client_leave(client);
}

void tg__ws_client_start_attempt(struct tg_client *client, size_t left)
{
    uint64_t now = now_of(client);

    tg_timer_stop(client->timers, &client->attempt);
    if (left == 0 || client->connect_timeout_ms == 0 || client->deadline_due_ms <= now)
        return;
    uint64_t share = (client->deadline_due_ms - now) / (left + 1);
    start(client, &client->attempt, share < ATTEMPT_MIN_MS ? ATTEMPT_MIN_MS : share,
          on_attempt_timeout);
}

/* --- open ----------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t after(uint64_t since_ms, uint64_t span_ms)
{
    return span_ms == 0 ? NEVER : since_ms + span_ms;
}

/* When there is something to do if nothing comes until then. */
static uint64_t next_look(const struct tg_client *client)
{
    uint64_t due = NEVER;

    if (client->written_ms != 0)
        due = after(client->written_ms, client->idle_timeout_ms);
    if (client->paused) /* what comes is not seen now */
        return earlier(due, after(now_of(client), client->ping_interval_ms));
    due = earlier(due, after(client->spoke_ms, client->idle_timeout_ms));
    return earlier(due, after(client->pinged_ms != 0 ? client->pinged_ms : client->heard_ms,
                              client->ping_interval_ms));
}

/* The kernel takes what is written slowly, or not at all. */
static void look_at_writing(struct tg_client *client)
{
    size_t unwritten = tg_client_unwritten(client);

    if (client->written_ms == 0)
        return;
    if (unwritten < client->unwritten)
        client->written_ms = now_of(client);
    client->unwritten = unwritten;
    if (unwritten == 0)
        client->written_ms = 0;
}

static void send_ping(struct tg_client *client)
{
    client->pinged_ms = now_of(client);
    if (tg_wire_ping(client->wire) == TG_ERR_NOMEM)
        tg__ws_client_fail(client, TG_FETCH_CLOSED, "out of memory");
    else
        tg__ws_client_flush(client);
}

static void too_long(struct tg_client *client, const char *what, uint64_t ms)
{
    char why[80];

    (void)snprintf(why, sizeof why, "%s for %llums", what, (unsigned long long)ms);
    tg__ws_client_fail(client, TG_FETCH_TIMEOUT, why);
}

static void look(struct tg_client *client)
{
    uint64_t now = now_of(client);

    look_at_writing(client);
    if (client->heard_ms >= client->pinged_ms)
        client->pinged_ms = 0;
    if (client->written_ms != 0 && after(client->written_ms, client->idle_timeout_ms) <= now)
        too_long(client, "took nothing of what was sent", client->idle_timeout_ms);
    else if (client->paused)
        return;
    else if (after(client->spoke_ms, client->idle_timeout_ms) <= now)
        too_long(client, "sent nothing", client->idle_timeout_ms);
    else if (client->pinged_ms != 0 && after(client->pinged_ms, client->ping_interval_ms) <= now)
        too_long(client, "did not answer a ping", client->ping_interval_ms);
    else if (client->pinged_ms == 0 && after(client->heard_ms, client->ping_interval_ms) <= now)
        send_ping(client);
}

static void on_quiet(struct tg_timer *timer);

static void wait_quietly(struct tg_client *client)
{
    uint64_t due = next_look(client);
    uint64_t now = now_of(client);

    if (due != NEVER)
        start(client, &client->quiet, due > now ? due - now : 1, on_quiet);
}

static void on_quiet(struct tg_timer *timer)
{
    struct tg_client *client = TG_CONTAINER_OF(timer, struct tg_client, quiet);

    tg__ws_client_enter(client);
    look(client);
    if (client->state == TG__CLIENT_CONNECTED && tg_wire_state(client->wire) == TG_WIRE_OPEN)
        wait_quietly(client);
    tg__ws_client_leave(client);
}

void tg__ws_client_start_quiet(struct tg_client *client)
{
    tg_timer_stop(client->timers, &client->deadline);
    tg_timer_stop(client->timers, &client->attempt);
    client->heard_ms = client->spoke_ms = now_of(client);
    wait_quietly(client);
}

void tg__ws_client_note_write(struct tg_client *client)
{
    size_t unwritten = tg_client_unwritten(client);

    if (unwritten == 0)
        client->written_ms = 0;
    else if (client->written_ms == 0 || unwritten < client->unwritten)
        client->written_ms = now_of(client);
    client->unwritten = unwritten;
}

static void on_going_on(struct tg_timer *timer)
{
    struct tg_client *client = TG_CONTAINER_OF(timer, struct tg_client, going_on);

    tg__ws_client_enter(client);
    tg__ws_client_go_on(client);
    tg__ws_client_leave(client);
}

void tg__ws_client_start_silence(struct tg_client *client)
{
    client->heard_ms = client->spoke_ms = now_of(client);
    client->pinged_ms = 0;
    wait_quietly(client);
}

void tg__ws_client_start_going_on(struct tg_client *client)
{
    tg__ws_client_start_silence(client);
    start(client, &client->going_on, 0, on_going_on);
}

/* --- closing -------------------------------------------------------------------------------------- */

static void on_close_timeout(struct tg_timer *timer)
{
    struct tg_client *client = TG_CONTAINER_OF(timer, struct tg_client, deadline);

    tg__ws_client_enter(client);
    /* After a clean close only the TCP connection is left, and it counts as ended. */
    tg_wire_ended(client->wire, TG_ERR_SYS, "the server did not answer the close");
    tg__ws_client_leave(client);
}

void tg__ws_client_start_closing(struct tg_client *client, bool clean)
{
    tg_timer_stop(client->timers, &client->quiet);
    start(client, &client->deadline, clean ? END_TIMEOUT_MS : CLOSE_TIMEOUT_MS, on_close_timeout);
}

void tg__ws_client_stop_clock(struct tg_client *client)
{
    tg_timer_stop(client->timers, &client->deadline);
    tg_timer_stop(client->timers, &client->attempt);
    tg_timer_stop(client->timers, &client->quiet);
    tg_timer_stop(client->timers, &client->going_on);
}
