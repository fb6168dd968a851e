/* connect_options.c - the command line of `tidegate connect`. */
#include "app/connect/connect_options.h"

#include <ctype.h>
#include <string.h>

#include "app/connect/connect.h"
#include "base/units.h"

enum {
    FLAG_BEARER,
    FLAG_HEADER,
    FLAG_SEND,
    FLAG_AGENT,
    FLAG_PLAIN,
    FLAG_COMPRESS,
    FLAG_TIMEOUT,
    FLAG_CACERT,
    FLAG_CERT,
    FLAG_KEY,
    FLAG_INSECURE
};

const struct tg_flag tg_connect_flags[] = {
    {FLAG_BEARER, "bearer", "TOKEN", 1, "Sends `Authorization: Bearer TOKEN`. Never printed."},
    {FLAG_HEADER, "header", "NAME:VALUE", 1, "Adds a header. May be given several times."},
    {FLAG_SEND, "send", "JSON", 1,
     "Sends a message and waits for what ends it. May be given several times."},
    {FLAG_AGENT, "agent", "NAME [MESSAGE]", 2,
     "Gives an agent a message and waits until its run has ended. May be given several times. "
     "Without MESSAGE: the agent that lines from standard input go to."},
    {FLAG_PLAIN, "plain", NULL, 0,
     "For servers that speak text of their own: sends text as it is, without waiting for "
     "connection_ready, and ends after as many answers."},
    {FLAG_COMPRESS, "compress", NULL, 0,
     "Offers to compress messages (permessage-deflate); the server may decline."},
    {FLAG_TIMEOUT, "timeout", "DURATION", 1,
     "How long all of it may take, such as 5s (default 60s; no limit for a person at a "
     "terminal)."},
    {FLAG_CACERT, "cacert", "FILE", 1,
     "CAs (PEM) that a wss:// server's certificate must come from (default: the system's)."},
    {FLAG_CERT, "cert", "FILE", 1, "A certificate (PEM) for servers that ask for one; with --key."},
    {FLAG_KEY, "key", "FILE", 1, "Its private key."},
    {FLAG_INSECURE, "insecure", NULL, 0,
     "Does not check the certificate of a wss:// server. For trying things out only."},
    {0},
};

#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"
#define TOKEN_CHARACTERS "!#$%&'*+-.^_`|~"

/* What the flags and words go to. */
struct line {
    struct tg_connect_options *out;
    bool has_url;
};

/* `name` and `value` as one header line; nothing may break out of it. */
static enum tg_err add_header(struct tg_buffer *headers, const char *name, size_t name_len,
                              const char *value, struct tg_error *error)
{
    static const char *const taken[] = {"host",
                                        "upgrade",
                                        "connection",
                                        "sec-websocket-key",
                                        "sec-websocket-version",
                                        "content-length",
                                        "sec-websocket-extensions"};

    for (size_t i = 0; i < name_len; i++) {
        if (!isalnum((unsigned char)name[i]) && strchr(TOKEN_CHARACTERS, name[i]) == NULL)
            return tg_error_set(error, TG_ERR_INVALID,
                                "--header: a header name has letters, digits and dashes");
    }
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        if (strlen(taken[i]) == name_len && strncasecmp(taken[i], name, name_len) == 0)
            return tg_error_set(error, TG_ERR_INVALID, "--header: %s is set by the handshake",
                                taken[i]);
    }
    for (const char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' && *c != '\t')
            return tg_error_set(error, TG_ERR_INVALID,
                                "a header value cannot hold control characters");
    }
    if (headers->len > 0)
        headers->len--; /* the NUL */
    enum tg_err err = tg_buffer_printf(headers, "%.*s: %s\r\n", (int)name_len, name, value);
    return err != TG_ERR_OK ? err : tg_buffer_append(headers, "", 1);
}

static enum tg_err take_header(struct tg_connect_options *out, const char *line,
                               struct tg_error *error)
{
    const char *colon = strchr(line, ':');

    if (colon == NULL || colon == line)
        return tg_error_set(error, TG_ERR_INVALID, "--header needs NAME:VALUE");
    return add_header(&out->headers, line, (size_t)(colon - line),
                      colon + 1 + strspn(colon + 1, " \t"), error);
}

static enum tg_err take_bearer(struct tg_connect_options *out, const char *token,
                               struct tg_error *error)
{
    char prefix[] = "Authorization";
    struct tg_buffer value = TG_BUFFER_INIT;
    enum tg_err err;

    if (token[0] == '\0' || strpbrk(token, " \t") != NULL)
        return tg_error_set(error, TG_ERR_INVALID, "--bearer: a token is one word");
    err = tg_buffer_printf(&value, "Bearer %s", token);
    if (err == TG_ERR_OK)
        err = tg_buffer_append(&value, "", 1);
    if (err == TG_ERR_OK)
        err = add_header(&out->headers, prefix, strlen(prefix),
                         (const char *)tg_buffer_head(&value), error);
    tg_buffer_fini(&value);
    return err;
}

static enum tg_err take_send(struct tg_connect_options *out, const char *text,
                             struct tg_error *error)
{
    struct tg_error detail;
    enum tg_err err = tg_session_add_text(&out->session, text, &detail);

    return err == TG_ERR_OK ? err : tg_error_set(error, err, "--send: %s", detail.text);
}

static enum tg_err take_flag(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct line *line = ctx;
    struct tg_connect_options *out = line->out;
    struct tg_error detail;

    switch (args->flag->id) {
    case FLAG_BEARER:
        return take_bearer(out, args->values[0], error);
    case FLAG_HEADER:
        return take_header(out, args->values[0], error);
    case FLAG_SEND:
        return take_send(out, args->values[0], error);
    case FLAG_AGENT:
        if (out->session.plain)
            return tg_error_set(error, TG_ERR_INVALID, "--agent and --plain exclude each other");
        if (args->values[1] == NULL)
            out->agent = args->values[0];
        else
            tg_session_add_agent(&out->session, args->values[0], args->values[1]);
        return TG_ERR_OK;
    case FLAG_COMPRESS:
        out->compress = true;
        return TG_ERR_OK;
    case FLAG_TIMEOUT:
        if (tg_duration_parse(args->values[0], &out->timeout_ms, &detail) != TG_ERR_OK)
            return tg_error_set(error, TG_ERR_INVALID, "--timeout: %s", detail.text);
        return TG_ERR_OK;
    case FLAG_CACERT:
        out->tls.ca = args->values[0];
        return TG_ERR_OK;
    case FLAG_CERT:
        out->tls.certificate = args->values[0];
        return TG_ERR_OK;
    case FLAG_KEY:
        out->tls.key = args->values[0];
        return TG_ERR_OK;
    case FLAG_INSECURE:
        out->tls.insecure = true;
        return TG_ERR_OK;
    default:
        return TG_ERR_OK; /* --plain has been seen before the others */
    }
}

static enum tg_err take_word(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct line *line = ctx;

    if (line->has_url)
        return tg_error_set(error, TG_ERR_INVALID, "one URL at a time");
    line->has_url = true;
    return tg_ws_url_parse(args->values[0], &line->out->url, error);
}

static enum tg_err check_tls(struct tg_connect_options *out, struct tg_error *error)
{
    struct tg_tls_client_options *tls = &out->tls;

    if (!out->url.secure &&
        (tls->ca != NULL || tls->certificate != NULL || tls->key != NULL || tls->insecure))
        return tg_error_set(error, TG_ERR_INVALID,
                            "--cacert, --cert, --key and --insecure are for wss:// servers");
    if ((tls->certificate == NULL) != (tls->key == NULL))
        return tg_error_set(error, TG_ERR_INVALID, "--cert and --key go together");
    if (tls->insecure && tls->ca != NULL)
        return tg_error_set(error, TG_ERR_INVALID, "--cacert and --insecure exclude each other");
    if (tls->ca == NULL)
        tls->ca = SYSTEM_CA;
    return TG_ERR_OK;
}

/* --plain changes what --send means, wherever it stands. */
static bool is_plain(int argc, char **argv)
{
    struct tg_arguments args = tg_arguments_on(argc, argv, tg_connect_flags);
    enum tg_argument found;

    while ((found = tg_arguments_next(&args, NULL)) != TG_ARGUMENT_END) {
        if (found == TG_ARGUMENT_FLAG && args.flag->id == FLAG_PLAIN)
            return true;
    }
    return false;
}

enum tg_err tg_connect_options_parse(int argc, char **argv, struct tg_connect_options *out,
                                     struct tg_error *error)
{
    static const struct tg_arguments_reader reader = {tg_connect_flags, take_flag, take_word};
    struct line line = {.out = out};
    enum tg_err err;

    *out = (struct tg_connect_options){.timeout_ms = 60000};
    out->session.plain = is_plain(argc, argv);
    err = tg_arguments_read(argc, argv, &reader, &line, error);
    if (err == TG_ERR_OK && !line.has_url)
        err = tg_error_set(error, TG_ERR_INVALID,
                           "which server? Give a URL such as ws://127.0.0.1:8080/");
    return err == TG_ERR_OK ? check_tls(out, error) : err;
}

void tg_connect_options_fini(struct tg_connect_options *options)
{
    tg_session_fini(&options->session);
    tg_buffer_fini(&options->headers);
}
