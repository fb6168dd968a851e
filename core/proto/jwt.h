/* jwt.h - JSON Web Tokens (RFC 7519) as signed compact text (RFC 7515), read strictly (RFC 8725).
 *
 *     tg_jwt_open        the text, its header, which key it asks for
 *     tg_jwt_key_select, tg_jwt_key_verifies (jwt_key.h)
 *     tg_jwt_read_claims only now is anything believed that the token says
 *
 * Allocates what it decodes and nothing else; knows no clock. Whatever a token asks for beyond "verify me
 * with one of your own keys" is refused (crit, b64) or not looked at (jwk, jku, x5u, x5c). `none` is no
 * algorithm here. Texts for people never hold anything of the token.
 */
#ifndef TG_PROTO_JWT_H
#define TG_PROTO_JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/json_reader.h"
#include "base/mac.h"
#include "base/signature.h"

/* name, what makes it (mac.h or signature.h), which of those */
#define TG_JWT_ALGORITHM_MAP(X)                                                                    \
    X(HS256, MAC)                                                                                  \
    X(HS384, MAC)                                                                                  \
    X(HS512, MAC)                                                                                  \
    X(RS256, SIGNATURE)                                                                            \
    X(RS384, SIGNATURE)                                                                            \
    X(RS512, SIGNATURE)                                                                            \
    X(PS256, SIGNATURE)                                                                            \
    X(PS384, SIGNATURE)                                                                            \
    X(PS512, SIGNATURE)                                                                            \
    X(ES256, SIGNATURE)                                                                            \
    X(ES384, SIGNATURE)                                                                            \
    X(ES512, SIGNATURE)

enum tg_jwt_algorithm {
#define X(name, kind) TG_JWT_##name,
    TG_JWT_ALGORITHM_MAP(X)
#undef X
        TG_JWT_ALGORITHMS
};
extern const char *const tg_jwt_algorithm_names[TG_JWT_ALGORITHMS];
#define TG_JWT_BIT(algorithm) (UINT32_C(1) << (algorithm))

/* TG_JWT_ALGORITHMS when there is none of that name; case counts. */
enum tg_jwt_algorithm tg_jwt_algorithm_find(const char *name);
/* One of the two is right, and says so: each fills *out only for its own kind. */
bool tg_jwt_algorithm_mac(enum tg_jwt_algorithm algorithm, enum tg_mac_algorithm *out);
bool tg_jwt_algorithm_signature(enum tg_jwt_algorithm algorithm, enum tg_signature_algorithm *out);

/* Why a token is refused: a closed set that scripts see. */
#define TG_JWT_CODE_MAP(X)                                                                         \
    X(OK, "ok")                                                                                    \
    X(MALFORMED, "malformed")         /* no token, or one that nobody should have made */          \
    X(ALGORITHM, "algorithm")         /* not one of those that are allowed */                      \
    X(KEY, "key")                     /* no key for it, or more than one */                        \
    X(SIGNATURE, "signature")         /* not signed by that key */                                 \
    X(EXPIRED, "expired")             /* exp has passed, or it is older than max_age */            \
    X(NOT_YET_VALID, "not_yet_valid") /* nbf or iat lies ahead */                                  \
    X(ISSUER, "issuer")               /* another issuer */                                         \
    X(AUDIENCE, "audience")           /* meant for somebody else */                                \
    X(CLAIMS, "claims")               /* one is missing or of the wrong kind */                    \
    X(TOO_LARGE, "too_large")                                                                      \
    X(UNAVAILABLE, "unavailable") /* keys cannot be had, memory is out: nothing is known */

enum tg_jwt_code {
#define X(name, text) TG_JWT_##name##_CODE,
    TG_JWT_CODE_MAP(X)
#undef X
        TG_JWT_CODES
};
extern const char *const tg_jwt_code_names[TG_JWT_CODES];

/* All borrowed for the calls that take it. */
struct tg_jwt_rules {
    uint32_t algorithms; /* TG_JWT_BIT of each that is allowed */
    size_t bytes_max;
    const char *typ;              /* NULL: any or none */
    const char *issuer;           /* NULL: any or none */
    const char *const *audiences; /* none: a token that has an audience is refused */
    size_t audience_count;
    bool exp_required;
    bool sub_required;
    double leeway;  /* seconds, for all times */
    double max_age; /* seconds since iat, which must be there then; 0: no such limit */
};

#define TG_JWT_KID_SIZE 257
#define TG_JWT_DEPTH_MAX 16

/* Zero-initialise; fini in any case. */
struct tg_jwt {
    const char *text;  /* borrowed: the token */
    size_t signed_len; /* of text: what the signature is over */
    size_t claims_at, claims_len;
    enum tg_jwt_algorithm algorithm;
    bool has_kid;
    char kid[TG_JWT_KID_SIZE];
    struct tg_buffer header;
    struct tg_buffer signature;
    struct tg_buffer claims; /* any bytes; after read_claims a JSON object without double names */
};

/* `*why` is static text for people, set when it is not OK. */
TG_MUST enum tg_jwt_code tg_jwt_open(struct tg_jwt *jwt, const char *text, size_t len,
                                     const struct tg_jwt_rules *rules, const char **why);
/* Once the signature is known to be good. `now`: unix seconds. */
TG_MUST enum tg_jwt_code tg_jwt_read_claims(struct tg_jwt *jwt, const struct tg_jwt_rules *rules,
                                            double now, const char **why);
void tg_jwt_fini(struct tg_jwt *jwt);

#endif
