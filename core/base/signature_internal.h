/* signature_internal.h - what is in a key: shared by making keys and using them. */
#ifndef TG_BASE_SIGNATURE_INTERNAL_H
#define TG_BASE_SIGNATURE_INTERNAL_H

#include <stdbool.h>

#include "base/crypto_library.h"
#include "base/signature.h"

struct tg__key {
    mbedtls_pk_context pk; /* owned */
    bool is_rsa;
    enum tg_curve curve; /* when it is not */
};

/* Two types around the same thing, so that nobody takes one for the other. */
struct tg_public_key {
    struct tg__key key;
};
struct tg_private_key {
    struct tg__key key;
};

/* For texts: what there is. */
#define TG__KEYS_SUPPORTED                                                                         \
    "RSA and EC (P-256, P-384, P-521) are supported; EdDSA is not, as the crypto library has none"

/* Into a key that mbedtls_pk_init has made; whether it is a good one is not looked at. */
TG_MUST enum tg_err tg__key_parse_pem(struct tg__key *key, const char *text, size_t len,
                                      bool private, struct tg_error *error);

#endif
