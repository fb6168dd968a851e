/* ctl_options.c - the words and flags of `tidegate ctl`; whatever can be wrong about them is said here. */
#include "app/ctl/ctl_options.h"

#include <string.h>

#include "base/suggest.h"
#include "base/units.h"
#include "connection/id.h"

enum {
    FLAG_ADMIN,
    FLAG_TOKEN,
    FLAG_CONFIG,
    FLAG_FORMAT,
    FLAG_STATE,
    FLAG_USER,
    FLAG_LIMIT,
    FLAG_ORIGIN,
    FLAG_TTL
};

const struct tg_flag tg_ctl_flags[] = {
    {FLAG_ADMIN, "admin", "ADDR:PORT", 1,
     "Address of the admin listener, as `tidegate run` prints it (default: TIDEGATE_ADMIN, or "
     "127.0.0.1:9180)."},
    {FLAG_TOKEN, "token", "TOKEN", 1,
     "The server's admin_token. Better in TIDEGATE_ADMIN_TOKEN: other users can see arguments."},
    {FLAG_CONFIG, "config", "FILE", 1,
     "The server's configuration: takes admin and admin_token from it."},
    {FLAG_FORMAT, "format", "text|json", 1, "json: the server's answer as it is."},
    {FLAG_STATE, "state", "STATE", 1, "connections: only those in this state."},
    {FLAG_USER, "user", "ID", 1, "connections: only those of this user."},
    {FLAG_LIMIT, "limit", "NUMBER", 1, "connections: at most so many (default: 100)."},
    {FLAG_ORIGIN, "origin", "ORIGIN", 1, "ticket: good only for pages of this origin."},
    {FLAG_TTL, "ttl", "TIME", 1,
     "ticket: how long it is good (default: 60s, at most 5m). revoke: how long the token would "
     "have "
     "been good (default: 24h)."},
    {0},
};

static const struct tg_ctl_action actions[] = {
    {"status", TG_CTL_STATUS, "GET", "/health", "", 0, 0},
    {"connections", TG_CTL_CONNECTIONS, "GET", "/connections", "", 0, 0},
    {"connection", TG_CTL_CONNECTION, "GET", "/connections/%s", " ID", 1, 1},
    {"close", TG_CTL_CLOSE, "POST", "/connections/%s/close", " ID [CODE [REASON]]", 1, 3},
    {"close-user", TG_CTL_CLOSE_USER, "POST", "/users/%s/close", " USER [CODE [REASON]]", 1, 3},
    {"revoke", TG_CTL_REVOKE, "POST", "/tokens/%s/revoke", " TOKEN_ID", 1, 1},
    {"ticket", TG_CTL_TICKET, "POST", "/ticket", " USER", 1, 1},
    {"reload", TG_CTL_RELOAD, "POST", "/reload", "", 0, 0},
    {"rollback", TG_CTL_ROLLBACK, "POST", "/rollback", "", 0, 0},
    {"policy", TG_CTL_POLICY, "GET", "/policy", "", 0, 0},
    {"drain", TG_CTL_DRAIN, "POST", "/drain", "", 0, 0},
    {"metrics", TG_CTL_METRICS, "GET", "/metrics", "", 0, 0},
};
#define ACTIONS (sizeof actions / sizeof actions[0])

static enum tg_err find_action(const char *name, const struct tg_ctl_action **out,
                               struct tg_error *error)
{
    const char *names[ACTIONS];
    const char *meant;

    for (size_t i = 0; i < ACTIONS; i++) {
        names[i] = actions[i].name;
        if (strcmp(name, names[i]) == 0) {
            *out = &actions[i];
            return TG_ERR_OK;
        }
    }
    meant = tg_suggest(name, names, ACTIONS);
    if (meant != NULL)
        return tg_error_set(error, TG_ERR_INVALID, "there is no \"%.60s\"; did you mean %s?", name,
                            meant);
    return tg_error_set(error, TG_ERR_INVALID,
                        "there is no \"%.60s\"; there are status, connections, connection, close, "
                        "close-user, revoke, ticket, reload, rollback, policy, drain, metrics",
                        name);
}

static enum tg_err take_word(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct tg_ctl_options *given = ctx;
    const char *word = args->values[0];

    if (given->action == NULL)
        return find_action(word, &given->action, error);
    if (given->word_count >= given->action->most)
        return tg_error_set(error, TG_ERR_INVALID, "\"%.60s\" is too much: %s%s", word,
                            given->action->name, given->action->words);
    given->words[given->word_count++] = word;
    return TG_ERR_OK;
}

static enum tg_err take_flag(void *ctx, const struct tg_arguments *args, struct tg_error *error)
{
    struct tg_ctl_options *given = ctx;
    const char *value = args->values[0];

    switch (args->flag->id) {
    case FLAG_ADMIN:
        given->admin = value;
        break;
    case FLAG_TOKEN:
        given->token = value;
        break;
    case FLAG_CONFIG:
        given->config = value;
        break;
    case FLAG_STATE:
        given->state = value;
        break;
    case FLAG_USER:
        given->user = value;
        break;
    case FLAG_LIMIT:
        given->limit = value;
        break;
    case FLAG_ORIGIN:
        given->origin = value;
        break;
    case FLAG_TTL:
        given->ttl = value;
        break;
    default:
        given->json = strcmp(value, "json") == 0;
        if (!given->json && strcmp(value, "text") != 0)
            return tg_error_set(error, TG_ERR_INVALID, "--format is text or json");
        break;
    }
    return TG_ERR_OK;
}

static enum tg_err check_ticket(struct tg_ctl_options *given, struct tg_error *error)
{
    enum tg_ctl_what what = given->action->what;
    uint64_t ms;

    if (given->origin != NULL && what != TG_CTL_TICKET)
        return tg_error_set(error, TG_ERR_INVALID, "--origin belongs to `ctl ticket`");
    if (given->ttl == NULL)
        return TG_ERR_OK;
    if (what != TG_CTL_TICKET && what != TG_CTL_REVOKE)
        return tg_error_set(error, TG_ERR_INVALID,
                            "--ttl belongs to `ctl ticket` and `ctl revoke`");
    if (tg_duration_parse(given->ttl, &ms, NULL) != TG_ERR_OK)
        return tg_error_set(error, TG_ERR_INVALID, "--ttl is a time, such as 60s");
    given->ttl_seconds = (double)ms / 1000;
    return TG_ERR_OK;
}

static enum tg_err check_line(struct tg_ctl_options *given, struct tg_error *error)
{
    const struct tg_ctl_action *action = given->action;
    struct tg_conn_id id;

    if (action == NULL)
        return tg_error_set(error, TG_ERR_INVALID,
                            "what? status, connections, connection ID, close ID, close-user USER, "
                            "revoke TOKEN_ID, ticket USER, reload, rollback, policy, drain or "
                            "metrics");
    bool connection = action->what == TG_CTL_CONNECTION || action->what == TG_CTL_CLOSE;
    if (given->word_count < action->least)
        return tg_error_set(error, TG_ERR_INVALID, "which %s? %s%s",
                            connection                      ? "connection"
                            : action->what == TG_CTL_REVOKE ? "token"
                                                            : "user",
                            action->name, action->words);
    if (action->least > 0 && given->words[0][0] == '\0')
        return tg_error_set(error, TG_ERR_INVALID, "%s%s: it is empty", action->name,
                            action->words);
    if (connection && tg_conn_id_parse(given->words[0], strlen(given->words[0]), &id) != TG_ERR_OK)
        return tg_error_set(error, TG_ERR_INVALID,
                            "\"%.60s\" is no connection ID; they begin with ws_ and stand in the "
                            "first column of `tidegate ctl connections`",
                            given->words[0]);
    if (given->word_count > 1 &&
        (given->words[1][0] == '\0' ||
         strspn(given->words[1], "0123456789") != strlen(given->words[1]) ||
         strlen(given->words[1]) > 5))
        return tg_error_set(error, TG_ERR_INVALID, "\"%.60s\" is no close code, such as 1000",
                            given->words[1]);
    if (action->what != TG_CTL_CONNECTIONS &&
        (given->state != NULL || given->user != NULL || given->limit != NULL))
        return tg_error_set(error, TG_ERR_INVALID,
                            "--state, --user and --limit belong to `ctl connections`");
    return check_ticket(given, error);
}

enum tg_err tg_ctl_options_parse(int argc, char **argv, struct tg_ctl_options *out,
                                 struct tg_error *error)
{
    static const struct tg_arguments_reader reader = {tg_ctl_flags, take_flag, take_word};
    enum tg_err err;

    *out = (struct tg_ctl_options){.action = NULL};
    err = tg_arguments_read(argc, argv, &reader, out, error);
    return err == TG_ERR_OK ? check_line(out, error) : err;
}
