/* cidr.c - ranges of addresses. */
#include "base/cidr.h"

#include <string.h>

#define MAPPED_BITS 96

static bool prefix_equal(const uint8_t *a, const uint8_t *b, size_t bits)
{
    size_t whole = bits / 8;
    unsigned rest = (unsigned)(bits % 8);

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) & (0xff00u >> rest)) == 0;
}

static bool read_bits(const char *text, unsigned max, unsigned *bits)
{
    unsigned value = 0;
    size_t len = strlen(text);

    if (len == 0 || len > 3 || (text[0] == '0' && len > 1))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *bits = value;
    return value <= max;
}

/* Only zero bits behind the prefix: 10.1.2.3/8 is more likely a slip than meant as 10.0.0.0/8. */
static enum tg_err check_rest(const struct tg_cidr *cidr, const char *text, struct tg_error *error)
{
    struct tg_address start = {.kind = cidr->network.kind};
    size_t whole = cidr->bits / 8;
    char shown[TG_ADDRESS_SIZE];

    memcpy(start.bytes, cidr->network.bytes, whole);
    if (cidr->bits % 8 != 0)
        start.bytes[whole] =
            (uint8_t)(cidr->network.bytes[whole] & (0xff00u >> (unsigned)(cidr->bits % 8)));
    if (memcmp(start.bytes, cidr->network.bytes, sizeof start.bytes) == 0)
        return TG_ERR_OK;
    tg_address_format(&start, shown);
    return tg_error_set(error, TG_ERR_INVALID,
                        "\"%.60s\" has bits beyond its prefix; the range starts at %s/%u", text,
                        shown, (unsigned)cidr->bits);
}

static enum tg_err parse_range(const char *text, struct tg_cidr *out, struct tg_error *error)
{
    const char *slash = strchr(text, '/');
    size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
    bool v6 = memchr(text, ':', len) != NULL;
    unsigned max = v6 ? 128 : 32;
    unsigned bits = max;

    if (text[0] == '[' || !tg_address_parse(text, len, &out->network) || out->network.port != 0)
        return tg_error_set(error, TG_ERR_INVALID,
                            "\"%.60s\" is no address range; write 10.0.0.0/8, fd00::/8, 192.0.2.1, "
                            "loopback or unix",
                            text);
    if (slash != NULL && !read_bits(slash + 1, max, &bits))
        return tg_error_set(error, TG_ERR_INVALID,
                            "\"%.60s\": the prefix length is a number from 0 to %u", text, max);
    if (v6 && out->network.kind == TG_ADDRESS_V4) {
        if (bits < MAPPED_BITS)
            return tg_error_set(error, TG_ERR_INVALID,
                                "\"%.60s\" mixes IPv4 and IPv6; write the IPv4 range", text);
        bits -= MAPPED_BITS;
    }
    out->bits = (uint8_t)bits;
    return check_rest(out, text, error);
}

enum tg_err tg_cidr_parse(const char *text, struct tg_cidr out[TG_CIDR_PARTS], size_t *count,
                          struct tg_error *error)
{
    static const uint8_t v4_loopback[4] = {127};
    static const uint8_t v6_loopback[16] = {[15] = 1};

    *count = 1;
    if (strcmp(text, "unix") == 0) {
        out[0] = (struct tg_cidr){.network = {.kind = TG_ADDRESS_UNIX}};
        return TG_ERR_OK;
    }
    if (strcmp(text, "loopback") == 0) {
        *count = 2;
        out[0] = (struct tg_cidr){.network = tg_address_v4(v4_loopback, 0), .bits = 8};
        out[1] = (struct tg_cidr){.network = tg_address_v6(v6_loopback, 0), .bits = 128};
        return TG_ERR_OK;
    }
    return parse_range(text, &out[0], error);
}

bool tg_cidr_has(const struct tg_cidr *cidr, const struct tg_address *address)
{
    return cidr->network.kind == address->kind &&
           prefix_equal(cidr->network.bytes, address->bytes, cidr->bits);
}

bool tg_cidr_any(const struct tg_cidr *list, size_t count, const struct tg_address *address)
{
    for (size_t i = 0; i < count; i++)
        if (tg_cidr_has(&list[i], address))
            return true;
    return false;
}
