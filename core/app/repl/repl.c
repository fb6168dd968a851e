/* repl.c - `tidegate repl`: a policy, one client and a prompt, in one process without sockets.
 *
 *   line ─> queue ─[nothing is under way, or a person types]─> message, command or Lua
 *                                                               └─> live simulation ─> printer
 *
 * A live simulation: scripts wait and fetch as they do in a server. From a pipe the next line is taken when
 * everything that the last one set off has ended, so what is printed comes in the order of the lines.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/repl/repl_internal.h"
#include "app/terminal.h"
#include "base/log.h"
#include "base/memory.h"
#include "script/eval.h"

static const char help_text[] =
    "a text            a message to the agent\n"
    "{\"type\": …}       sent as it is\n"
    "= LUA             an expression or statements, with conn, policy and tide\n"
    "/connect [N=V…]   another client: path= query= bearer= header=NAME:VALUE origin= remote=\n"
    "/close [CODE]     ends the connection in order; /drop loses it\n"
    "/cancel RUN       cancels a run\n"
    "/state            where the connection is, and how it got there\n"
    "/session          conn.session; /identity and /context likewise\n"
    "/reload           takes the policy anew (done by itself when a file has changed)\n"
    "/help, /quit\n";

/* --- the policy ------------------------------------------------------------------------------------ */

/* False: it did not load, which has been said. */
static bool load(struct tg__repl *repl, struct tg_source *source)
{
    struct tg_error error;
    char text[80];

    tg_source_release(repl->source);
    repl->source = source;
    if (tg_sim_load(repl->sim, source, &error) != TG_ERR_OK) {
        tg__repl_complain(repl, error.text);
        return false;
    }
    repl->session.plain = tg_host_hook_defined(tg_sim_host(repl->sim), TG_HOOK_TEXT);
    repl->printer.plain = repl->session.plain;
    (void)snprintf(text, sizeof text, "policy %s", tg_sim_version(repl->sim));
    if (repl->interactive)
        tg__repl_say(repl, text);
    return true;
}

static void reload(struct tg__repl *repl, bool always)
{
    struct tg_source *fresh;
    struct tg_error error;

    if (tg_source_read(&fresh, repl->path, &error) != TG_ERR_OK) {
        if (always)
            tg__repl_complain(repl, error.text);
        return;
    }
    if (always || !tg_source_equals(fresh, repl->source))
        (void)load(repl, fresh);
    else
        tg_source_release(fresh);
}

/* --- lines ------------------------------------------------------------------------------------------ */

static void on_value(void *ctx, bool ok, const char *text)
{
    struct tg__repl *repl = ctx;

    tg_printer_flush(&repl->printer);
    if (ok)
        tg_terminal_write(stdout, text, strlen(text));
    else
        tg__repl_complain(repl, text);
    (void)fflush(stdout);
}

static void evaluate(struct tg__repl *repl, const char *lua)
{
    enum tg_err err = tg_host_eval(tg_sim_host(repl->sim), repl->serial, lua, on_value, repl);

    if (err != TG_ERR_OK)
        tg__repl_complain(repl, err == TG_ERR_NOT_FOUND ? "no policy is loaded" : tg_err_text(err));
}

static void cancel_run(struct tg__repl *repl, const char *run)
{
    if (tg_session_add_cancel(&repl->session, *run == '\0' ? NULL : run) != TG_ERR_OK)
        tg__repl_complain(repl, "no run is under way");
    else
        tg__repl_send_all(repl);
}

static void close_connection(struct tg__repl *repl, const char *code)
{
    repl->left = true;
    if (!tg_sim_client_close(repl->sim, repl->client, *code == '\0' ? 1000 : atoi(code), ""))
        tg__repl_complain(repl, "there is no open connection");
}

static bool is_command(const char *line, const char *name)
{
    size_t len = strcspn(line, " ");

    return strlen(name) == len && strncmp(line, name, len) == 0;
}

static void take_command(struct tg__repl *repl, char *line)
{
    char *rest = line + strcspn(line, " ");
    size_t len;

    rest += strspn(rest, " ");
    if (is_command(line, "/quit")) {
        repl->over = true;
    } else if (is_command(line, "/help")) {
        (void)fputs(help_text, stdout);
        (void)fflush(stdout);
    } else if (is_command(line, "/connect")) {
        len = strlen(rest);
        for (size_t i = 0; i < len; i++)
            rest[i] = rest[i] == ' ' ? '\0' : rest[i];
        tg__repl_connect_with(repl, rest, len);
    } else if (is_command(line, "/close")) {
        close_connection(repl, rest);
    } else if (is_command(line, "/drop")) {
        repl->left = true;
        tg_sim_client_drop(repl->sim, repl->client);
    } else if (is_command(line, "/cancel")) {
        cancel_run(repl, rest);
    } else if (is_command(line, "/state")) {
        tg__repl_show_state(repl);
    } else if (is_command(line, "/session")) {
        evaluate(repl, "conn and conn.session");
    } else if (is_command(line, "/identity")) {
        evaluate(repl, "conn and conn.identity");
    } else if (is_command(line, "/context")) {
        evaluate(repl, "conn and conn.context");
    } else if (is_command(line, "/reload")) {
        reload(repl, true);
    } else {
        tg__repl_complain(repl, "there is no such command; see /help");
    }
}

/* Everything but these is about a client. */
static bool needs_client(const char *line)
{
    return line[0] != '=' && !is_command(line, "/reload") && !is_command(line, "/connect") &&
           !is_command(line, "/help") && !is_command(line, "/quit");
}

static void take_line(struct tg__repl *repl, char *line)
{
    struct tg_error error;

    if (!is_command(line, "/reload"))
        reload(repl, false);
    if (repl->client == 0 && needs_client(line)) {
        tg__repl_complain(repl, "there is no connection; /connect makes one");
    } else if (line[0] == '/') {
        take_command(repl, line);
    } else if (line[0] == '=') {
        evaluate(repl, line + 1);
    } else if (line[0] == '{' || repl->session.plain) {
        if (tg_session_add_text(&repl->session, line, &error) == TG_ERR_OK)
            tg__repl_send_all(repl);
        else
            tg__repl_complain(repl, error.text);
    } else {
        tg_session_add_agent(&repl->session, repl->options.agent, line);
        tg__repl_send_all(repl);
    }
}

static void on_again(uv_idle_t *handle)
{
    (void)handle;
}

static void on_turn(void *ctx)
{
    struct tg__repl *repl = ctx;
    struct tg_list *node = tg_list_first(&repl->lines);

    tg__repl_show_news(repl);
    (void)uv_idle_stop(&repl->again);
    if (repl->over || (!repl->interactive && tg_host_is_busy(tg_sim_host(repl->sim))))
        return;
    if (node == NULL) {
        repl->over = repl->input_over;
    } else {
        struct tg__repl_line *line = TG_CONTAINER_OF(node, struct tg__repl_line, node);
        tg_list_remove(node);
        take_line(repl, line->text);
        tg_free(line);
    }
    if (node != NULL || repl->over)
        (void)uv_idle_start(&repl->again, on_again);
}

static void on_line(void *ctx, const char *text)
{
    struct tg__repl *repl = ctx;
    size_t len = strlen(text);
    struct tg__repl_line *line = tg_xcalloc(1, sizeof *line + len + 1);

    memcpy(line->text, text, len + 1);
    tg_list_push(&repl->lines, &line->node);
}

static void on_input_end(void *ctx)
{
    struct tg__repl *repl = ctx;

    repl->input_over = true;
}

/* --- life ------------------------------------------------------------------------------------------- */

static enum tg_err start(struct tg__repl *repl, struct tg_error *error)
{
    static const struct tg_input_callbacks callbacks = {on_line, on_input_end};
    struct tg_sim_live live = {.on_turn = on_turn, .ctx = repl};
    enum tg_err err;

    tg_list_init(&repl->lines);
    repl->interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    repl->printer = (struct tg_printer){
        .out = stdout,
        .form = isatty(STDOUT_FILENO) ? TG_PRINT_EVENTS : TG_PRINT_LINES,
        .colour = tg_terminal_wants_colour(),
    };
    repl->path = tg_xstrdup(repl->options.config.policy);
    tg_log_configure(repl->options.config.log_level, repl->options.config.log_format);
    err = tg_source_read(&repl->source, repl->path, error);
    if (err == TG_ERR_OK)
        err = tg_sim_create_live(&repl->sim, &repl->options.config, &live, error);
    if (err != TG_ERR_OK)
        return err;
    (void)uv_idle_init(tg_sim_loop(repl->sim), &repl->again);
    repl->again.data = repl;
    return tg_input_start(&repl->input, tg_sim_loop(repl->sim), &callbacks, repl);
}

static void stop(struct tg__repl *repl)
{
    TG_LIST_EACH (node, next, &repl->lines) {
        tg_list_remove(node);
        tg_free(TG_CONTAINER_OF(node, struct tg__repl_line, node));
    }
    tg_input_stop(repl->input);
    if (repl->again.data != NULL)
        uv_close((uv_handle_t *)&repl->again, NULL);
    tg_sim_destroy(repl->sim);
    tg_input_destroy(repl->input);
    tg_printer_flush(&repl->printer);
    tg_printer_fini(&repl->printer);
    tg_session_fini(&repl->session);
    tg_source_release(repl->source);
    tg_free(repl->path);
}

static void serve(struct tg__repl *repl)
{
    struct tg_source *source = tg_source_retain(repl->source);
    const struct tg_buffer *words = &repl->options.connect;

    if (load(repl, source)) {
        tg__repl_connect_with(repl, words->len == 0 ? "" : (const char *)tg_buffer_head(words),
                              words->len);
    } else if (!repl->interactive) {
        return;
    }
    if (repl->interactive)
        tg__repl_say(repl, "type a message, or /help");
    (void)uv_idle_start(&repl->again, on_again);
    while (!repl->over)
        (void)uv_run(tg_sim_loop(repl->sim), UV_RUN_ONCE);
}

int tg_command_repl(int argc, char **argv)
{
    struct tg__repl repl = {.over = false};
    struct tg_error error = {.code = TG_ERR_OK};
    int status = TG_EXIT_FAILED;

    if (tg_repl_options_parse(argc, argv, &repl.options, &error) != TG_ERR_OK) {
        status = tg_command_usage_error(argv[0], error.text);
    } else {
        if (start(&repl, &error) == TG_ERR_OK) {
            serve(&repl);
            status = repl.failed && !repl.interactive ? TG_EXIT_FAILED : TG_EXIT_OK;
        } else {
            (void)fprintf(stderr, "tidegate repl: %s\n", error.text);
        }
        stop(&repl);
    }
    tg_repl_options_fini(&repl.options);
    return status;
}
