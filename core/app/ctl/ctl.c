/* ctl.c - `tidegate ctl`: one question to a running server, and its answer for people.
 *
 * Exit status: 0 it did; 1 the server said no, and why is on standard error; 2 called in a wrong way; 3
 * there is no such server.
 */
#include <stdio.h>

#include "app/commands.h"
#include "app/ctl/ctl_fetch.h"
#include "app/ctl/ctl_options.h"
#include "app/ctl/ctl_print.h"
#include "app/ctl/ctl_request.h"
#include "app/terminal.h"

static const char *text_of(const struct tg_buffer *buffer)
{
    return (const char *)tg_buffer_head(buffer);
}

static int unreachable(const struct tg_ctl_request *request, const char *why)
{
    (void)fprintf(
        stderr,
        "tidegate ctl: no answer from %s: %s\n"
        "Does the server run, and is that its admin listener? `tidegate run` prints it as "
        "`admin http://…`; --admin, TIDEGATE_ADMIN or --config FILE name it here.\n",
        text_of(&request->address), why);
    return TG_EXIT_UNREACHABLE;
}

static void show(const struct tg_ctl_options *options, const struct tg_ctl_answer *answer,
                 const struct tg_json_value *document)
{
    if (document != NULL && !options->json) {
        tg_ctl_print(options->action->what, document, stdout, tg_terminal_wants_colour());
        return;
    }
    if (answer->body.len > 0)
        (void)fwrite(tg_buffer_head(&answer->body), 1, answer->body.len, stdout);
    if (answer->body.len > 0 && text_of(&answer->body)[answer->body.len - 1] != '\n')
        (void)fputc('\n', stdout);
}

/* An answer that is no: {"error": {"code", "message"}}. */
static int refused(const struct tg_ctl_options *options, const struct tg_ctl_answer *answer,
                   const struct tg_json_value *message)
{
    struct tg_buffer text = TG_BUFFER_INIT;
    if (options->json)
        show(options, answer, NULL);
    (void)fputs("tidegate ctl: ", stderr);
    if (tg_json_decode_string(message, &text) == TG_ERR_OK)
        tg_terminal_write(stderr, text_of(&text), text.len);
    (void)fputc('\n', stderr);
    if (answer->status == 401)
        (void)fputs("The token is the server's admin_token; give it in TIDEGATE_ADMIN_TOKEN.\n",
                    stderr);
    tg_buffer_fini(&text);
    return TG_EXIT_FAILED;
}

static int take_answer(const struct tg_ctl_options *options, const struct tg_ctl_request *request,
                       const struct tg_ctl_answer *answer)
{
    bool good = answer->status >= 200 && answer->status < 300;
    struct tg_json_value document;
    if (options->action->what == TG_CTL_METRICS && good) {
        show(options, answer, NULL);
        return TG_EXIT_OK;
    }
    if (answer->body.len == 0 ||
        tg_json_parse(text_of(&answer->body), answer->body.len, &document, NULL) != TG_ERR_OK ||
        document.kind != TG_JSON_OBJECT)
        return unreachable(request, "what listens there is no admin interface of tidegate");
    struct tg_json_value error = tg_json_member(&document, "error");
    struct tg_json_value message = tg_json_member(&error, "message");
    if (message.kind == TG_JSON_STRING)
        return refused(options, answer, &message);
    /* A server that is draining tells of its health with 503. */
    if (!good && options->action->what != TG_CTL_STATUS)
        return unreachable(request, "what listens there is no admin interface of tidegate");
    show(options, answer, &document);
    return TG_EXIT_OK;
}

static int ask(const struct tg_ctl_options *options, const struct tg_ctl_request *request)
{
    struct tg_ctl_answer answer = {.status = 0};
    struct tg_error error;
    int status = tg_ctl_fetch(request, &answer, &error) == TG_ERR_OK
                     ? take_answer(options, request, &answer)
                     : unreachable(request, error.text);
    tg_buffer_fini(&answer.body);
    return status;
}

int tg_command_ctl(int argc, char **argv)
{
    struct tg_ctl_options options;
    struct tg_ctl_request request = {.method = NULL};
    struct tg_error error = {0};
    int status;
    if (tg_ctl_options_parse(argc, argv, &options, &error) != TG_ERR_OK ||
        tg_ctl_request_make(&options, &request, &error) != TG_ERR_OK)
        status = tg_command_usage_error(argv[0], error.text);
    else
        status = ask(&options, &request);
    tg_ctl_request_fini(&request);
    return status;
}
