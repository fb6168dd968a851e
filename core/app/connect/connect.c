/* connect.c - `tidegate connect`: a WebSocket client for people.
 *
 * Puts the parts together on a loop of its own: the client (bytes), the session (what was asked and
 * what has ended), the printer and standard input. Ends when the client says that it is over.
 *
 * Two ways to work. With --send or --agent it sends those and leaves when all have ended. Without,
 * it reads lines: from a terminal until /quit, from a pipe until its end and the end of what was
 * asked. Only a person at a terminal may take longer than --timeout.
 */
#include "app/connect/connect.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "app/commands.h"
#include "app/connect/connect_input.h"
#include "app/connect/connect_options.h"
#include "app/connect/connect_print.h"
#include "app/connect/connect_session.h"
#include "app/terminal.h"
#include "base/list.h"
#include "base/memory.h"
#include "client/client.h"

struct connect {
    struct tg_connect_options options;
    uv_loop_t loop;
    uv_signal_t interrupt;
    struct tg_net *net;
    struct tg_timers *timers;
    struct tg_timer timeout;
    struct tg_client *client;
    struct tg_session *session; /* in options */
    struct tg_printer printer;
    struct tg_input *input; /* NULL: not reading */
    bool interactive;       /* a person types */
    bool input_over;        /* nothing more will be asked */
    bool left;              /* we chose to end */
    bool failed;
};

static void say(struct connect *connect, const char *text)
{
    tg_printer_flush(&connect->printer);
    fprintf(stderr, "tidegate connect: %s\n", text);
}

/* The end is ours to choose only once. */
static void leave(struct connect *connect)
{
    connect->left = true;
    tg_client_close(connect->client, 1000, "");
}

/* Sends what may be sent, and leaves when nothing is awaited any more. */
static void advance(struct connect *connect)
{
    const char *text;

    while ((text = tg_session_next(connect->session)) != NULL)
        if (tg_client_send(connect->client, true, text, strlen(text)) == TG_ERR_NOMEM)
            say(connect, tg_err_text(TG_ERR_NOMEM));
    if (connect->input_over && connect->session->ready && tg_session_ended(connect->session))
        leave(connect);
}

static void take_command(struct connect *connect, const char *line)
{
    const char *run = line + strcspn(line, " ");

    run += strspn(run, " ");
    if (strcmp(line, "/quit") == 0) {
        leave(connect);
    } else if (strncmp(line, "/cancel", 7) == 0 && (line[7] == '\0' || line[7] == ' ')) {
        if (tg_session_add_cancel(connect->session, *run == '\0' ? NULL : run) != TG_ERR_OK)
            say(connect, "no run is under way");
    } else {
        say(connect, "the commands are /cancel [RUN] and /quit");
    }
}

static void on_line(void *ctx, const char *line)
{
    struct connect *connect = ctx;
    struct tg_error error;

    if (!connect->options.session.plain && line[0] == '/') {
        take_command(connect, line);
    } else if (!connect->options.session.plain && line[0] != '{') {
        tg_session_add_agent(connect->session, connect->options.agent, line);
    } else if (tg_session_add_text(connect->session, line, &error) != TG_ERR_OK) {
        say(connect, error.text);
        connect->failed = connect->failed || !connect->interactive;
    }
    advance(connect);
}

static void on_input_end(void *ctx)
{
    struct connect *connect = ctx;

    connect->input_over = true;
    if (connect->interactive)
        leave(connect);
    else
        advance(connect);
}

static void start_input(struct connect *connect)
{
    static const struct tg_input_callbacks callbacks = {on_line, on_input_end};

    if (connect->input != NULL || connect->input_over)
        return;
    if (tg_input_start(&connect->input, &connect->loop, &callbacks, connect) != TG_ERR_OK) {
        say(connect, "standard input cannot be read");
        connect->input_over = true;
    }
}

static void on_open(void *ctx)
{
    struct connect *connect = ctx;

    if (connect->session->plain)
        connect->session->ready = true;
    start_input(connect);
    advance(connect);
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
    struct connect *connect = ctx;
    struct tg_json_value value;
    bool was_ready = connect->session->ready;
    bool json = text && !connect->session->plain &&
                tg_json_parse((const char *)data, len, &value, NULL) == TG_ERR_OK;

    tg_printer_message(&connect->printer, text, data, len, json ? &value : NULL);
    tg_session_take(connect->session, json ? &value : NULL);
    if (!was_ready && connect->session->ready && connect->interactive)
        tg_printer_note(&connect->printer,
                        "type a message; /cancel stops a run, /quit ends; a line that starts with "
                        "{ is sent as it is");
    advance(connect);
}

static void print_refusal(const struct tg_client_end *end)
{
    fprintf(stderr, "tidegate connect: refused with HTTP %d %s%s%s%s\n", end->status, end->reason,
            end->connection_id == NULL ? "" : " (connection ",
            end->connection_id == NULL ? "" : end->connection_id,
            end->connection_id == NULL ? "" : ")");
    if (end->body == NULL)
        return;
    const uint8_t *body = tg_buffer_head(end->body);
    size_t len = end->body->len;
    while (len > 0 && (body[len - 1] == '\n' || body[len - 1] == '\r'))
        len--;
    if (len == 0)
        return;
    /* The printer drops control characters. */
    struct tg_printer printer = {.out = stderr, .form = TG_PRINT_EVENTS, .plain = true};
    tg_printer_message(&printer, true, body, len, NULL);
}

static void on_end(void *ctx, const struct tg_client_end *end)
{
    struct connect *connect = ctx;
    bool expected = connect->left || (connect->interactive && end->code == 1000);

    tg_printer_flush(&connect->printer);
    tg_timer_stop(connect->timers, &connect->timeout);
    tg_input_stop(connect->input);
    uv_close((uv_handle_t *)&connect->interrupt, NULL);
    if (expected)
        return;
    connect->failed = true;
    if (end->status != 0)
        print_refusal(end);
    else if (end->code != 0)
        fprintf(stderr, "tidegate connect: closed by the server: %d%s%s\n", end->code,
                end->reason[0] == '\0' ? "" : " ", end->reason);
    else
        fprintf(stderr, "tidegate connect: %s\n", end->reason);
}

static void on_timeout(struct tg_timer *timer)
{
    struct connect *connect = TG_CONTAINER_OF(timer, struct connect, timeout);
    char waiting[64];

    tg_session_waiting(connect->session, waiting, sizeof waiting);
    tg_printer_flush(&connect->printer);
    if (connect->session->ready && tg_session_ended(connect->session))
        fprintf(stderr, "tidegate connect: the time is over (--timeout)\n");
    else
        fprintf(stderr, "tidegate connect: no %s in time (--timeout)\n", waiting);
    connect->failed = true;
    leave(connect);
}

static void on_interrupt(uv_signal_t *handle, int number)
{
    struct connect *connect = handle->data;

    if (connect->left)
        _exit(128 + number); /* the second time somebody means it */
    connect->failed = connect->failed || !tg_session_ended(connect->session);
    leave(connect);
}

static void set_up(struct connect *connect)
{
    connect->session = &connect->options.session;
    connect->input_over = connect->session->count > 0;
    connect->interactive = !connect->input_over && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    connect->printer = (struct tg_printer){
        .out = stdout,
        .form = isatty(STDOUT_FILENO) ? TG_PRINT_EVENTS : TG_PRINT_LINES,
        .colour = tg_terminal_wants_colour(),
        .plain = connect->session->plain,
    };
    (void)uv_signal_init(&connect->loop, &connect->interrupt);
    connect->interrupt.data = connect;
    (void)uv_signal_start(&connect->interrupt, on_interrupt, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN); /* a server that goes away is told by write */
}

/* Runs until the client is over; on_end has closed all other handles by then. */
static void serve(struct connect *connect, struct tg_tls_config *tls)
{
    static const struct tg_client_callbacks callbacks = {on_open, on_message, NULL, on_end};
    struct tg_client_options options = {
        .url = &connect->options.url,
        .headers = connect->options.headers.len == 0
                       ? ""
                       : (const char *)tg_buffer_head(&connect->options.headers),
        .subprotocol = connect->session->plain ? NULL : "tidegate.v1",
        .compress = connect->options.compress,
        .tls = tls,
    };
    enum tg_err err = tg_client_create(&connect->client, connect->net, connect->timers, &options,
                                       &callbacks, connect);

    if (err == TG_ERR_OK && !connect->interactive)
        err = tg_timer_start(connect->timers, &connect->timeout, connect->options.timeout_ms,
                             on_timeout);
    if (err != TG_ERR_OK) {
        say(connect, tg_err_text(err));
        connect->failed = true;
        uv_close((uv_handle_t *)&connect->interrupt, NULL);
    }
    while (!uv_is_closing((uv_handle_t *)&connect->interrupt))
        uv_run(&connect->loop, UV_RUN_ONCE);
}

/* NULL for ws://. False: what is wrong has been said. */
static bool make_tls(const struct tg_connect_options *options, struct tg_tls_config **out)
{
    struct tg_error error;

    if (!options->url.secure)
        return true;
    if (options->tls.insecure)
        fprintf(stderr, "tidegate connect: the server's certificate is not checked (--insecure)\n");
    if (tg_tls_config_create_client(out, &options->tls, &error) == TG_ERR_OK)
        return true;
    fprintf(stderr, "tidegate connect: %s\n", error.text);
    return false;
}

int tg_command_connect(int argc, char **argv)
{
    struct connect connect = {0};
    struct tg_tls_config *tls = NULL;
    struct tg_error error;
    int status;

    if (tg_connect_options_parse(argc, argv, &connect.options, &error) != TG_ERR_OK) {
        tg_connect_options_fini(&connect.options);
        return tg_command_usage_error(argv[0], error.text);
    }
    if (!make_tls(&connect.options, &tls)) {
        tg_connect_options_fini(&connect.options);
        return TG_EXIT_FAILED;
    }
    if (uv_loop_init(&connect.loop) != 0 ||
        tg_net_create(&connect.net, &connect.loop) != TG_ERR_OK ||
        tg_timers_create(&connect.timers, &connect.loop) != TG_ERR_OK) {
        fprintf(stderr, "tidegate connect: the event loop does not start\n");
        return TG_EXIT_FAILED;
    }
    set_up(&connect);
    serve(&connect, tls);
    tg_tls_config_release(tls);
    tg_timers_destroy(connect.timers);
    tg_net_destroy(connect.net);
    uv_run(&connect.loop, UV_RUN_DEFAULT);
    status = connect.failed || connect.session->failed ? TG_EXIT_FAILED : TG_EXIT_OK;
    if (connect.interactive && connect.left)
        status = TG_EXIT_OK;
    tg_input_destroy(connect.input);
    tg_client_destroy(connect.client);
    tg_printer_fini(&connect.printer);
    (void)uv_loop_close(&connect.loop);
    tg_connect_options_fini(&connect.options);
    return status;
}
