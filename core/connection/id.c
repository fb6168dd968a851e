/* id.c - making, writing and reading connection IDs. The generator is the only one in the program. */
#include "connection/id.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"

struct tg_conn_id tg_conn_id_next(struct tg_conn_id_source *source)
{
    source->sequence = tg_conn_id_sequence(source->sequence + 1);
    return (struct tg_conn_id){
        .time_ms = tg_clock_wall_ms(),
        .serial = (uint64_t)source->worker << 40 | source->sequence,
        .random = tg_random_u64(),
    };
}

static void write_hex(char *out, uint64_t value, size_t count)
{
    for (size_t i = count; i-- > 0; value >>= 4)
        out[i] = "0123456789abcdef"[value & 0xf];
}

/* A loop of its own: a division by a constant is a multiplication. */
static void write_decimal(char *out, uint64_t value, size_t count)
{
    for (size_t i = count; i-- > 0; value /= 10)
        out[i] = (char)('0' + value % 10);
}

void tg_conn_id_format(const struct tg_conn_id *id, char out[TG_CONN_ID_SIZE])
{
    memcpy(out, "ws_", 3);
    write_decimal(out + 3, id->time_ms, 13);
    out[16] = '_';
    write_hex(out + 17, id->serial, 12);
    out[29] = '_';
    write_hex(out + 30, id->random, 16);
    out[TG_CONN_ID_LEN] = '\0';
}

static bool read_digits(const char *text, size_t count, unsigned base, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        char c = text[i];
        unsigned digit = base;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        if (digit >= base)
            return false;
        value = value * base + digit;
    }
    *out = value;
    return true;
}

enum tg_err tg_conn_id_parse(const char *text, size_t len, struct tg_conn_id *out)
{
    struct tg_conn_id id;
    if (len != TG_CONN_ID_LEN || memcmp(text, "ws_", 3) != 0 || text[16] != '_' || text[29] != '_')
        return TG_ERR_INVALID;
    if (!read_digits(text + 3, 13, 10, &id.time_ms) ||
        !read_digits(text + 17, 12, 16, &id.serial) || !read_digits(text + 30, 16, 16, &id.random))
        return TG_ERR_INVALID;
    *out = id;
    return TG_ERR_OK;
}

bool tg_conn_id_equal(const struct tg_conn_id *a, const struct tg_conn_id *b)
{
    return a->serial == b->serial && a->random == b->random && a->time_ms == b->time_ms;
}
