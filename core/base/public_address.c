/* public_address.c - the ranges of the IANA registries for special purposes.
 *
 * Of IPv6 only 2000::/3 is public in the first place. Addresses that lead to an IPv4 one, and mapped ones,
 * are judged by that.
 */
#include "base/public_address.h"

#include <stddef.h>
#include <string.h>

#include "base/cidr.h"

struct range {
    uint8_t bits;
    uint8_t bytes[16];
};

static const struct range v4_special[] = {
    {8, {0}},             /* this network */
    {8, {10}},            /* private */
    {10, {100, 64}},      /* shared between a carrier's customers */
    {8, {127}},           /* loopback */
    {16, {169, 254}},     /* link-local; metadata services of clouds */
    {12, {172, 16}},      /* private */
    {24, {192, 0, 0}},    /* protocol assignments */
    {24, {192, 0, 2}},    /* documentation */
    {24, {192, 88, 99}},  /* 6to4 relays */
    {16, {192, 168}},     /* private */
    {15, {198, 18}},      /* benchmarks */
    {24, {198, 51, 100}}, /* documentation */
    {24, {203, 0, 113}},  /* documentation */
    {4, {224}},           /* multicast */
    {4, {240}},           /* reserved, broadcast */
};

static const struct range v6_special[] = {
    {23, {0x20, 0x01}},             /* protocol assignments, Teredo among them */
    {32, {0x20, 0x01, 0x0d, 0xb8}}, /* documentation */
    {20, {0x3f, 0xff}},             /* documentation */
};

/* Where the IPv4 address is inside an address of that range. */
static const struct {
    struct range range;
    size_t offset;
} translated[] = {
    {{96, {0x00, 0x64, 0xff, 0x9b}}, 12}, /* NAT64 */
    {{16, {0x20, 0x02}}, 2},              /* 6to4 */
};

static bool within(const struct range *range, const struct tg_address *address)
{
    struct tg_cidr cidr = {.network = {.kind = address->kind}, .bits = range->bits};

    memcpy(cidr.network.bytes, range->bytes, sizeof cidr.network.bytes);
    return tg_cidr_has(&cidr, address);
}

static bool within_any(const struct range *ranges, size_t count, const struct tg_address *address)
{
    for (size_t i = 0; i < count; i++)
        if (within(&ranges[i], address))
            return true;
    return false;
}

static bool v4_is_public(const struct tg_address *address)
{
    return !within_any(v4_special, sizeof v4_special / sizeof v4_special[0], address);
}

static bool v6_is_public(const struct tg_address *address)
{
    static const struct range unicast = {3, {0x20}};

    for (size_t i = 0; i < sizeof translated / sizeof translated[0]; i++) {
        if (!within(&translated[i].range, address))
            continue;
        struct tg_address inside = tg_address_v4(address->bytes + translated[i].offset, 0);
        return v4_is_public(&inside);
    }
    return within(&unicast, address) &&
           !within_any(v6_special, sizeof v6_special / sizeof v6_special[0], address);
}

bool tg_address_is_public(const struct tg_address *address)
{
    switch ((enum tg_address_kind)address->kind) {
    case TG_ADDRESS_V4:
        return v4_is_public(address);
    case TG_ADDRESS_V6: {
        struct tg_address plain = tg_address_v6(address->bytes, 0); /* mapped becomes IPv4 */
        return plain.kind == TG_ADDRESS_V4 ? v4_is_public(&plain) : v6_is_public(&plain);
    }
    case TG_ADDRESS_UNIX:
    case TG_ADDRESS_UNKNOWN:
        break;
    }
    return false;
}
