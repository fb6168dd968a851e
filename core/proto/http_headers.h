/* http_headers.h - the names of headers that are asked for here or that many clients send, by number.
 *
 * A handshake asks for a dozen names, and what is kept of it (connection/request.c) is kept as long as the
 * connection lives: a number is one comparison, and one byte.
 */
#ifndef TG_PROTO_HTTP_HEADERS_H
#define TG_PROTO_HTTP_HEADERS_H

#include <stddef.h>

/* Looked up from the front: what every client sends comes first, then what every browser sends. */
#define TG_HEADER_MAP(X)                                                                           \
    X(HOST, "host")                                                                                \
    X(UPGRADE, "upgrade")                                                                          \
    X(CONNECTION, "connection")                                                                    \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key")                                                      \
    X(SEC_WEBSOCKET_VERSION, "sec-websocket-version")                                              \
    X(SEC_WEBSOCKET_EXTENSIONS, "sec-websocket-extensions")                                        \
    X(SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol")                                            \
    X(AUTHORIZATION, "authorization")                                                              \
    X(ORIGIN, "origin")                                                                            \
    X(USER_AGENT, "user-agent")                                                                    \
    X(COOKIE, "cookie")                                                                            \
    X(ACCEPT, "accept")                                                                            \
    X(ACCEPT_ENCODING, "accept-encoding")                                                          \
    X(ACCEPT_LANGUAGE, "accept-language")                                                          \
    X(CACHE_CONTROL, "cache-control")                                                              \
    X(PRAGMA, "pragma")                                                                            \
    X(SEC_FETCH_DEST, "sec-fetch-dest")                                                            \
    X(SEC_FETCH_MODE, "sec-fetch-mode")                                                            \
    X(SEC_FETCH_SITE, "sec-fetch-site")                                                            \
    X(X_FORWARDED_FOR, "x-forwarded-for")                                                          \
    X(X_FORWARDED_PROTO, "x-forwarded-proto")                                                      \
    X(X_FORWARDED_HOST, "x-forwarded-host")                                                        \
    X(X_FORWARDED_PORT, "x-forwarded-port")                                                        \
    X(X_REAL_IP, "x-real-ip")                                                                      \
    X(X_REQUEST_ID, "x-request-id")                                                                \
    X(FORWARDED, "forwarded")                                                                      \
    X(X_API_KEY, "x-api-key")                                                                      \
    X(CONTENT_LENGTH, "content-length")                                                            \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                      \
    X(SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept")                                                \
    X(TIDEGATE_CONNECTION_ID, "tidegate-connection-id")

enum tg_header {
    TG_HEADER_OTHER, /* none of them */
#define X(number, name) TG_HEADER_##number,
    TG_HEADER_MAP(X)
#undef X
        TG_HEADERS
};
_Static_assert(TG_HEADERS <= 64, "http_internal.h has a bit for each");

/* The number of a lower-case name. */
enum tg_header tg_header_number(const char *name, size_t len);
const char *tg_header_name(enum tg_header number); /* "" for OTHER; static */

#endif
