/* config_value.c - parsed values: their words, how a good one looks, and the way into a field. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "ops/config_internal.h"

static const char *const log_levels[] = {"error", "warn", "info", "debug"};
static const char *const log_formats[] = {"text", "json"};
static const char *const on_disconnect[] = {"cancel", "finish"};
static const char *const client_auth[] = {"none", "optional", "required"};
static const char *const tls_versions[] = {"1.2", "1.3"};
static const char *const booleans[] = {"false", "true"};

size_t tg__choices_of(enum tg__kind kind, const char *const **words)
{
    if (kind == TG__LOG_LEVEL) {
        *words = log_levels;
        return sizeof log_levels / sizeof log_levels[0];
    }
    if (kind == TG__CLIENT_AUTH) {
        *words = client_auth;
        return sizeof client_auth / sizeof client_auth[0];
    }
    if (kind == TG__TLS_VERSION) {
        *words = tls_versions;
        return sizeof tls_versions / sizeof tls_versions[0];
    }
    *words = kind == TG__LOG_FORMAT ? log_formats : kind == TG__BOOL ? booleans : on_disconnect;
    return 2;
}

const char *tg_config_client_auth_text(const struct tg_config *config)
{
    return client_auth[config->tls_client_auth];
}

void tg__quote(const char *text, char out[TG__QUOTED_SIZE])
{
    size_t len = strlen(text);
    size_t room = TG__QUOTED_SIZE - sizeof "\"...\"";
    size_t kept = len <= room ? len : tg_utf8_cut(text, len, room);

    snprintf(out, TG__QUOTED_SIZE, "\"%.*s%s\"", (int)kept, text, kept < len ? "..." : "");
    for (char *c = out; *c != '\0'; c++) {
        if (iscntrl((unsigned char)*c))
            *c = '?';
    }
}

void tg__strings_push(struct tg_strings *strings, const char *text, size_t len)
{
    char **items = tg_xcalloc(strings->count + 1, sizeof *items);
    char *copy = tg_xcalloc(len + 1, 1);

    memcpy(copy, text, len);
    if (strings->count > 0)
        memcpy(items, strings->items, strings->count * sizeof *items);
    items[strings->count] = copy;
    tg_free(strings->items);
    strings->items = items;
    strings->count++;
}

void tg__strings_fini(struct tg_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        tg_free(strings->items[i]);
    tg_free(strings->items);
    *strings = (struct tg_strings){0};
}

void tg__value_expected(const struct tg__row *row, char *out, size_t size)
{
    const char *const *words;
    size_t count;
    int len;

    switch (row->kind) {
    case TG__TEXT:
    case TG__SECRET:
        snprintf(out, size, "text in quotes");
        return;
    case TG__ADDRESS_OR_OFF:
        snprintf(out, size, "an address such as \"127.0.0.1:9180\", or \"off\"");
        return;
    case TG__ADDRESSES:
        snprintf(out, size, "addresses such as \"127.0.0.1:8080\"");
        return;
    case TG__ORIGINS:
        snprintf(out, size, "origins such as \"https://app.example\"");
        return;
    case TG__FILES:
        snprintf(out, size, "paths of PEM files such as \"/etc/tidegate/server.pem\"");
        return;
    case TG__NAMES:
        snprintf(out, size, "names in quotes");
        return;
    case TG__RANGES:
        snprintf(out, size, "addresses or ranges such as \"10.0.0.0/8\", \"loopback\" or \"unix\"");
        return;
    case TG__RATE:
        snprintf(out, size,
                 "a rate such as \"100/s\", \"20/m\" or \"100/s burst 300\", or "
                 "\"unlimited\"");
        return;
    case TG__DURATION:
        snprintf(out, size, "a duration such as 500ms, 10s, 5m or 1h");
        return;
    case TG__SIZE:
        snprintf(out, size, "a size such as 512, 64KiB or 1MiB");
        return;
    case TG__COUNT:
        snprintf(out, size, "a whole number from %" PRIu64 " to %" PRIu64 "%s%s", row->min,
                 row->max, row->zero_word == NULL ? "" : ", or ",
                 row->zero_word == NULL ? "" : row->zero_word);
        return;
    case TG__BOOL:
    case TG__LOG_LEVEL:
    case TG__LOG_FORMAT:
    case TG__ON_DISCONNECT:
    case TG__CLIENT_AUTH:
    case TG__TLS_VERSION:
        break;
    }
    count = tg__choices_of(row->kind, &words);
    len = 0;
    for (size_t i = 0; i < count && len >= 0 && (size_t)len < size; i++) {
        const char *glue = i == 0 ? "" : i + 1 == count ? " or " : ", ";
        len += snprintf(out + len, size - (size_t)len, "%s%s", glue, words[i]);
    }
}

void tg__value_fini(struct tg__value *value)
{
    tg_free(value->text);
    tg__strings_fini(&value->list);
    *value = (struct tg__value){0};
}

static void store_list(struct tg_strings *field, struct tg_strings *list, bool append)
{
    if (!append)
        tg__strings_fini(field);
    for (size_t i = 0; i < list->count; i++)
        tg__strings_push(field, list->items[i], strlen(list->items[i]));
}

void tg__value_store(struct tg_config *config, const struct tg__row *row, struct tg__value *value,
                     bool append)
{
    void *field = (char *)config + row->offset;

    switch (row->kind) {
    case TG__TEXT:
    case TG__SECRET:
    case TG__ADDRESS_OR_OFF:
        tg_free(*(char **)field);
        *(char **)field = value->text;
        value->text = NULL;
        return;
    case TG__ADDRESSES:
    case TG__ORIGINS:
    case TG__RANGES:
    case TG__FILES:
    case TG__NAMES:
        store_list(field, &value->list, append);
        return;
    case TG__COUNT:
    case TG__SIZE:
    case TG__DURATION:
        *(uint64_t *)field = value->number;
        return;
    case TG__RATE:
        *(struct tg_rate *)field = value->rate;
        return;
    case TG__BOOL:
        *(bool *)field = value->number != 0;
        return;
    case TG__LOG_LEVEL:
        *(enum tg_log_level *)field = (enum tg_log_level)value->number;
        return;
    case TG__LOG_FORMAT:
        *(enum tg_log_format *)field = (enum tg_log_format)value->number;
        return;
    case TG__CLIENT_AUTH:
        *(enum tg_tls_client_auth *)field = (enum tg_tls_client_auth)value->number;
        return;
    case TG__TLS_VERSION:
        *(enum tg_tls_version *)field = (enum tg_tls_version)value->number;
        return;
    case TG__ON_DISCONNECT:
        *(enum tg_run_on_disconnect *)field = (enum tg_run_on_disconnect)value->number;
        return;
    }
}
