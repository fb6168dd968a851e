/* tls_config.h - certificates, keys and what peers must prove, for all connections of a process.
 *
 * Made whole or not at all, then never changed: a reload makes another one. Counted, so that a
 * connection keeps the one that it began with; the count may change on any thread. The crypto library
 * locks keys or races on them when threads share them, so each thread uses a lane of its own: the same
 * certificates and keys once more. Session tickets are good on all lanes, and die with their
 * configuration: what old certificates vouched for is never resumed.
 */
#ifndef TG_NET_TLS_CONFIG_H
#define TG_NET_TLS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct tg_tls_config;

enum tg_tls_client_auth {
    TG_TLS_CLIENT_NONE,     /* certificates are not asked for */
    TG_TLS_CLIENT_OPTIONAL, /* one that cannot be verified counts as none */
    TG_TLS_CLIENT_REQUIRED
};
enum tg_tls_version { TG_TLS_1_2, TG_TLS_1_3 };

/* All is borrowed for the call only. Files hold PEM. */
struct tg_tls_server_options {
    /* Pairs, in order. The first is for clients that name no server, or one that no other is for; others
     * are chosen by the names in them, `*.example.com` included. */
    const char *const *certificates; /* the server's own first, then what leads to its root */
    const char *const *keys;
    size_t pair_count;
    const char *client_ca; /* NULL: client_auth is NONE */
    enum tg_tls_client_auth client_auth;
    enum tg_tls_version min_version;
    /* Ignored while certificates are asked for: those are verified on every connection. */
    bool session_tickets;
    const char *const *ciphers; /* IANA names, best first; none of a version: a good choice */
    size_t cipher_count;
    size_t lanes; /* threads that will use it */
};

struct tg_tls_client_options {
    const char *ca;          /* file; NULL with insecure */
    const char *certificate; /* NULL: none */
    const char *key;
    bool insecure; /* any certificate will do */
};

/* error names the option's file and the cause. A certificate that is not valid today is logged only
 * (tls.certificate_expired). */
TG_MUST enum tg_err tg_tls_config_create_server(struct tg_tls_config **out,
                                                const struct tg_tls_server_options *options,
                                                struct tg_error *error);
TG_MUST enum tg_err tg_tls_config_create_client(struct tg_tls_config **out,
                                                const struct tg_tls_client_options *options,
                                                struct tg_error *error);
struct tg_tls_config *tg_tls_config_retain(struct tg_tls_config *config); /* returns it */
void tg_tls_config_release(struct tg_tls_config *config);                 /* NULL is allowed */

/* Both were made of files with the same content. */
bool tg_tls_config_is_same(const struct tg_tls_config *a, const struct tg_tls_config *b);

/* Whether the library that this program runs with speaks TLS 1.3. */
bool tg_tls_has_1_3(void);

#endif
