/* request.h - what is kept of the upgrade request after the HTTP parser is gone: one packed block.
 *
 * Scripts may ask for it as long as the connection lives, so every idle client has one: a name that many
 * clients send takes one byte in it, and nothing points into it.
 */
#ifndef TG_CONNECTION_REQUEST_H
#define TG_CONNECTION_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/http.h"

/* Immutable. What the functions below return lives in it. */
struct tg_request;

/* What the HTTP head does not say. All texts are copied. */
struct tg_request_about {
    const char *remote; /* "127.0.0.1:54321" */
    bool secure;        /* a trusted proxy says that the client spoke TLS to it */
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
const char *tg_request_remote(const struct tg_request *request);
bool tg_request_is_secure(const struct tg_request *request);
bool tg_request_is_via_proxy(const struct tg_request *request);
const char *tg_request_tls_info(const struct tg_request *request);           /* or NULL */
const char *tg_request_client_certificate(const struct tg_request *request); /* or NULL */

struct tg_request_header {
    const char *name; /* lower case */
    const char *value;
};

size_t tg_request_header_count(const struct tg_request *request);
/* The next one in the order of the head; start with *cursor = 0. False: there is none. */
bool tg_request_next_header(const struct tg_request *request, size_t *cursor,
                            struct tg_request_header *out);
/* First value of a lower-case header name, or NULL. */
const char *tg_request_header(const struct tg_request *request, const char *name);

#endif
