/* address.c - reading and writing addresses. */
#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct tg_address tg_address_v4(const uint8_t bytes[4], uint16_t port)
{
    struct tg_address address = {.kind = TG_ADDRESS_V4, .port = port};

    memcpy(address.bytes, bytes, 4);
    return address;
}

struct tg_address tg_address_v6(const uint8_t bytes[16], uint16_t port)
{
    struct tg_address address = {.kind = TG_ADDRESS_V6, .port = port};

    if (memcmp(bytes, mapped_prefix, sizeof mapped_prefix) == 0)
        return tg_address_v4(bytes + sizeof mapped_prefix, port);
    memcpy(address.bytes, bytes, 16);
    return address;
}

static char *put_number(char *at, unsigned value)
{
    char digits[5];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

/* By hand: every client that comes is written once, and with printf that is 3 % of its handshake. */
static void format_v4(const struct tg_address *address, char *at)
{
    for (size_t i = 0; i < 4; i++) {
        if (i > 0)
            *at++ = '.';
        at = put_number(at, address->bytes[i]);
    }
    if (address->port != 0) {
        *at++ = ':';
        at = put_number(at, address->port);
    }
    *at = '\0';
}

void tg_address_format(const struct tg_address *address, char out[TG_ADDRESS_SIZE])
{
    char host[INET6_ADDRSTRLEN];

    switch ((enum tg_address_kind)address->kind) {
    case TG_ADDRESS_V4:
        format_v4(address, out);
        return;
    case TG_ADDRESS_V6:
        break;
    case TG_ADDRESS_UNIX:
        (void)snprintf(out, TG_ADDRESS_SIZE, "unix");
        return;
    case TG_ADDRESS_UNKNOWN:
        (void)snprintf(out, TG_ADDRESS_SIZE, "unknown");
        return;
    }
    (void)inet_ntop(AF_INET6, address->bytes, host, sizeof host);
    if (address->port == 0)
        (void)snprintf(out, TG_ADDRESS_SIZE, "%s", host);
    else
        (void)snprintf(out, TG_ADDRESS_SIZE, "[%s]:%u", host, (unsigned)address->port);
}

static bool read_port(const char *text, size_t len, uint16_t *port)
{
    unsigned long value = 0;

    if (len == 0 || len > 5 || (text[0] == '0' && len > 1))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (unsigned long)(text[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= 65535;
}

static bool read_host(const char *text, size_t len, bool v6, uint16_t port, struct tg_address *out)
{
    char host[INET6_ADDRSTRLEN];
    uint8_t bytes[16];

    if (len == 0 || len >= sizeof host || memchr(text, '\0', len) != NULL)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    if (inet_pton(v6 ? AF_INET6 : AF_INET, host, bytes) != 1)
        return false;
    *out = v6 ? tg_address_v6(bytes, port) : tg_address_v4(bytes, port);
    return true;
}

bool tg_address_parse(const char *text, size_t len, struct tg_address *out)
{
    uint16_t port = 0;

    if (len > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', len);
        if (end == NULL)
            return false;
        size_t host_len = (size_t)(end - text) - 1;
        size_t rest = len - host_len - 2;
        if (rest > 0 && (end[1] != ':' || !read_port(end + 2, rest - 1, &port)))
            return false;
        return read_host(text + 1, host_len, true, port, out);
    }
    const char *colon = len == 0 ? NULL : memchr(text, ':', len);
    if (colon == NULL)
        return read_host(text, len, false, 0, out);
    size_t host_len = (size_t)(colon - text);
    if (memchr(colon + 1, ':', len - host_len - 1) != NULL)
        return read_host(text, len, true, 0, out);
    return read_port(colon + 1, len - host_len - 1, &port) &&
           read_host(text, host_len, false, port, out);
}

bool tg_address_same_host(const struct tg_address *a, const struct tg_address *b)
{
    return a->kind == b->kind && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
