/* config.c - the configuration: sources in any order, one winner for every key.
 *
 * For each row the source that set it is remembered; a lower source that comes later is checked and
 * then dropped. Every error names the key and, where it has one, the place it came from.
 */
#include "ops/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/listener.h"
#include "net/sockets.h"
#include "ops/config_internal.h"

#define OPTIONS_PREFIX "options."

static uint8_t *source_of(const struct tg_config *config, size_t row)
{
    return (uint8_t *)config->private_sources + row;
}

void tg_config_init(struct tg_config *config)
{
    *config = (struct tg_config){0};
    config->private_sources = tg_xcalloc(tg__row_count, 1);
    for (size_t i = 0; i < tg__row_count; i++) {
        struct tg__value value;
        struct tg_error error;

        if (tg__shown_rows[i].default_text[0] == '\0')
            continue;
        if (tg__value_parse(&tg__rows[i], tg__shown_rows[i].default_text, &value, &error) !=
            TG_ERR_OK) {
            fprintf(stderr, "default of %s: %s\n", tg__shown_rows[i].key, error.text);
            abort();
        }
        tg__value_store(config, &tg__rows[i], &value, false);
        tg__value_fini(&value);
    }
}

void tg_config_fini(struct tg_config *config)
{
    for (size_t i = 0; i < tg__row_count; i++) {
        struct tg__value empty = {0};
        if (tg__is_list(tg__rows[i].kind) || tg__rows[i].kind <= TG__ADDRESS_OR_OFF)
            tg__value_store(config, &tg__rows[i], &empty, false);
    }
    tg__options_fini(config);
    tg_free(config->private_sources);
    config->private_sources = NULL;
}

/* `<key>: <detail>`, or `<key> (<where>): <detail>`. */
static enum tg_err bad_value(const char *key, const char *where, const struct tg_error *detail,
                             struct tg_error *error)
{
    if (where == NULL)
        return tg_error_set(error, detail->code, "%s: %s", key, detail->text);
    return tg_error_set(error, detail->code, "%s (%s): %s", key, where, detail->text);
}

static enum tg_err unknown_key(const char *key, const char *where, struct tg_error *error)
{
    char quoted[TG__QUOTED_SIZE];
    char place[160] = "";
    const char *meant = tg__row_suggest(key);

    tg__quote(key, quoted);
    if (where != NULL)
        snprintf(place, sizeof place, " (%s)", where);
    if (tg__row_is_section(key))
        return tg_error_set(error, TG_ERR_INVALID,
                            "%s%s is a section, not a key; name a key in it, as in `%s.NAME`",
                            quoted, place, key);
    if (meant == NULL)
        return tg_error_set(error, TG_ERR_INVALID,
                            "unknown key %s%s; `tidegate help run` lists all keys", quoted, place);
    return tg_error_set(error, TG_ERR_INVALID, "unknown key %s%s; did you mean \"%s\"?", quoted,
                        place, meant);
}

static enum tg_err set_option(struct tg_config *config, enum tg_config_source source,
                              const char *key, enum tg_option_kind kind, const char *text,
                              const char *where, struct tg_error *error)
{
    struct tg_error detail;
    enum tg_err err =
        tg__option_set(config, source, key + strlen(OPTIONS_PREFIX), kind, text, &detail);

    return err == TG_ERR_OK ? err : bad_value(key, where, &detail, error);
}

/* `index` over 1 grows the list that the same source began. */
static enum tg_err set_row(struct tg_config *config, enum tg_config_source source, size_t row,
                           size_t index, const char *text, const char *where,
                           struct tg_error *error)
{
    struct tg__value value;
    struct tg_error detail;
    uint8_t *current = source_of(config, row);
    enum tg_err err = tg__value_parse(&tg__rows[row], text, &value, &detail);

    if (err != TG_ERR_OK)
        return bad_value(tg__shown_rows[row].key, where, &detail, error);
    if (source >= *current) {
        tg__value_store(config, &tg__rows[row], &value, index > 1 && source == *current);
        *current = (uint8_t)source;
    }
    tg__value_fini(&value);
    return TG_ERR_OK;
}

enum tg_err tg__config_set(struct tg_config *config, enum tg_config_source source, const char *key,
                           const char *value, const char *where, struct tg_error *error)
{
    size_t row = tg__row_find(key);

    if (strncmp(key, OPTIONS_PREFIX, strlen(OPTIONS_PREFIX)) == 0)
        return set_option(config, source, key, TG_OPTION_STRING, value, where, error);
    if (row == tg__row_count)
        return unknown_key(key, where, error);
    return set_row(config, source, row, 0, value, where, error);
}

enum tg_err tg_config_set_text(struct tg_config *config, enum tg_config_source source,
                               const char *key, const char *value, struct tg_error *error)
{
    return tg__config_set(config, source, key, value, NULL, error);
}

/* A number as text: whole numbers without a point, others so that they read back the same. */
static void number_text(double number, char *out, size_t size)
{
    if (number == floor(number) && fabs(number) < 9007199254740992.0)
        snprintf(out, size, "%.0f", number);
    else
        snprintf(out, size, "%.17g", number);
}

/* Can a value of this Lua type stand for the row at all? */
static bool kind_fits(const struct tg__row *row, const struct tg_config_value *value)
{
    switch (value->kind) {
    case TG_CONFIG_STRING:
        if (row->kind == TG__COUNT)
            return row->zero_word != NULL && strcmp(value->string, row->zero_word) == 0;
        return row->kind != TG__BOOL;
    case TG_CONFIG_NUMBER:
        return row->kind == TG__COUNT || row->kind == TG__SIZE || row->kind == TG__DURATION;
    case TG_CONFIG_BOOL:
        return row->kind == TG__BOOL;
    case TG_CONFIG_TABLE:
        return tg__is_list(row->kind);
    }
    return false;
}

static enum tg_err set_file_row(struct tg_config *config, size_t row, size_t index,
                                const struct tg_config_value *value, const char *where,
                                struct tg_error *error)
{
    static const char *const kinds[] = {"text", "a number", "true or false", "a table"};
    const struct tg__row *meta = &tg__rows[row];
    const char *key = tg__shown_rows[row].key;
    struct tg_error detail;
    char expected[160];
    char number[40];
    const char *text = "";

    tg__value_expected(meta, expected, sizeof expected);
    if (index > 0 && !tg__is_list(meta->kind)) {
        tg_error_set(&detail, TG_ERR_INVALID, "a list was given; write %s", expected);
        return bad_value(key, where, &detail, error);
    }
    if (!kind_fits(meta, value)) {
        tg_error_set(&detail, TG_ERR_INVALID, "%s was given; write %s", kinds[value->kind],
                     expected);
        return bad_value(key, where, &detail, error);
    }
    if (value->kind == TG_CONFIG_STRING) {
        text = value->string;
    } else if (value->kind == TG_CONFIG_NUMBER) {
        number_text(value->number, number, sizeof number);
        text = number;
    } else if (value->kind == TG_CONFIG_BOOL) {
        text = value->flag ? "true" : "false";
    }
    return set_row(config, TG_SOURCE_FILE, row, index, text, where, error);
}

static enum tg_err set_file_option(struct tg_config *config, const char *key, size_t index,
                                   const struct tg_config_value *value, const char *where,
                                   struct tg_error *error)
{
    char path[256];
    char number[40];

    if (index > 0) { /* a list is a table with the keys 1…n */
        int len = snprintf(path, sizeof path, "%s.%zu", key, index);
        if (len < 0 || (size_t)len >= sizeof path)
            return tg_error_set(error, TG_ERR_INVALID, "an option (%s) has a name that is too long",
                                where);
        key = path;
    }
    switch (value->kind) {
    case TG_CONFIG_STRING:
        return set_option(config, TG_SOURCE_FILE, key, TG_OPTION_STRING, value->string, where,
                          error);
    case TG_CONFIG_NUMBER:
        number_text(value->number, number, sizeof number);
        return set_option(config, TG_SOURCE_FILE, key, TG_OPTION_NUMBER, number, where, error);
    case TG_CONFIG_BOOL:
        return set_option(config, TG_SOURCE_FILE, key, TG_OPTION_BOOL,
                          value->flag ? "true" : "false", where, error);
    case TG_CONFIG_TABLE:
        break; /* an empty table holds no leaf */
    }
    return TG_ERR_OK;
}

enum tg_err tg_config_set_value(struct tg_config *config, const char *key, size_t index,
                                const struct tg_config_value *value, const char *where,
                                struct tg_error *error)
{
    size_t row = tg__row_find(key);

    if (strncmp(key, OPTIONS_PREFIX, strlen(OPTIONS_PREFIX)) == 0)
        return set_file_option(config, key, index, value, where, error);
    if (row < tg__row_count)
        return set_file_row(config, row, index, value, where, error);
    if (value->kind == TG_CONFIG_TABLE && index == 0 && tg__row_is_section(key))
        return TG_ERR_OK; /* an empty section */
    return unknown_key(key, where, error);
}

enum tg_err tg_config_add_listen(struct tg_config *config, const char *address,
                                 struct tg_error *error)
{
    return set_row(config, TG_SOURCE_FLAG, tg__row_find("listen"), 2, address, NULL, error);
}

const char *tg_config_listen_address(const char *item, enum tg_listen_scheme *scheme)
{
    *scheme = TG_LISTEN_EITHER;
    if (strncmp(item, "ws://", 5) == 0) {
        *scheme = TG_LISTEN_WS;
        return item + 5;
    }
    if (strncmp(item, "wss://", 6) == 0) {
        *scheme = TG_LISTEN_WSS;
        return item + 6;
    }
    return item;
}

static bool port_is_free_choice(const char *address)
{
    const char *colon = strrchr(address, ':');
    return tg_socket_kind_of(address) == TG_SOCKET_TCP && colon != NULL &&
           strtoul(colon + 1, NULL, 10) == 0;
}

static enum tg_err check_addresses(const struct tg_config *config, struct tg_error *error)
{
    const struct tg_strings *listen = &config->listen;

    for (size_t i = 0; i < listen->count; i++) {
        enum tg_listen_scheme scheme;
        const char *address = tg_config_listen_address(listen->items[i], &scheme);
        if (scheme == TG_LISTEN_WSS && config->tls_certificates.count == 0)
            return tg_error_set(error, TG_ERR_INVALID,
                                "listen: %s needs a certificate; set tls.certificate and tls.key",
                                listen->items[i]);
        if (port_is_free_choice(address))
            continue;
        if (strcmp(address, config->admin) == 0)
            return tg_error_set(error, TG_ERR_INVALID,
                                "listen and admin are both %s; give each its own port", address);
        /* Sockets share their port between workers, so the system would not refuse this. */
        for (size_t j = 0; j < i; j++) {
            if (strcmp(tg_config_listen_address(listen->items[j], &scheme), address) == 0)
                return tg_error_set(error, TG_ERR_INVALID, "listen: %s is named twice", address);
        }
    }
    if (strcmp(config->admin, "off") != 0 && config->admin_token == NULL &&
        !tg_listener_is_loopback(config->admin))
        return tg_error_set(error, TG_ERR_INVALID,
                            "admin: %s can be reached from other machines, so it needs a token; "
                            "set admin_token (environment: TIDEGATE_ADMIN_TOKEN), or use a "
                            "loopback address such as 127.0.0.1:9180",
                            config->admin);
    return TG_ERR_OK;
}

static enum tg_err check_tls(const struct tg_config *config, struct tg_error *error)
{
    size_t certificates = config->tls_certificates.count;
    if (certificates != config->tls_keys.count)
        return tg_error_set(error, TG_ERR_INVALID,
                            "tls.certificate names %zu files and tls.key %zu; each certificate "
                            "needs its key, in the same order",
                            certificates, config->tls_keys.count);
    if (config->tls_client_auth != TG_TLS_CLIENT_NONE && config->tls_client_ca == NULL)
        return tg_error_set(error, TG_ERR_INVALID,
                            "tls.client_auth: tls.client_ca must say whose certificates count");
    if (config->tls_client_auth == TG_TLS_CLIENT_NONE && config->tls_client_ca != NULL)
        return tg_error_set(error, TG_ERR_INVALID,
                            "tls.client_ca: nobody is asked for a certificate; set "
                            "tls.client_auth to optional or required");
    if (config->tls_client_auth != TG_TLS_CLIENT_NONE && certificates == 0)
        return tg_error_set(error, TG_ERR_INVALID,
                            "tls.client_auth: without tls.certificate there is no TLS");
    return TG_ERR_OK;
}

enum tg_err tg_config_validate(const struct tg_config *config, struct tg_error *error)
{
    enum tg_err err = check_addresses(config, error);

    if (err == TG_ERR_OK)
        err = check_tls(config, error);
    if (err != TG_ERR_OK)
        return err;
    if (config->proxy_protocol && config->trusted_proxies.count == 0)
        return tg_error_set(
            error, TG_ERR_INVALID,
            "proxy_protocol: only trusted_proxies are asked for a PROXY header, and "
            "there are none; name them, such as trusted_proxies = \"10.0.0.0/8\"");
    for (size_t i = 0; i < config->agents_processes.count; i++)
        if (config->agents_processes.items[i][0] != '/')
            return tg_error_set(error, TG_ERR_INVALID,
                                "agents.processes: \"%.200s\" is no absolute path, such as "
                                "/usr/bin/python3",
                                config->agents_processes.items[i]);
    if (config->workers > 255)
        return tg_error_set(error, TG_ERR_INVALID, "workers: more than 255 are not possible");
    if (config->prepare_retry_max_ms < config->prepare_retry_ms)
        return tg_error_set(error, TG_ERR_INVALID,
                            "limits.prepare_retry_max is less than limits.prepare_retry");
    if (config->script_wall_budget_ms < config->script_cpu_budget_ms)
        return tg_error_set(error, TG_ERR_INVALID,
                            "script.wall_budget is less than script.cpu_budget");
    return TG_ERR_OK;
}
