/* request.h - what is kept of the upgrade request after the HTTP parser is gone: one packed block.
 */
#ifndef TG_CONNECTION_REQUEST_H
#define TG_CONNECTION_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/http.h"

struct tg_request_header {
    const char *name; /* lower case */
    const char *value;
};

/* What TLS knows of the connection, as JSON (net/tls.h). */
struct tg_request_tls {
    const char *info;
    const char *client_certificate; /* NULL: none, or none that could be verified */
};

/* Immutable. All texts are NUL-terminated and live in the same block. */
struct tg_request {
    const char *method;
    const char *path;          /* not decoded */
    const char *query;         /* not decoded; "" when there is none */
    const char *remote;        /* "127.0.0.1:54321" */
    bool secure;               /* a trusted proxy says that the client spoke TLS to it */
    bool via_proxy;            /* it came from a trusted proxy, which answers for its headers */
    struct tg_request_tls tls; /* info NULL: this connection is not over TLS */
    size_t header_count;
    struct tg_request_header headers[];
};

/* tls NULL: not over TLS. NULL when memory is out. Freed with tg_free. */
TG_MUST struct tg_request *tg_request_create(const struct tg_http *http, const char *remote,
                                             const struct tg_request_tls *tls);
/* Forgets what proxies say of the client: it came from somebody who is no trusted proxy. */
void tg_request_drop_forwarded(struct tg_request *request);
/* First value of a lower-case header name, or NULL. */
const char *tg_request_header(const struct tg_request *request, const char *name);

#endif
