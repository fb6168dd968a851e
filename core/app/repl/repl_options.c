/* repl_options.c - see repl_options.h. */
#include "app/repl/repl_options.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/config_sources.h"
#include "app/run_options.h"

enum { FLAG_CONFIG, FLAG_SET, FLAG_BEARER, FLAG_HEADER, FLAG_AGENT, FLAG_LOG_LEVEL };

const struct tg_flag tg_repl_flags[] = {
    {FLAG_CONFIG, "config", "FILE", 1, "Configuration: a Lua file that returns a table."},
    {FLAG_SET, "set", "KEY=VALUE", 1, "Sets any configuration key. May be given several times."},
    {FLAG_BEARER, "bearer", "TOKEN", 1, "The client sends `Authorization: Bearer TOKEN`."},
    {FLAG_HEADER, "header", "NAME:VALUE", 1, "Adds a header. May be given several times."},
    {FLAG_AGENT, "agent", "NAME", 1, "The agent that lines go to."},
    {FLAG_LOG_LEVEL, "log-level", "LEVEL", 1, "error, warn (default), info or debug."},
    {0},
};

/* What the flags and words go to. */
struct line {
    struct tg_repl_options *out;
    const char *config_file; /* borrowed from argv, or NULL */
    bool named;              /* the policy, by a word; it wins over the environment's */
};

static enum tg_err add_connect(struct tg_repl_options *out, const char *name, const char *value)
{
    enum tg_err err = tg_buffer_printf(&out->connect, "%s=%s", name, value);

    return err == TG_ERR_OK ? tg_buffer_append(&out->connect, "", 1) : err;
}

static enum tg_err take_flag(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct line *line = ctx;
    struct tg_repl_options *out = line->out;
    const char *value = args->values[0];

    switch (args->flag->id) {
    case FLAG_CONFIG:
        line->config_file = value;
        return TG_ERR_OK;
    case FLAG_SET:
        return tg_run_options_set_pair(&out->config, value, error);
    case FLAG_BEARER:
        return add_connect(out, "bearer", value);
    case FLAG_HEADER:
        return add_connect(out, "header", value);
    case FLAG_AGENT:
        out->agent = value;
        return TG_ERR_OK;
    default:
        return tg_config_set_text(&out->config, TG_SOURCE_FLAG, "log.level", value, error);
    }
}

static enum tg_err take_word(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct line *line = ctx;

    if (line->named)
        return tg_error_set(error, TG_ERR_INVALID, "one policy at a time");
    line->named = true;
    return tg_config_set_text(&line->out->config, TG_SOURCE_FLAG, "policy", args->values[0], error);
}

enum tg_err tg_repl_options_parse(int argc, char **argv, struct tg_repl_options *out,
                                  struct tg_error *error)
{
    static const struct tg_arguments_reader reader = {tg_repl_flags, take_flag, take_word};
    struct line line = {.out = out};
    enum tg_err err;

    *out = (struct tg_repl_options){.agent = NULL};
    tg_config_init(&out->config);
    err = tg_config_set_text(&out->config, TG_SOURCE_ENV, "log.level", "warn", error);
    if (err == TG_ERR_OK)
        err = tg_config_read_environment(&out->config, environ, error);
    if (err == TG_ERR_OK)
        err = tg_arguments_read(argc, argv, &reader, &line, error);
    if (err == TG_ERR_OK)
        err = tg_config_read_file(&out->config, line.config_file, error);
    if (err == TG_ERR_OK)
        err = tg_config_complete(&out->config, error);
    if (err == TG_ERR_OK && (out->config.policy == NULL || out->config.policy[0] == '\0'))
        err = tg_error_set(error, TG_ERR_INVALID, "which policy? Name a file or a folder");
    return err;
}

void tg_repl_options_fini(struct tg_repl_options *options)
{
    tg_config_fini(&options->config);
    tg_buffer_fini(&options->connect);
}

static enum tg_err add_header(struct tg_repl_connect *connect, const char *name, size_t name_len,
                              const char *value, struct tg_error *error)
{
    for (const char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ')
            return tg_error_set(error, TG_ERR_INVALID, "a header holds no control characters");
    }
    return tg_buffer_printf(&connect->headers, "%.*s: %s\r\n", (int)name_len, name, value);
}

static enum tg_err add_bearer(struct tg_repl_connect *connect, const char *token,
                              struct tg_error *error)
{
    struct tg_buffer value = TG_BUFFER_INIT;
    enum tg_err err = tg_buffer_printf(&value, "Bearer %s", token);

    if (err == TG_ERR_OK)
        err = tg_buffer_append(&value, "", 1);
    if (err == TG_ERR_OK)
        err = add_header(connect, "Authorization", 13, (const char *)tg_buffer_head(&value), error);
    tg_buffer_fini(&value);
    return err;
}

static enum tg_err set_target(struct tg_repl_connect *connect, const char *format, const char *a,
                              const char *b, struct tg_error *error)
{
    char target[sizeof connect->target];
    int len = snprintf(target, sizeof target, format, a, b);

    if (len >= (int)sizeof target)
        return tg_error_set(error, TG_ERR_INVALID, "the path is too long");
    memcpy(connect->target, target, (size_t)len + 1);
    return TG_ERR_OK;
}

enum tg_err tg_repl_connect_add(struct tg_repl_connect *connect, const char *word,
                                struct tg_error *error)
{
    const char *value = strchr(word, '=');
    size_t len = value == NULL ? 0 : (size_t)(value - word);

    if (value == NULL)
        return tg_error_set(error, TG_ERR_INVALID, "/connect takes NAME=VALUE, not %.60s", word);
    value++;
    if (len == 4 && strncmp(word, "path", len) == 0)
        return set_target(connect, "%s%s", value, "", error);
    if (len == 5 && strncmp(word, "query", len) == 0)
        return set_target(connect, strchr(connect->target, '?') == NULL ? "%s?%s" : "%s&%s",
                          connect->target, value, error);
    if (len == 6 && strncmp(word, "remote", len) == 0) {
        (void)snprintf(connect->remote, sizeof connect->remote, "%s", value);
        return TG_ERR_OK;
    }
    if (len == 6 && strncmp(word, "bearer", len) == 0)
        return add_bearer(connect, value, error);
    if (len == 6 && strncmp(word, "origin", len) == 0)
        return add_header(connect, "Origin", 6, value, error);
    if (len == 6 && strncmp(word, "header", len) == 0 && strchr(value, ':') != NULL) {
        size_t name_len = strcspn(value, ":");
        const char *text = value + name_len + 1;
        return add_header(connect, value, name_len, text + strspn(text, " "), error);
    }
    return tg_error_set(error, TG_ERR_INVALID,
                        "/connect knows path=, query=, bearer=, header=NAME:VALUE, origin= and "
                        "remote=, not %.60s",
                        word);
}
