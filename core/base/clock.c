/* clock.c - clock_gettime, and dates without the C library's locks and time zones: a time stamp goes
 * into every agent event.
 */
#include "base/clock.h"

#include <time.h>

#define MS_PER_DAY UINT64_C(86400000)
#define LAST_MS_OF_9999 UINT64_C(253402300799999)

static _Thread_local const struct tg_clock_fake *fake_clock; /* borrowed; NULL: the real ones */

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void put_digits(char *out, unsigned width, unsigned value)
{
    while (width-- > 0) {
        out[width] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* Days since 1970-01-01 to "YYYY-MM-DD". Years are counted from March, so that the leap day is the
 * last one; 719468 days lie between 0000-03-01 and 1970-01-01, 146097 in 400 years. */
static void put_date(char out[10], unsigned days)
{
    unsigned shifted = days + 719468;
    unsigned era = shifted / 146097;
    unsigned day_of_era = shifted % 146097;
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_from_march = (5 * day_of_year + 2) / 153;
    unsigned month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    put_digits(out, 4, era * 400 + year_of_era + (month <= 2));
    out[4] = '-';
    put_digits(out + 5, 2, month);
    out[7] = '-';
    put_digits(out + 8, 2, day_of_year - (153 * month_from_march + 2) / 5 + 1);
}

uint64_t tg_clock_monotonic_ns(void)
{
    return fake_clock != NULL ? fake_clock->monotonic_ns : read_ns(CLOCK_MONOTONIC);
}

uint64_t tg_clock_monotonic_ms(void)
{
    return tg_clock_monotonic_ns() / 1000000;
}

uint64_t tg_clock_tick_ns(void)
{
    return fake_clock != NULL ? fake_clock->monotonic_ns : read_ns(CLOCK_MONOTONIC_COARSE);
}

uint64_t tg_clock_wall_ms(void)
{
    return fake_clock != NULL ? fake_clock->wall_ms : read_ns(CLOCK_REALTIME) / 1000000;
}

void tg_clock_use(const struct tg_clock_fake *fake)
{
    fake_clock = fake;
}

bool tg_clock_is_fake(void)
{
    return fake_clock != NULL;
}

void tg_clock_rfc3339(uint64_t wall_ms, char out[TG_CLOCK_RFC3339_SIZE])
{
    if (wall_ms > LAST_MS_OF_9999)
        wall_ms = LAST_MS_OF_9999;
    unsigned ms_of_day = (unsigned)(wall_ms % MS_PER_DAY);
    put_date(out, (unsigned)(wall_ms / MS_PER_DAY));
    out[10] = 'T';
    put_digits(out + 11, 2, ms_of_day / 3600000);
    out[13] = ':';
    put_digits(out + 14, 2, ms_of_day / 60000 % 60);
    out[16] = ':';
    put_digits(out + 17, 2, ms_of_day / 1000 % 60);
    out[19] = '.';
    put_digits(out + 20, 3, ms_of_day % 1000);
    out[23] = 'Z';
    out[24] = '\0';
}
