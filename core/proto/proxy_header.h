/* proxy_header.h - the PROXY protocol, versions 1 and 2: the line or block by which a proxy says, before
 * anything else, whose connection it passes on. Bytes in, addresses out; no socket.
 */
#ifndef TG_PROTO_PROXY_HEADER_H
#define TG_PROTO_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

enum tg_proxy_status {
    TG_PROXY_MORE, /* wants more bytes */
    TG_PROXY_DONE,
    TG_PROXY_BAD /* see tg_proxy_parser.why */
};

/* Longest version 1 line, and longest fixed part of version 2 (with Unix addresses). */
#define TG_PROXY_V1_MAX 107
#define TG_PROXY_HELD 232
/* Extensions (TLVs) that may follow the addresses of version 2; they are skipped. */
#define TG_PROXY_EXTENSIONS_MAX 4096

/* Zero-initialise. After DONE or BAD it takes nothing more. */
struct tg_proxy_parser {
    enum tg_proxy_status status;
    const char *why; /* BAD: for people; static */
    /* DONE: the proxy speaks for itself (LOCAL), or does not know for whom (UNKNOWN): source is not
     * set and the peer's own address counts. */
    bool local;
    struct tg_address source;
    struct tg_address destination;

    size_t len;  /* of held */
    size_t skip; /* bytes of extensions still to come */
    bool skipping;
    uint8_t held[TG_PROXY_HELD];
};

/* Takes bytes up to the end of the header; *consumed <= len. Any split of the input gives the same. */
enum tg_proxy_status tg_proxy_feed(struct tg_proxy_parser *parser, const uint8_t *data, size_t len,
                                   size_t *consumed);

#endif
