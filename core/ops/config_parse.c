/* config_parse.c - the text of one option becomes a value, or an error that is worth reading.
 *
 * A value is parsed whole before any field is touched, so that a bad one changes nothing. Messages
 * say what is wrong with the text and then how a good one looks; the caller puts the key in front.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cidr.h"
#include "base/memory.h"
#include "base/units.h"
#include "net/sockets.h"
#include "ops/config_internal.h"

#define ADDRESS_SHAPE "write ADDR:PORT such as 127.0.0.1:8080, [::1]:8080 or :8080"

static void format_amount(const struct tg__row *row, uint64_t amount, char *out, size_t size)
{
    static const char *const sizes[] = {"", "KiB", "MiB", "GiB"};
    size_t unit = 0;

    if (row->kind == TG__DURATION && amount % 3600000 == 0 && amount > 0) {
        snprintf(out, size, "%" PRIu64 "h", amount / 3600000);
    } else if (row->kind == TG__DURATION) {
        snprintf(out, size, "%" PRIu64 "ms", amount);
    } else if (row->kind == TG__SIZE) {
        for (; amount > 0 && amount % 1024 == 0 && unit < 3; unit++)
            amount /= 1024;
        snprintf(out, size, "%" PRIu64 "%s", amount, sizes[unit]);
    } else {
        snprintf(out, size, "%" PRIu64, amount);
    }
}

/* `"<text>" <what>; write <a good value>` */
static enum tg_err refuse(const struct tg__row *row, const char *text, const char *what,
                          struct tg_error *error)
{
    char quoted[TG__QUOTED_SIZE];
    char expected[160];

    tg__quote(text, quoted);
    tg__value_expected(row, expected, sizeof expected);
    return tg_error_set(error, TG_ERR_INVALID, "%s %s; write %s", quoted, what, expected);
}

static enum tg_err check_range(const struct tg__row *row, uint64_t number, const char *text,
                               struct tg_error *error)
{
    char quoted[TG__QUOTED_SIZE];
    char bound[32];

    if (number >= row->min && number <= row->max)
        return TG_ERR_OK;
    tg__quote(text, quoted);
    format_amount(row, number < row->min ? row->min : row->max, bound, sizeof bound);
    return tg_error_set(error, TG_ERR_INVALID, "%s is too %s; write %s or %s", quoted,
                        number < row->min ? "small" : "large", bound,
                        number < row->min ? "more" : "less");
}

static enum tg_err parse_count(const struct tg__row *row, const char *text, uint64_t *out,
                               struct tg_error *error)
{
    char *end;

    if (row->zero_word != NULL && strcmp(text, row->zero_word) == 0) {
        *out = 0;
        return TG_ERR_OK;
    }
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0)
        return refuse(row, text, "is not a whole number", error);
    return check_range(row, *out, text, error);
}

static enum tg_err parse_quantity(const struct tg__row *row, const char *text, uint64_t *out,
                                  struct tg_error *error)
{
    enum tg_err err;

    if (row->kind == TG__DURATION && strspn(text, "0123456789.") == strlen(text) &&
        text[0] != '\0' && strcmp(text, "0") != 0)
        return refuse(row, text, "has no unit", error);
    err = row->kind == TG__DURATION ? tg_duration_parse(text, out, error)
                                    : tg_size_parse(text, out, error);

    return err != TG_ERR_OK ? err : check_range(row, *out, text, error);
}

static enum tg_err parse_choice(const struct tg__row *row, const char *text, uint64_t *out,
                                struct tg_error *error)
{
    const char *const *words;
    size_t count = tg__choices_of(row->kind, &words);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return TG_ERR_OK;
        }
    }
    return refuse(row, text, "is not known", error);
}

static enum tg_err check_address(const char *text, struct tg_error *error)
{
    char quoted[TG__QUOTED_SIZE];
    const char *colon = strrchr(text, ':');
    char *end;
    unsigned long port;

    tg__quote(text, quoted);
    if (colon == NULL || (text[0] == '[' && (colon == text || colon[-1] != ']')))
        return tg_error_set(error, TG_ERR_INVALID, "%s has no port; " ADDRESS_SHAPE, quoted);
    if (text[0] != '[' && memchr(text, ':', (size_t)(colon - text)) != NULL)
        return tg_error_set(error, TG_ERR_INVALID,
                            "%s: an IPv6 address needs brackets; " ADDRESS_SHAPE, quoted);
    if (strpbrk(text, " \t/@") != NULL)
        return tg_error_set(error, TG_ERR_INVALID, "%s is no address; " ADDRESS_SHAPE, quoted);
    port = strtoul(colon + 1, &end, 10);
    if (!isdigit((unsigned char)colon[1]) || *end != '\0' || end - colon > 6 || port > 65535)
        return tg_error_set(error, TG_ERR_INVALID,
                            "%s: the port must be a number from 0 to 65535; " ADDRESS_SHAPE,
                            quoted);
    return TG_ERR_OK;
}

/* Clients connect to more than TCP addresses. */
static enum tg_err check_listen(const char *text, struct tg_error *error)
{
    enum tg_listen_scheme scheme;

    text = tg_config_listen_address(text, &scheme);
    if (tg_socket_kind_of(text) == TG_SOCKET_TCP)
        return check_address(text, error);
    return tg_socket_check(text, error);
}

static enum tg_err check_range_of_addresses(const char *text, struct tg_error *error)
{
    struct tg_cidr parts[TG_CIDR_PARTS];
    size_t count;

    return tg_cidr_parse(text, parts, &count, error);
}

static enum tg_err check_origin(const char *text, struct tg_error *error)
{
    char quoted[TG__QUOTED_SIZE];
    const char *separator = strstr(text, "://");

    tg__quote(text, quoted);
    if (separator == NULL || separator == text || separator[3] == '\0')
        return tg_error_set(error, TG_ERR_INVALID,
                            "%s is no origin; write scheme and host such as https://app.example",
                            quoted);
    if (strpbrk(separator + 3, "/?# \t@") != NULL)
        return tg_error_set(error, TG_ERR_INVALID,
                            "%s: an origin ends after its host and port; write it such as "
                            "https://app.example",
                            quoted);
    return TG_ERR_OK;
}

static enum tg_err check_item(enum tg__kind kind, const char *text, struct tg_error *error)
{
    if (kind == TG__ORIGINS)
        return check_origin(text, error);
    if (kind == TG__RANGES)
        return check_range_of_addresses(text, error);
    return kind == TG__ADDRESSES ? check_listen(text, error) : TG_ERR_OK;
}

/* Items between commas, blanks around them dropped; empty items count for nothing. */
static enum tg_err parse_list(const struct tg__row *row, const char *text, struct tg_strings *out,
                              struct tg_error *error)
{
    while (*text != '\0') {
        size_t len;
        enum tg_err err;

        text += strspn(text, ", \t");
        len = strcspn(text, ",");
        const char *next = text + len;
        while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
            len--;
        if (len > 0) {
            tg__strings_push(out, text, len);
            const char *item = out->items[out->count - 1];
            err = check_item(row->kind, item, error);
            if (err != TG_ERR_OK)
                return err;
        }
        text = next;
    }
    if (row->kind == TG__ADDRESSES && out->count == 0)
        return tg_error_set(error, TG_ERR_INVALID, "is empty; " ADDRESS_SHAPE);
    return TG_ERR_OK;
}

static enum tg_err parse_text(const struct tg__row *row, const char *text, char **out,
                              struct tg_error *error)
{
    enum tg_err err = TG_ERR_OK;

    if (text[0] == '\0')
        return tg_error_set(error, TG_ERR_INVALID, "is empty; give a value, or leave it out");
    if (row->kind == TG__ADDRESS_OR_OFF && strcmp(text, "off") != 0)
        err = check_address(text, error);
    if (err != TG_ERR_OK)
        return err;
    for (const char *c = text; row->kind == TG__SECRET && *c != '\0'; c++) {
        if (*c <= ' ' || *c == 0x7f)
            return tg_error_set(error, TG_ERR_INVALID,
                                "holds a blank or a character that no HTTP header can carry");
    }
    *out = tg_xstrdup(text);
    return TG_ERR_OK;
}

enum tg_err tg__value_parse(const struct tg__row *row, const char *text, struct tg__value *out,
                            struct tg_error *error)
{
    enum tg_err err = TG_ERR_INVALID;

    *out = (struct tg__value){0};
    switch (row->kind) {
    case TG__TEXT:
    case TG__SECRET:
    case TG__ADDRESS_OR_OFF:
        return parse_text(row, text, &out->text, error);
    case TG__ADDRESSES:
    case TG__ORIGINS:
    case TG__RANGES:
    case TG__FILES:
    case TG__NAMES:
        err = parse_list(row, text, &out->list, error);
        if (err != TG_ERR_OK)
            tg__strings_fini(&out->list);
        return err;
    case TG__COUNT:
        return parse_count(row, text, &out->number, error);
    case TG__SIZE:
    case TG__DURATION:
        return parse_quantity(row, text, &out->number, error);
    case TG__RATE:
        return tg_rate_parse(text, &out->rate, error);
    case TG__BOOL:
    case TG__LOG_LEVEL:
    case TG__LOG_FORMAT:
    case TG__ON_DISCONNECT:
    case TG__CLIENT_AUTH:
    case TG__TLS_VERSION:
        return parse_choice(row, text, &out->number, error);
    }
    return err;
}
