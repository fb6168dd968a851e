/* tls_config.c - certificates, keys and rules, once per lane.
 *
 * Files are read once and parsed for each lane, so all lanes are the same whatever happens on disk
 * meanwhile. Nothing changes after create but the ticket keys, which the library rotates under its own
 * lock.
 */
#include "net/tls_config.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "net/tls_internal.h"

#define TICKET_LIFETIME_S (24 * 3600)

/* Forward secrecy and authenticated encryption only. A name that this build of the library does not
 * have (TLS 1.3 in 2.28) is left out. */
static const char *const good_ciphers[] = {
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
};
#define GOOD_CIPHERS (sizeof good_ciphers / sizeof good_ciphers[0])

static enum tg_err out_of_memory(struct tg_error *error)
{
    (void)tg_error_set(error, TG_ERR_NOMEM, "out of memory");
    return TG_ERR_NOMEM;
}

static void warn_about_time(const mbedtls_x509_crt *certificate, const char *path)
{
    const mbedtls_x509_time *to = &certificate->valid_to;
    char not_after[32];
    (void)snprintf(not_after, sizeof not_after, "%04d-%02d-%02d", to->year, to->mon, to->day);
    if (mbedtls_x509_time_is_past(to))
        tg_log(TG_LOG_WARN, "tls.certificate_expired", tg_log_str("file", path),
               tg_log_str("not_after", not_after));
    else if (mbedtls_x509_time_is_future(&certificate->valid_from))
        tg_log(TG_LOG_WARN, "tls.certificate_not_yet_valid", tg_log_str("file", path));
}

/* --- building ---------------------------------------------------------------------------------------- */

static void lane_init(struct tg__tls_lane *lane)
{
    mbedtls_ssl_config_init(&lane->ssl);
    mbedtls_x509_crt_init(&lane->ca);
}

static void lane_fini(struct tg__tls_lane *lane)
{
    mbedtls_ssl_config_free(&lane->ssl);
    mbedtls_x509_crt_free(&lane->ca);
    for (size_t i = 0; i < lane->pair_count; i++) {
        mbedtls_x509_crt_free(&lane->pairs[i].chain);
        mbedtls_pk_free(&lane->pairs[i].key);
    }
    tg_free(lane->pairs);
}

static struct tg_tls_config *config_new(size_t lanes)
{
    struct tg_tls_config *config =
        tg_calloc(1, sizeof *config + lanes * sizeof(struct tg__tls_lane));
    if (config == NULL)
        return NULL;
    atomic_init(&config->references, 1);
    config->lane_count = lanes;
    mbedtls_ssl_ticket_init(&config->tickets);
    for (size_t i = 0; i < lanes; i++)
        lane_init(&config->lanes[i]);
    return config;
}

static enum tg_err lane_add_pairs(struct tg__tls_lane *lane, const struct tg__pem *pems,
                                  size_t count, struct tg_error *error)
{
    enum tg_err err = TG_ERR_OK;
    if (count == 0)
        return TG_ERR_OK;
    lane->pairs = tg_calloc(count, sizeof *lane->pairs);
    if (lane->pairs == NULL)
        return out_of_memory(error);
    for (size_t i = 0; i < count && err == TG_ERR_OK; i++) {
        struct tg__tls_pair *pair = &lane->pairs[lane->pair_count++];
        mbedtls_x509_crt_init(&pair->chain);
        mbedtls_pk_init(&pair->key);
        err = tg__pem_parse_pair(pair, &pems[2 * i], &pems[2 * i + 1], error);
    }
    return err;
}

static enum tg_err lane_start(struct tg__tls_lane *lane, struct tg_tls_config *config, int endpoint,
                              struct tg_error *error)
{
    static const char *protocols[] = {"http/1.1", NULL};
    mbedtls_ssl_config *ssl = &lane->ssl;
    int result = mbedtls_ssl_config_defaults(ssl, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM,
                                             MBEDTLS_SSL_PRESET_DEFAULT);
    if (result == 0)
        result = mbedtls_ssl_conf_alpn_protocols(ssl, protocols);
    if (result == 0 && lane->pair_count > 0)
        result = mbedtls_ssl_conf_own_cert(ssl, &lane->pairs[0].chain, &lane->pairs[0].key);
    if (result != 0)
        return tg_error_set(error, TG_ERR_NOMEM, "TLS cannot be set up (-0x%04x)",
                            (unsigned)-result);
    mbedtls_ssl_conf_rng(ssl, tg__tls_random, NULL);
    mbedtls_ssl_conf_ciphersuites(ssl, config->ciphers);
    tg__tls_conf_min_version(ssl, TG_TLS_1_2);
    tg__tls_conf_groups(ssl);
    return TG_ERR_OK;
}

/* Gives the handshake all pairs that are for the name: a client may speak to only one kind of key. */
static bool offer_pairs(struct tg__tls_lane *lane, mbedtls_ssl_context *ssl, const char *name,
                        size_t len, bool wildcards, int *result)
{
    bool found = false;
    for (size_t i = 0; i < lane->pair_count && *result == 0; i++) {
        struct tg__tls_pair *pair = &lane->pairs[i];
        if (!tg__tls_is_for_name(&pair->chain, name, len, wildcards))
            continue;
        *result = mbedtls_ssl_set_hs_own_cert(ssl, &pair->chain, &pair->key);
        found = true;
    }
    return found;
}

static int on_server_name(void *ctx, mbedtls_ssl_context *ssl, const unsigned char *name,
                          size_t len)
{
    struct tg__tls_lane *lane = ctx;
    struct tg_tls *tls = tg__tls_owner(ssl);
    int result = 0;
    tg_free(tls->server_name);
    tls->server_name = tg_strndup((const char *)name, len);
    if (tls->server_name == NULL)
        return -1;
    if (!offer_pairs(lane, ssl, tls->server_name, len, false, &result))
        (void)offer_pairs(lane, ssl, tls->server_name, len, true, &result);
    return result;
}

static int authmode_of(enum tg_tls_client_auth auth)
{
    switch (auth) {
    case TG_TLS_CLIENT_NONE:
        return MBEDTLS_SSL_VERIFY_NONE;
    case TG_TLS_CLIENT_OPTIONAL:
        return MBEDTLS_SSL_VERIFY_OPTIONAL;
    case TG_TLS_CLIENT_REQUIRED:
        break;
    }
    return MBEDTLS_SSL_VERIFY_REQUIRED;
}

/* pems: certificate and key of each pair, then the CA. */
static enum tg_err build_server_lane(struct tg_tls_config *config, struct tg__tls_lane *lane,
                                     const struct tg_tls_server_options *options,
                                     const struct tg__pem *pems, struct tg_error *error)
{
    const struct tg__pem *ca = &pems[2 * options->pair_count];
    enum tg_err err = lane_add_pairs(lane, pems, options->pair_count, error);
    if (err == TG_ERR_OK && ca->text != NULL)
        err = tg__pem_parse_certificates(&lane->ca, ca, false, error);
    if (err == TG_ERR_OK)
        err = lane_start(lane, config, MBEDTLS_SSL_IS_SERVER, error);
    if (err != TG_ERR_OK)
        return err;
    tg__tls_conf_min_version(&lane->ssl, options->min_version);
    mbedtls_ssl_conf_sni(&lane->ssl, on_server_name, lane);
    mbedtls_ssl_conf_authmode(&lane->ssl, authmode_of(options->client_auth));
    if (ca->text != NULL)
        mbedtls_ssl_conf_ca_chain(&lane->ssl, &lane->ca, NULL);
    if (options->session_tickets && options->client_auth == TG_TLS_CLIENT_NONE)
        mbedtls_ssl_conf_session_tickets_cb(&lane->ssl, mbedtls_ssl_ticket_write,
                                            mbedtls_ssl_ticket_parse, &config->tickets);
    return TG_ERR_OK;
}

/* Suites of TLS 1.3 and of 1.2 have nothing in common, so naming some of the one says nothing about the
 * other. */
static void add_good_ciphers(int *ciphers, size_t *count, bool of_1_3)
{
    for (size_t i = 0; i < GOOD_CIPHERS; i++) {
        int id = tg__tls_cipher_find(good_ciphers[i]);
        if (id != 0 && tg__tls_cipher_is_1_3(good_ciphers[i]) == of_1_3)
            ciphers[(*count)++] = id;
    }
}

static enum tg_err choose_ciphers(struct tg_tls_config *config, const char *const *names,
                                  size_t count, struct tg_error *error)
{
    bool named[2] = {false, false}; /* of 1.2, of 1.3 */
    size_t n = 0;
    config->ciphers = tg_calloc(count + GOOD_CIPHERS + 1, sizeof *config->ciphers);
    if (config->ciphers == NULL)
        return out_of_memory(error);
    for (size_t i = 0; i < count; i++) {
        int id = tg__tls_cipher_find(names[i]);
        if (id == 0)
            return tg_error_set(error, TG_ERR_INVALID,
                                "tls.ciphers: \"%s\" is not known; write IANA names such as "
                                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                                names[i]);
        named[tg__tls_cipher_is_1_3(names[i])] = true;
        config->ciphers[n++] = id;
    }
    if (!named[1])
        add_good_ciphers(config->ciphers, &n, true);
    if (!named[0])
        add_good_ciphers(config->ciphers, &n, false);
    return TG_ERR_OK;
}

static enum tg_err build_server(struct tg_tls_config *config,
                                const struct tg_tls_server_options *options,
                                const struct tg__pem *pems, struct tg_error *error)
{
    enum tg_err err = choose_ciphers(config, options->ciphers, options->cipher_count, error);
    if (err == TG_ERR_OK && options->session_tickets &&
        mbedtls_ssl_ticket_setup(&config->tickets, tg__tls_random, NULL, MBEDTLS_CIPHER_AES_256_GCM,
                                 TICKET_LIFETIME_S) != 0)
        err = tg_error_set(error, TG_ERR_NOMEM, "TLS session tickets cannot be set up");
    for (size_t i = 0; i < config->lane_count && err == TG_ERR_OK; i++)
        err = build_server_lane(config, &config->lanes[i], options, pems, error);
    for (size_t i = 0; i < options->pair_count && err == TG_ERR_OK; i++)
        warn_about_time(&config->lanes[0].pairs[i].chain, options->certificates[i]);
    return err;
}

static enum tg_err check_server_options(const struct tg_tls_server_options *options,
                                        struct tg_error *error)
{
    if (!tg__tls_library_start())
        return tg_error_set(error, TG_ERR_SYS, "the crypto library does not start");
    if (options->min_version == TG_TLS_1_3 && !tg_tls_has_1_3())
        return tg_error_set(error, TG_ERR_INVALID,
                            "tls.min_version: this build's TLS library (mbedTLS %s) has no "
                            "TLS 1.3; write \"1.2\"",
                            MBEDTLS_VERSION_STRING);
    return TG_ERR_OK;
}

/* Over the digest of each, so that nothing can move from one file to the next. */
static void digest_files(struct tg_tls_config *config, const struct tg__pem *pems, size_t count)
{
    uint8_t both[2 * TG_SHA256_SIZE] = {0};
    for (size_t i = 0; i < count; i++) {
        tg_sha256(pems[i].text, pems[i].size, both + TG_SHA256_SIZE);
        tg_sha256(both, sizeof both, both);
    }
    memcpy(config->digest, both, sizeof config->digest);
}

enum tg_err tg_tls_config_create_server(struct tg_tls_config **out,
                                        const struct tg_tls_server_options *options,
                                        struct tg_error *error)
{
    size_t files = 2 * options->pair_count + 1;
    enum tg_err err = check_server_options(options, error);
    if (err != TG_ERR_OK)
        return err;
    struct tg_tls_config *config = config_new(options->lanes);
    struct tg__pem *pems = tg_calloc(files, sizeof *pems);
    if (config == NULL || pems == NULL)
        err = out_of_memory(error);
    for (size_t i = 0; i < options->pair_count && err == TG_ERR_OK; i++) {
        err = tg__pem_read(&pems[2 * i], options->certificates[i], error);
        if (err == TG_ERR_OK)
            err = tg__pem_read(&pems[2 * i + 1], options->keys[i], error);
    }
    if (err == TG_ERR_OK && options->client_auth != TG_TLS_CLIENT_NONE)
        err = tg__pem_read(&pems[files - 1], options->client_ca, error);
    if (err == TG_ERR_OK)
        err = build_server(config, options, pems, error);
    if (err == TG_ERR_OK)
        digest_files(config, pems, files);
    for (size_t i = 0; pems != NULL && i < files; i++)
        tg__pem_fini(&pems[i]);
    tg_free(pems);
    if (err == TG_ERR_OK)
        *out = config;
    else
        tg_tls_config_release(config);
    return err;
}

/* pems: certificate and key, then the CA. */
static enum tg_err build_client(struct tg_tls_config *config,
                                const struct tg_tls_client_options *options,
                                const struct tg__pem pems[3], struct tg_error *error)
{
    struct tg__tls_lane *lane = &config->lanes[0];
    enum tg_err err = choose_ciphers(config, NULL, 0, error);
    if (err == TG_ERR_OK)
        err = lane_add_pairs(lane, pems, options->certificate == NULL ? 0 : 1, error);
    if (err == TG_ERR_OK && !options->insecure)
        err = tg__pem_parse_certificates(&lane->ca, &pems[2], true, error);
    if (err == TG_ERR_OK)
        err = lane_start(lane, config, MBEDTLS_SSL_IS_CLIENT, error);
    if (err != TG_ERR_OK)
        return err;
    config->insecure = options->insecure;
    mbedtls_ssl_conf_authmode(&lane->ssl, options->insecure ? MBEDTLS_SSL_VERIFY_NONE
                                                            : MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&lane->ssl, &lane->ca, NULL);
    mbedtls_ssl_conf_session_tickets(&lane->ssl, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    return TG_ERR_OK;
}

enum tg_err tg_tls_config_create_client(struct tg_tls_config **out,
                                        const struct tg_tls_client_options *options,
                                        struct tg_error *error)
{
    struct tg__pem pems[3] = {{0}};
    enum tg_err err = TG_ERR_OK;
    if (!tg__tls_library_start())
        return tg_error_set(error, TG_ERR_SYS, "the crypto library does not start");
    struct tg_tls_config *config = config_new(1);
    if (config == NULL)
        err = out_of_memory(error);
    if (err == TG_ERR_OK && options->certificate != NULL)
        err = tg__pem_read(&pems[0], options->certificate, error);
    if (err == TG_ERR_OK && options->certificate != NULL)
        err = tg__pem_read(&pems[1], options->key, error);
    if (err == TG_ERR_OK && !options->insecure)
        err = tg__pem_read(&pems[2], options->ca, error);
    if (err == TG_ERR_OK)
        err = build_client(config, options, pems, error);
    for (size_t i = 0; i < 3; i++)
        tg__pem_fini(&pems[i]);
    if (err == TG_ERR_OK)
        *out = config;
    else
        tg_tls_config_release(config);
    return err;
}

struct tg_tls_config *tg_tls_config_retain(struct tg_tls_config *config)
{
    atomic_fetch_add_explicit(&config->references, 1, memory_order_relaxed);
    return config;
}

void tg_tls_config_release(struct tg_tls_config *config)
{
    if (config == NULL ||
        atomic_fetch_sub_explicit(&config->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < config->lane_count; i++)
        lane_fini(&config->lanes[i]);
    mbedtls_ssl_ticket_free(&config->tickets);
    tg_free(config->ciphers);
    tg_free(config);
}

bool tg_tls_config_is_same(const struct tg_tls_config *a, const struct tg_tls_config *b)
{
    return memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}

bool tg_tls_has_1_3(void)
{
    return TG_TLS_LIBRARY_HAS_1_3;
}

int tg__tls_random(void *ctx, unsigned char *out, size_t len)
{
    (void)ctx;
    tg_random_bytes(out, len);
    return 0;
}
