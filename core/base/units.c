/* units.c - "1.5s" to milliseconds, "64KiB" to bytes, in whole numbers throughout: a value that is no
 * whole number of milliseconds or bytes is refused, not rounded.
 */
#include "base/units.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Digits after the point that are looked at; more would not be a whole number of anything. */
#define FRACTION_DIGITS 9

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};

static const struct unit size_units[] = {
    {"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}, {NULL, 0}};

/* whole + fraction/scale, as written. */
struct decimal {
    uint64_t whole;
    uint64_t fraction;
    uint64_t scale;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits[.digits]; NULL when there are none, or too many. */
static const char *read_decimal(const char *text, struct decimal *out)
{
    *out = (struct decimal){.scale = 1};
    const char *at = text;
    for (; is_digit(*at); at++) {
        if (__builtin_mul_overflow(out->whole, 10, &out->whole) ||
            __builtin_add_overflow(out->whole, (uint64_t)(*at - '0'), &out->whole))
            return NULL;
    }
    if (at == text || *at != '.')
        return at == text ? NULL : at;
    const char *point = at++;
    for (; is_digit(*at); at++) {
        if (at - point > FRACTION_DIGITS)
            return NULL;
        out->fraction = out->fraction * 10 + (uint64_t)(*at - '0');
        out->scale *= 10;
    }
    return at == point + 1 ? NULL : at;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    while (units->name != NULL && strcmp(units->name, name) != 0)
        units++;
    return units->name == NULL ? NULL : units;
}

/* The value in the smallest unit; false when it is too large or no whole number. */
static bool scale(const struct decimal *value, uint64_t factor, uint64_t *out)
{
    uint64_t whole;
    uint64_t part;
    if (__builtin_mul_overflow(value->whole, factor, &whole) ||
        __builtin_mul_overflow(value->fraction, factor, &part) || part % value->scale != 0)
        return false;
    uint64_t sum;
    if (__builtin_add_overflow(whole, part / value->scale, &sum))
        return false;
    *out = sum;
    return true;
}

static enum tg_err parse(const char *text, const struct unit *units, const char *hint,
                         uint64_t *out, struct tg_error *error)
{
    struct decimal value;
    const char *rest = read_decimal(text, &value);
    if (rest == NULL)
        return tg_error_set(error, TG_ERR_INVALID, "\"%.40s\" is no %s", text, hint);
    const struct unit *unit = find_unit(units, rest);
    if (unit == NULL)
        return tg_error_set(error, TG_ERR_INVALID, "\"%.40s\" has no known unit: write a %s", text,
                            hint);
    if (!scale(&value, unit->factor, out))
        return tg_error_set(error, TG_ERR_INVALID, "\"%.40s\" is too large or too fine", text);
    return TG_ERR_OK;
}

/* The binary unit somebody meant who wrote KB, M, gb and the like; NULL when it is none of those. */
static const char *meant_size_unit(const char *text)
{
    static const char *const letters = "KkMmGg";
    static const char *const meant[] = {"KiB", "MiB", "GiB"};
    const char *unit = text + strspn(text, "0123456789.");
    const char *letter = *unit == '\0' ? NULL : strchr(letters, *unit);
    if (unit == text || letter == NULL)
        return NULL;
    const char *rest = unit + 1;
    bool decimal = *rest == '\0' || strcmp(rest, "B") == 0 || strcmp(rest, "b") == 0;
    return decimal ? meant[(letter - letters) / 2] : NULL;
}

enum tg_err tg_duration_parse(const char *text, uint64_t *ms, struct tg_error *error)
{
    if (strcmp(text, "0") == 0) {
        *ms = 0;
        return TG_ERR_OK;
    }
    return parse(text, duration_units, "duration such as 500ms, 10s, 5m or 1h", ms, error);
}

enum tg_err tg_size_parse(const char *text, uint64_t *bytes, struct tg_error *error)
{
    const char *meant = meant_size_unit(text);
    if (meant != NULL)
        return tg_error_set(error, TG_ERR_INVALID, "\"%.40s\": write %s (1024-based) instead", text,
                            meant);
    return parse(text, size_units, "size such as 512, 64KiB, 1MiB or 2GiB", bytes, error);
}
