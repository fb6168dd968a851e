/* repl_client.c - the one client of the prompt: what it sends, and what it sees. */
#include <stdio.h>
#include <string.h>

#include "app/repl/repl_internal.h"
#include "app/terminal.h"
#include "base/clock.h"
#include "base/json_reader.h"

void tg__repl_say(struct tg__repl *repl, const char *text)
{
    tg_printer_flush(&repl->printer);
    (void)fflush(stdout);
    (void)fputs("tidegate repl: ", stderr);
    tg_terminal_write(stderr, text, strlen(text));
    (void)fputc('\n', stderr);
}

void tg__repl_complain(struct tg__repl *repl, const char *text)
{
    tg__repl_say(repl, text);
    repl->failed = true;
}

/* The first line of an answer's body; returns its length. */
static int first_line(const struct tg_buffer *body, const char **line)
{
    *line = "";
    if (body == NULL || body->len == 0)
        return 0;
    *line = (const char *)tg_buffer_head(body);
    const char *end = memchr(*line, '\n', body->len);
    return (int)(end == NULL ? body->len : (size_t)(end - *line));
}

static void tell_end(struct tg__repl *repl, const struct tg_sim_facts *facts)
{
    char text[512];
    const char *why;

    repl->end_told = true;
    if (facts->status != 0 && facts->status != 101) {
        int len = first_line(facts->body, &why);
        (void)snprintf(text, sizeof text, "refused with HTTP %d: %.*s", facts->status, len, why);
    } else {
        (void)snprintf(text, sizeof text, "the connection is over: %d %s", facts->close_code,
                       facts->close_reason == NULL ? "" : facts->close_reason);
    }
    if (repl->left || facts->close_code == 1000)
        tg__repl_say(repl, text);
    else
        tg__repl_complain(repl, text);
}

static void show_messages(struct tg__repl *repl)
{
    struct tg_buffer data = TG_BUFFER_INIT;
    struct tg_json_value value;
    bool text;

    while (tg_sim_client_take(repl->sim, repl->client, &text, &data)) {
        const char *bytes = data.len == 0 ? "" : (const char *)tg_buffer_head(&data);
        bool json = text && !repl->session.plain &&
                    tg_json_parse(bytes, data.len, &value, NULL) == TG_ERR_OK;
        tg_printer_message(&repl->printer, text, (const uint8_t *)bytes, data.len,
                           json ? &value : NULL);
        tg_session_take(&repl->session, json ? &value : NULL);
        repl->session.ready = true;
        tg_buffer_clear(&data);
    }
    tg_buffer_fini(&data);
}

void tg__repl_show_news(struct tg__repl *repl)
{
    struct tg_sim_facts facts;

    if (repl->client == 0)
        return;
    show_messages(repl);
    tg_sim_client_facts(repl->sim, repl->client, &facts);
    if (facts.over && !repl->end_told)
        tell_end(repl, &facts);
}

static void open_connection(struct tg__repl *repl, const struct tg_repl_connect *connect)
{
    struct tg_error error;
    struct tg_sim_connect options = {
        .target = connect->target,
        .headers = connect->headers.len == 0 ? "" : (const char *)tg_buffer_head(&connect->headers),
        .subprotocols = repl->session.plain ? NULL : "tidegate.v1",
        .remote = connect->remote[0] == '\0' ? NULL : connect->remote,
    };
    struct tg_sim_facts facts;

    if (repl->client != 0)
        (void)tg_sim_client_close(repl->sim, repl->client, 1000, "");
    if (tg_sim_connect(repl->sim, &options, &repl->client, &error) != TG_ERR_OK) {
        tg__repl_complain(repl, error.text);
        return;
    }
    repl->end_told = false;
    repl->left = false;
    tg_sim_client_facts(repl->sim, repl->client, &facts);
    repl->serial = facts.serial;
}

/* words: one after the other, each with a NUL. */
void tg__repl_connect_with(struct tg__repl *repl, const char *words, size_t len)
{
    struct tg_repl_connect connect = {.target = "/"};
    struct tg_error error;
    enum tg_err err = TG_ERR_OK;

    for (const char *word = words; err == TG_ERR_OK && word < words + len;
         word += strlen(word) + 1) {
        if (word[0] != '\0')
            err = tg_repl_connect_add(&connect, word, &error);
    }
    if (err == TG_ERR_OK && connect.headers.len > 0)
        err = tg_buffer_append(&connect.headers, "", 1);
    if (err == TG_ERR_OK)
        open_connection(repl, &connect);
    else
        tg__repl_complain(repl, error.text);
    tg_buffer_fini(&connect.headers);
}

void tg__repl_send_all(struct tg__repl *repl)
{
    const char *text;

    repl->session.ready = true; /* the core keeps what comes too early */
    while ((text = tg_session_next(&repl->session)) != NULL) {
        if (!tg_sim_client_send(repl->sim, repl->client, true, text, strlen(text)))
            tg__repl_complain(repl, "there is no open connection; /connect makes one");
    }
}

void tg__repl_show_state(struct tg__repl *repl)
{
    struct tg_sim_facts facts;
    struct tg_transition move;
    char at[TG_CLOCK_RFC3339_SIZE];

    tg_sim_client_facts(repl->sim, repl->client, &facts);
    (void)printf("%s id=%s user_id=%s policy=%s\n", facts.state,
                 facts.id[0] == '\0' ? "-" : facts.id, facts.user_id == NULL ? "-" : facts.user_id,
                 tg_sim_version(repl->sim));
    for (size_t i = 0;
         facts.lifecycle != NULL && tg_lifecycle_transition(facts.lifecycle, i, &move); i++) {
        tg_clock_rfc3339(move.at_ms, at);
        (void)printf("  %s  %s -> %s  %s\n", at, tg_state_names[move.from], tg_state_names[move.to],
                     move.reason);
    }
    (void)fflush(stdout);
}
