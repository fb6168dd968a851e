/* rate.c - reading a rate as people write it. */
#include "base/rate.h"

#include <string.h>

#define SHAPE "write a rate such as 100/s, 20/m or \"100/s burst 300\", or unlimited"
#define NUMBER_MAX UINT64_C(1000000)
#define BURST_WORD " burst "

static const char *read_number(const char *text, uint64_t *out)
{
    const char *at = text;

    *out = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        *out = *out * 10 + (uint64_t)(*at - '0');
        if (*out > NUMBER_MAX)
            return NULL;
    }
    return at == text || *out == 0 ? NULL : at;
}

static uint64_t unit_ns(char unit)
{
    const uint64_t second = UINT64_C(1000000000);

    switch (unit) {
    case 's':
        return second;
    case 'm':
        return 60 * second;
    case 'h':
        return 3600 * second;
    default:
        return 0;
    }
}

enum tg_err tg_rate_parse(const char *text, struct tg_rate *out, struct tg_error *error)
{
    uint64_t number;
    uint64_t burst;

    *out = (struct tg_rate){0};
    if (strcmp(text, "unlimited") == 0)
        return TG_ERR_OK;
    const char *at = read_number(text, &number);
    if (at == NULL || at[0] != '/' || unit_ns(at[1]) == 0)
        return tg_error_set(error, TG_ERR_INVALID, "\"%.40s\" is no rate; " SHAPE, text);
    uint64_t interval = unit_ns(at[1]) / number;
    burst = number;
    at += 2;
    if (strncmp(at, BURST_WORD, strlen(BURST_WORD)) == 0)
        at = read_number(at + strlen(BURST_WORD), &burst);
    if (at == NULL || *at != '\0')
        return tg_error_set(error, TG_ERR_INVALID, "\"%.40s\" is no rate; " SHAPE, text);
    *out = (struct tg_rate){.interval_ns = interval, .burst = burst};
    return TG_ERR_OK;
}
