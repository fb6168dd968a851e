/* json_number.c - doubles as text that reads back as the same double, and as short as that may be.
 *
 * Nearly all numbers of messages are integers or have a few decimals: those are written without the C
 * library, whose printf takes 700 instructions for one.
 */
#include "base/json_number.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* An integer of at most 20 digits; returns its length. */
static size_t write_integer(char *out, int64_t number)
{
    char digits[24];
    size_t n = 0, len = 0;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

    do {
        digits[n++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        out[len++] = '-';
    while (n > 0)
        out[len++] = digits[--n];
    return len;
}

/* A number with at most four decimals, such as a price; 0: it is none. The quotient of two integers that a
 * double holds is rounded as text would be when it is read, so what divides back to the number reads
 * back as it, and no text of 15 digits does with fewer. */
static size_t write_decimal(char out[TG_JSON_NUMBER_SIZE], double number)
{
    static const int64_t scales[] = {10, 100, 1000, 10000};
    double size = fabs(number);

    if (!(size >= 0.001 && size < 1e9))
        return 0;
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        int64_t scaled = (int64_t)(size * (double)scales[i] + 0.5);
        if ((double)scaled / (double)scales[i] != size)
            continue;
        size_t len = number < 0 ? 1 : 0;
        out[0] = '-';
        len += write_integer(out + len, scaled / scales[i]);
        out[len++] = '.';
        for (int64_t rest = scaled % scales[i], scale = scales[i] / 10; scale > 0; scale /= 10)
            out[len++] = (char)('0' + rest / scale % 10);
        return len;
    }
    return 0;
}

size_t tg_json_write_number(char out[TG_JSON_NUMBER_SIZE], double number)
{
    if (number == floor(number) && fabs(number) < 9007199254740992.0)
        return write_integer(out, (int64_t)number);
    size_t len = write_decimal(out, number);
    if (len > 0)
        return len;
    len = (size_t)snprintf(out, TG_JSON_NUMBER_SIZE, "%.15g", number);
    for (int digits = 16; digits <= 17 && strtod(out, NULL) != number; digits++)
        len = (size_t)snprintf(out, TG_JSON_NUMBER_SIZE, "%.*g", digits, number);
    return len;
}
