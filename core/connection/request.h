/* request.h - what is kept of the upgrade request after the HTTP parser is gone: one packed block.
 *
 * Scripts may ask for it as long as the connection lives, so every idle client has one: what many clients
 * send takes one byte in it, and nothing points into it. Who the client is stands in the connection.
 */
#ifndef TG_CONNECTION_REQUEST_H
#define TG_CONNECTION_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/http.h"
#include "proto/upgrade.h"

/* Immutable. What the functions below return lives in it. */
struct tg_request;

/* What the HTTP head does not say. All texts are copied. */
struct tg_request_about {
    bool secure; /* a trusted proxy says that the client spoke TLS to it */
    /* It came from a trusted proxy, which answers for its headers. From anybody else, what they say of other
     * clients (proto/forwarded.h) is not kept. */
    bool via_proxy;
    /* What TLS knows, as JSON (net/tls.h). NULL: this connection is not over TLS. */
    const char *tls_info;
    const char *client_certificate; /* NULL: none, or none that could be verified */
};

/* NULL when memory is out. Freed with tg_free. */
TG_MUST struct tg_request *tg_request_create(const struct tg_http *http,
                                             const struct tg_request_about *about);

const char *tg_request_method(const struct tg_request *request);
const char *tg_request_path(const struct tg_request *request);  /* not decoded */
const char *tg_request_query(const struct tg_request *request); /* not decoded; "": none */
bool tg_request_is_secure(const struct tg_request *request);
bool tg_request_is_via_proxy(const struct tg_request *request);
const char *tg_request_tls_info(const struct tg_request *request);           /* or NULL */
const char *tg_request_client_certificate(const struct tg_request *request); /* or NULL */

struct tg_request_header {
    enum tg_header number;
    const char *name; /* lower case */
    const char *value;
    size_t value_len;
    /* Where the value of Sec-WebSocket-Key may be: gone with the next header, and a copy's points here. */
    char key[TG_WS_KEY_LEN + 1];
};

size_t tg_request_header_count(const struct tg_request *request);
/* The next one in the order of the head; start with *cursor = 0. False: there is none. */
bool tg_request_next_header(const struct tg_request *request, size_t *cursor,
                            struct tg_request_header *out);
#endif
