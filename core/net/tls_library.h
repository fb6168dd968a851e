/* tls_library.h - the TLS library's headers, and everything that differs between its versions.
 *
 * 2.28 (Debian 12) has TLS 1.2; 3.6 (Debian 13) adds TLS 1.3, which works through PSA. Nobody else asks
 * for a version.
 */
#ifndef TG_NET_TLS_LIBRARY_H
#define TG_NET_TLS_LIBRARY_H

#include <stdbool.h>

#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#include "net/tls_config.h"

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#include <psa/crypto.h>
#define TG_TLS_LIBRARY_3 1
#else
#define TG_TLS_LIBRARY_3 0
#endif

#if TG_TLS_LIBRARY_3 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
#define TG_TLS_LIBRARY_HAS_1_3 true
#else
#define TG_TLS_LIBRARY_HAS_1_3 false
#endif

typedef int (*tg_tls_random_fn)(void *ctx, unsigned char *out, size_t len);

/* Once per process, before anything else. False when the library cannot be used. */
static inline bool tg__tls_library_start(void)
{
#if TG_TLS_LIBRARY_3
    return psa_crypto_init() == PSA_SUCCESS;
#else
    return true;
#endif
}

static inline int tg__tls_parse_key(mbedtls_pk_context *key, const unsigned char *pem, size_t size,
                                    tg_tls_random_fn random)
{
#if TG_TLS_LIBRARY_3
    return mbedtls_pk_parse_key(key, pem, size, NULL, 0, random, NULL);
#else
    (void)random;
    return mbedtls_pk_parse_key(key, pem, size, NULL, 0);
#endif
}

static inline bool tg__tls_is_pair(const mbedtls_x509_crt *certificate,
                                   const mbedtls_pk_context *key, tg_tls_random_fn random)
{
#if TG_TLS_LIBRARY_3
    return mbedtls_pk_check_pair(&certificate->pk, key, random, NULL) == 0;
#else
    (void)random;
    return mbedtls_pk_check_pair(&certificate->pk, key) == 0;
#endif
}

static inline void tg__tls_conf_min_version(mbedtls_ssl_config *conf, enum tg_tls_version version)
{
#if TG_TLS_LIBRARY_3
    mbedtls_ssl_conf_min_tls_version(conf, version == TG_TLS_1_3 ? MBEDTLS_SSL_VERSION_TLS1_3
                                                                 : MBEDTLS_SSL_VERSION_TLS1_2);
#else
    (void)version;
    mbedtls_ssl_conf_min_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
}

/* The library's own order begins with the slowest curves (2.28). */
static inline void tg__tls_conf_groups(mbedtls_ssl_config *conf)
{
#if TG_TLS_LIBRARY_3
    static const uint16_t groups[] = {
        MBEDTLS_SSL_IANA_TLS_GROUP_X25519, MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
        MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1,
        MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
    mbedtls_ssl_conf_groups(conf, groups);
#else
    static const mbedtls_ecp_group_id groups[] = {
        MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_SECP384R1,
        MBEDTLS_ECP_DP_SECP521R1, MBEDTLS_ECP_DP_NONE};
    mbedtls_ssl_conf_curves(conf, groups);
#endif
}

static inline bool tg__tls_is_established(mbedtls_ssl_context *ssl)
{
#if TG_TLS_LIBRARY_3
    return mbedtls_ssl_is_handshake_over(ssl) != 0;
#else
    return ssl->state == MBEDTLS_SSL_HANDSHAKE_OVER;
#endif
}

/* What was given to mbedtls_ssl_set_bio; for callbacks that only get the context. */
static inline void tg__tls_set_owner(mbedtls_ssl_context *ssl, void *owner)
{
#if TG_TLS_LIBRARY_3
    mbedtls_ssl_set_user_data_p(ssl, owner);
#else
    (void)ssl, (void)owner; /* it is p_bio */
#endif
}

static inline void *tg__tls_owner(mbedtls_ssl_context *ssl)
{
#if TG_TLS_LIBRARY_3
    return mbedtls_ssl_get_user_data_p(ssl);
#else
    return ssl->p_bio;
#endif
}

/* Code of the alert that made the last call return FATAL_ALERT_MESSAGE; there is no other way to it. */
static inline int tg__tls_fatal_alert(const mbedtls_ssl_context *ssl)
{
#if TG_TLS_LIBRARY_3
    return ssl->MBEDTLS_PRIVATE(in_msg)[1];
#else
    return ssl->in_msg[1];
#endif
}

/* Results that only ask to be called again. */
static inline bool tg__tls_is_nothing(int result)
{
#if TG_TLS_LIBRARY_3
    return result == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET;
#else
    (void)result;
    return false;
#endif
}

#endif
