/* proxy_header.c - PROXY protocol 1 and 2, as HAProxy's proxy-protocol.txt defines them.
 *
 * Bytes are held until the fixed part is whole, at most TG_PROXY_HELD of them, so there is one parser
 * for any split of the input. What cannot become a header any more is refused at the first byte that
 * shows it: a client that speaks HTTP where a header is required is not waited for.
 */
#include "proto/proxy_header.h"

#include <string.h>

#define V2_START 16 /* signature, command, family, length */
#define V2_SIGNATURE_LEN 12

static const uint8_t v2_signature[V2_SIGNATURE_LEN] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                                       '\n', 'Q',  'U',  'I',  'T', '\n'};
static const char v1_start[] = "PROXY ";

static enum tg_proxy_status bad(struct tg_proxy_parser *parser, const char *why)
{
    parser->why = why;
    return TG_PROXY_BAD;
}

/* --- version 1: one line of text --------------------------------------------------------------------- */

/* The next word of the line; exactly one blank stands between two. */
static bool next_word(const char **at, const char *end, const char **word, size_t *len)
{
    const char *blank;

    if (*at == NULL)
        return false;
    blank = memchr(*at, ' ', (size_t)(end - *at));
    *word = *at;
    *len = (size_t)((blank == NULL ? end : blank) - *at);
    *at = blank == NULL ? NULL : blank + 1;
    return *len > 0;
}

static bool read_port(const char *text, size_t len, uint16_t *port)
{
    unsigned value = 0;

    if (len == 0 || len > 5 || (text[0] == '0' && len > 1))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= 65535;
}

/* A bare address of the family that the line names; a mapped IPv6 address becomes IPv4 only after. */
static bool read_address(const char *text, size_t len, bool v6, struct tg_address *out)
{
    bool colon = memchr(text, ':', len) != NULL;

    return colon == v6 && text[0] != '[' && tg_address_parse(text, len, out);
}

static enum tg_proxy_status parse_v1_addresses(struct tg_proxy_parser *parser, const char *at,
                                               const char *end, bool v6)
{
    const char *words[4];
    size_t lens[4];

    for (size_t i = 0; i < 4; i++)
        if (!next_word(&at, end, &words[i], &lens[i]))
            return bad(parser, "a PROXY line has two addresses and two ports");
    if (at != NULL)
        return bad(parser, "a PROXY line has nothing after its ports");
    if (!read_address(words[0], lens[0], v6, &parser->source) ||
        !read_address(words[1], lens[1], v6, &parser->destination))
        return bad(parser, "a PROXY line names an address that is none");
    if (!read_port(words[2], lens[2], &parser->source.port) ||
        !read_port(words[3], lens[3], &parser->destination.port))
        return bad(parser, "a PROXY line names a port that is none");
    return TG_PROXY_DONE;
}

static enum tg_proxy_status parse_v1(struct tg_proxy_parser *parser)
{
    const char *at = (const char *)parser->held + strlen(v1_start);
    const char *end = (const char *)parser->held + parser->len - 2; /* CR LF */
    const char *family;
    size_t len;

    if (!next_word(&at, end, &family, &len))
        return bad(parser, "a PROXY line names no protocol");
    if (len == 7 && memcmp(family, "UNKNOWN", 7) == 0) {
        parser->local = true; /* what follows on the line is to be ignored */
        return TG_PROXY_DONE;
    }
    if (len != 4 || memcmp(family, "TCP", 3) != 0 || (family[3] != '4' && family[3] != '6'))
        return bad(parser, "a PROXY line is about TCP4, TCP6 or UNKNOWN");
    return parse_v1_addresses(parser, at, end, family[3] == '6');
}

static enum tg_proxy_status step_v1(struct tg_proxy_parser *parser)
{
    uint8_t last = parser->held[parser->len - 1];
    bool after_cr = parser->len > 1 && parser->held[parser->len - 2] == '\r';

    if (last == '\n' && after_cr)
        return parse_v1(parser);
    if (last == '\n' || after_cr || last == '\0')
        return bad(parser, "a PROXY line ends in CR LF");
    if (parser->len == TG_PROXY_V1_MAX)
        return bad(parser, "a PROXY line is too long");
    return TG_PROXY_MORE;
}

/* --- version 2: a block of bytes --------------------------------------------------------------------- */

/* Bytes that the addresses of a family take; SIZE_MAX: no family that a stream has. */
static size_t v2_addresses_len(uint8_t family)
{
    switch (family) {
    case 0x00: /* unspecified */
        return 0;
    case 0x11: /* TCP over IPv4 */
        return 12;
    case 0x21: /* TCP over IPv6 */
        return 36;
    case 0x31: /* a Unix stream socket */
        return 216;
    default:
        return SIZE_MAX;
    }
}

static uint16_t read_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void take_v2_addresses(struct tg_proxy_parser *parser, uint8_t family)
{
    const uint8_t *at = parser->held + V2_START;

    if (family == 0x11) {
        parser->source = tg_address_v4(at, read_u16(at + 8));
        parser->destination = tg_address_v4(at + 4, read_u16(at + 10));
    } else if (family == 0x21) {
        parser->source = tg_address_v6(at, read_u16(at + 32));
        parser->destination = tg_address_v6(at + 16, read_u16(at + 34));
    } else if (family == 0x31) {
        parser->source = (struct tg_address){.kind = TG_ADDRESS_UNIX};
        parser->destination = parser->source;
    } else {
        parser->local = true;
    }
}

/* The fixed start is there: how many bytes of it and of the addresses must be held, then skipped. */
static enum tg_proxy_status check_v2_start(struct tg_proxy_parser *parser, size_t *held_len)
{
    uint8_t command = parser->held[12];
    size_t len = read_u16(parser->held + 14);
    size_t addresses = v2_addresses_len(parser->held[13]);

    if (command >> 4 != 2 || (command & 0x0f) > 1)
        return bad(parser, "a PROXY header of an unknown version or command");
    if ((command & 0x0f) == 0) { /* LOCAL: family and addresses are to be ignored */
        parser->local = true;
        addresses = 0;
    } else if (addresses == SIZE_MAX) {
        return bad(parser, "a PROXY header for something else than a stream");
    } else if (len < addresses) {
        return bad(parser, "a PROXY header that is shorter than its addresses");
    }
    if (len - addresses > TG_PROXY_EXTENSIONS_MAX)
        return bad(parser, "a PROXY header that is too long");
    *held_len = V2_START + addresses;
    parser->skip = len - addresses;
    return TG_PROXY_MORE;
}

static enum tg_proxy_status step_v2(struct tg_proxy_parser *parser)
{
    size_t held_len = 0;

    if (parser->len < V2_START)
        return TG_PROXY_MORE;
    if (check_v2_start(parser, &held_len) == TG_PROXY_BAD)
        return TG_PROXY_BAD;
    if (parser->len < held_len)
        return TG_PROXY_MORE;
    if (!parser->local)
        take_v2_addresses(parser, parser->held[13]);
    parser->skipping = parser->skip > 0;
    return parser->skipping ? TG_PROXY_MORE : TG_PROXY_DONE;
}

/* --- both -------------------------------------------------------------------------------------------- */

static bool starts_like(const struct tg_proxy_parser *parser, const void *start, size_t start_len)
{
    size_t len = parser->len < start_len ? parser->len : start_len;

    return memcmp(parser->held, start, len) == 0;
}

/* One more byte is held: what do they make now? */
static enum tg_proxy_status step(struct tg_proxy_parser *parser)
{
    if (starts_like(parser, v2_signature, sizeof v2_signature))
        return step_v2(parser);
    if (!starts_like(parser, v1_start, strlen(v1_start)))
        return bad(parser, "a PROXY header was expected");
    return parser->len < strlen(v1_start) ? TG_PROXY_MORE : step_v1(parser);
}

enum tg_proxy_status tg_proxy_feed(struct tg_proxy_parser *parser, const uint8_t *data, size_t len,
                                   size_t *consumed)
{
    size_t at = 0;

    while (parser->status == TG_PROXY_MORE && !parser->skipping && at < len) {
        parser->held[parser->len++] = data[at++];
        parser->status = step(parser);
    }
    if (parser->skipping && parser->status == TG_PROXY_MORE) {
        size_t taken = parser->skip < len - at ? parser->skip : len - at;
        parser->skip -= taken;
        at += taken;
        if (parser->skip == 0)
            parser->status = TG_PROXY_DONE;
    }
    *consumed = at;
    return parser->status;
}
