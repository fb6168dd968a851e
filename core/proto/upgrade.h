/* upgrade.h - the WebSocket opening handshake (RFC 6455 §4), as pure functions over a parsed head.
 */
#ifndef TG_PROTO_UPGRADE_H
#define TG_PROTO_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "proto/http.h"

#define TG_WS_KEY_BYTES 16
#define TG_WS_KEY_LEN 24     /* in base64 */
#define TG_WS_ACCEPT_SIZE 29 /* base64 of SHA-1, and a NUL */

struct tg_upgrade_refusal {
    int status;      /* 400, 404, 405, 426, 505 */
    const char *why; /* one line for people: what was wrong and what to send; static */
    const char
        *extra; /* header lines that the answer needs ("Sec-WebSocket-Version: 13\r\n"); static */
};

/* Server: all checks of §4.2.1 and §4.2.2 on a complete request head: GET, HTTP/1.1 or higher, Host once,
 * Upgrade: websocket, Connection: Upgrade, Sec-WebSocket-Key (once; base64 of 16 bytes),
 * Sec-WebSocket-Version 13 (else 426), Sec-WebSocket-Extensions well-formed if there, no body. A
 * request that is no upgrade attempt at all: 426. */
TG_MUST enum tg_err tg_upgrade_check(const struct tg_http *http,
                                     struct tg_upgrade_refusal *refusal);

/* Server: writes the 101 answer. subprotocol may be NULL; extra as in tg_http_write_response. */
TG_MUST enum tg_err tg_upgrade_accept(struct tg_buffer *out, const struct tg_http *http,
                                      const char *subprotocol, const char *extra);

/* The 16 bytes that this text of a key is made of, for those who keep many. False: it is no key, or not
 * the text that tg_upgrade_key_text makes of them. */
bool tg_upgrade_key_bytes(struct tg_http_text key, uint8_t out[TG_WS_KEY_BYTES]);
void tg_upgrade_key_text(const uint8_t bytes[TG_WS_KEY_BYTES], char out[TG_WS_KEY_LEN + 1]);

/* base64(SHA-1(key + GUID)), §4.2.2 item 5.4. */
void tg_upgrade_accept_key(const char *key, size_t key_len, char out[TG_WS_ACCEPT_SIZE]);

/* Client: a fresh random key and the request for it. `extra` holds further header lines. */
void tg_upgrade_make_key(char out[TG_WS_KEY_LEN + 1]);
TG_MUST enum tg_err tg_upgrade_request(struct tg_buffer *out, const char *host, const char *target,
                                       const char *key, const char *subprotocol, const char *extra);
/* Client: §4.1 checks on a complete response; error says what was wrong. The extensions it chose are
 * for tg_extensions_verify. */
TG_MUST enum tg_err tg_upgrade_verify(const struct tg_http *response, const char *key,
                                      struct tg_error *error);

#endif
