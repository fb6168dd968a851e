/* extensions.h - Sec-WebSocket-Extensions: its grammar (RFC 6455 §9.1) and the negotiation of
 * permessage-deflate (RFC 7692 §7.1), for both sides. Pure functions over a parsed head.
 */
#ifndef TG_PROTO_EXTENSIONS_H
#define TG_PROTO_EXTENSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/deflate.h"
#include "proto/http.h"

#define TG_EXTENSIONS_HEADER "Sec-WebSocket-Extensions: "
#define TG_EXTENSIONS_SIZE 160 /* of any value that is written here, with its NUL */

/* What a server agrees to at most. Clients may ask for less. */
struct tg_deflate_terms {
    bool server_takeover;
    bool client_takeover;
    uint8_t window_bits; /* 9..15; of clients only those that let us choose keep to it */
};

/* What a client offers. */
struct tg_deflate_offer {
    bool server_no_context_takeover;
    bool client_no_context_takeover;
    uint8_t server_max_window_bits; /* 8..15; 0: not in the offer */
    uint8_t client_max_window_bits; /* 8..15; 0: not in the offer; TG_DEFLATE_ANY_BITS: no value */
};

#define TG_DEFLATE_ANY_BITS 255

/* False: what a client or server sent is no extension list, and its handshake must fail. True without
 * a header as well. */
bool tg_extensions_valid(const struct tg_http *http);

/* Server: takes the first offer that it can keep. True: *agreed holds, and `answer` is the value to
 * answer with. False: there is none, and nothing must be answered. */
bool tg_extensions_negotiate(const struct tg_http *request, const struct tg_deflate_terms *terms,
                             struct tg_deflate_agreement *agreed, char answer[TG_EXTENSIONS_SIZE]);

/* Client: the value that makes this offer. */
void tg_extensions_write_offer(const struct tg_deflate_offer *offer, char out[TG_EXTENSIONS_SIZE]);
/* Client: judges the answer to `offer` (NULL: nothing was offered). *used says whether messages may be
 * compressed, as *agreed says. TG_ERR_PROTO: the handshake must fail, and error says why. */
TG_MUST enum tg_err tg_extensions_verify(const struct tg_http *response,
                                         const struct tg_deflate_offer *offer, bool *used,
                                         struct tg_deflate_agreement *agreed,
                                         struct tg_error *error);

#endif
