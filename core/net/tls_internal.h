/* tls_internal.h - what the tls*.c files share. */
#ifndef TG_NET_TLS_INTERNAL_H
#define TG_NET_TLS_INTERNAL_H

#include <stdatomic.h>

#include "base/hash.h"
#include "base/list.h" /* TG_CONTAINER_OF */
#include "net/net_internal.h"
#include "net/tls.h"
#include "net/tls_config.h"
#include "net/tls_library.h"

/* A certificate with what leads to its root, and its key. */
struct tg__tls_pair {
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
};

/* The configuration as one thread uses it. */
struct tg__tls_lane {
    mbedtls_ssl_config ssl;
    struct tg__tls_pair *pairs; /* owned; pair_count of them */
    size_t pair_count;
    mbedtls_x509_crt ca;
};

struct tg_tls_config {
    _Atomic size_t references;
    mbedtls_ssl_ticket_context tickets; /* locked by the library */
    int *ciphers;                       /* owned; ends with 0 */
    uint8_t digest[TG_SHA256_SIZE];     /* over all files */
    bool insecure;                      /* a client that takes any certificate */
    size_t lane_count;
    struct tg__tls_lane lanes[];
};

/* One connection: tls.c. */
struct tg_tls {
    struct tg_filter filter; /* of its stream */
    mbedtls_ssl_context ssl;
    struct tg_tls_config *config; /* counted */
    const uint8_t *in;            /* borrowed while `received` runs: bytes not yet decoded */
    size_t in_len;
    struct tg_buffer out;   /* encoded, not yet with the socket */
    struct tg_buffer plain; /* of the owner, not yet encoded */
    char *server_name;   /* owned; what a client asked for, or NULL; for a client: whom it asks */
    uint8_t address[16]; /* a client's server, when it is named by its address */
    uint8_t address_len; /* 0: it is not */
    size_t rest;         /* of the bytes just delivered; see release */
    bool client;
    bool on_hold;
    bool begun;        /* a byte has come */
    bool established;  /* the handshake is over */
    bool failed;       /* nothing can be encoded or decoded any more */
    bool written_owed; /* the owner waits for on_written */
    bool fin_wanted;
    bool bye_said; /* close_notify is encoded */
};

/* For the library, from the system: no state, no lock. */
int tg__tls_random(void *ctx, unsigned char *out, size_t len);

static inline struct tg_tls *tg__tls_of(const struct tg_stream *stream)
{
    return TG_CONTAINER_OF(stream->filter, struct tg_tls, filter);
}

/* tls_out.c */

int tg__tls_on_send(void *ctx, const unsigned char *data, size_t len); /* for the library */
/* Memory for `out`, before the library may write; tg__tls_push_out gives it back. */
void tg__tls_borrow_room(struct tg_stream *stream, struct tg_tls *tls);
bool tg__tls_is_idle(const struct tg_stream *stream, const struct tg_tls *tls);
enum tg_err tg__tls_send_out(struct tg_stream *stream, struct tg_tls *tls);
/* Encodes and sends until the socket is full or there is nothing more, then FIN when it is wanted. */
TG_MUST enum tg_err tg__tls_push_out(struct tg_stream *stream, struct tg_tls *tls);
/* For the owner: see struct tg_filter. */
TG_MUST enum tg_err tg__tls_write(struct tg_stream *stream, struct tg_buffer *bytes);
void tg__tls_shutdown(struct tg_stream *stream);
void tg__tls_closing(struct tg_stream *stream);
size_t tg__tls_held(const struct tg_stream *stream);

/* tls_files.c */

/* A file as the library's parsers want it: with a NUL, which counts. Zero-initialised. */
struct tg__pem {
    const char *path;    /* borrowed */
    unsigned char *text; /* owned; NULL: not read */
    size_t size;
};
TG_MUST enum tg_err tg__pem_read(struct tg__pem *pem, const char *path, struct tg_error *error);
void tg__pem_fini(struct tg__pem *pem);
/* lenient: a list of roots may hold some that the library does not understand. */
TG_MUST enum tg_err tg__pem_parse_certificates(mbedtls_x509_crt *out, const struct tg__pem *pem,
                                               bool lenient, struct tg_error *error);
/* out is initialised. */
TG_MUST enum tg_err tg__pem_parse_pair(struct tg__tls_pair *out, const struct tg__pem *certificate,
                                       const struct tg__pem *key, struct tg_error *error);

/* tls_certificate.c */

/* Without DNS names in its SANs the CN counts. */
bool tg__tls_is_for_name(const mbedtls_x509_crt *certificate, const char *name, size_t len,
                         bool wildcards);
bool tg__tls_is_for_address(const mbedtls_x509_crt *certificate, const uint8_t *address,
                            size_t len);
TG_MUST enum tg_err tg__tls_write_certificate(const mbedtls_x509_crt *certificate,
                                              struct tg_buffer *out);

/* tls_names.c: names that people know for what the library calls otherwise. */

/* 0 when there is no such cipher suite (in this build of the library). */
int tg__tls_cipher_find(const char *iana_name);
bool tg__tls_cipher_is_1_3(const char *iana_name);
#define TG__TLS_CIPHER_SIZE 64
void tg__tls_cipher_name(const char *library_name, char out[TG__TLS_CIPHER_SIZE]);
/* Why a call failed, for people. */
#define TG__TLS_REASON_SIZE 256
void tg__tls_reason(const mbedtls_ssl_context *ssl, int result, char out[TG__TLS_REASON_SIZE]);

#endif
