/* proxy_header_fuzz.c - the PROXY header parser over any bytes; whole and split input must give the same.
 *
 * The first byte picks how the input is split; the rest is the stream.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static size_t play(struct tg_proxy_parser *parser, size_t step, const uint8_t *data, size_t len)
{
    size_t at = 0;

    memset(parser, 0, sizeof *parser);
    while (at < len && parser->status == TG_PROXY_MORE) {
        size_t piece = step == 0 || step > len - at ? len - at : step;
        size_t consumed = SIZE_MAX;
        uint8_t *copy = malloc(piece);
        require(copy != NULL);
        memcpy(copy, data + at, piece);
        enum tg_proxy_status status = tg_proxy_feed(parser, copy, piece, &consumed);
        free(copy);
        require(status == parser->status && consumed <= piece);
        require(consumed == piece || status != TG_PROXY_MORE);
        at += consumed;
        step = step == 0 ? 0 : step * 5 % 251 + 1;
    }
    require(at <= 16 + 216 + TG_PROXY_EXTENSIONS_MAX && parser->len <= TG_PROXY_HELD);
    require((parser->status == TG_PROXY_BAD) == (parser->why != NULL));
    return at;
}

static void check_address(const struct tg_address *address)
{
    char text[TG_ADDRESS_SIZE];
    struct tg_address again;

    tg_address_format(address, text);
    if (address->kind == TG_ADDRESS_UNIX)
        return;
    require(address->kind == TG_ADDRESS_V4 || address->kind == TG_ADDRESS_V6);
    require(tg_address_parse(text, strlen(text), &again));
    require(tg_address_same_host(address, &again) && address->port == again.port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_proxy_parser whole;
    struct tg_proxy_parser split;

    if (size < 1)
        return 0;
    size_t at = play(&whole, 0, data + 1, size - 1);
    require(play(&split, data[0] == 0 ? 1 : data[0], data + 1, size - 1) == at);
    require(whole.status == split.status && whole.local == split.local && whole.why == split.why);
    if (whole.status != TG_PROXY_DONE || whole.local)
        return 0;
    require(memcmp(&whole.source, &split.source, sizeof whole.source) == 0);
    require(memcmp(&whole.destination, &split.destination, sizeof whole.destination) == 0);
    check_address(&whole.source);
    check_address(&whole.destination);
    return 0;
}
