/* jwt.c - the outside of a token: three parts, and a header that says which algorithm and key. */
#include "proto/jwt.h"

#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "proto/jwt_internal.h"

#define TYP_SIZE 128

const char *const tg_jwt_algorithm_names[TG_JWT_ALGORITHMS] = {
#define X(name, kind) [TG_JWT_##name] = #name,
    TG_JWT_ALGORITHM_MAP(X)
#undef X
};

const char *const tg_jwt_code_names[TG_JWT_CODES] = {
#define X(name, text) [TG_JWT_##name##_CODE] = (text),
    TG_JWT_CODE_MAP(X)
#undef X
};

enum tg_jwt_algorithm tg_jwt_algorithm_find(const char *name)
{
    size_t i = 0;
    while (i < TG_JWT_ALGORITHMS && strcmp(tg_jwt_algorithm_names[i], name) != 0)
        i++;
    return (enum tg_jwt_algorithm)i;
}

bool tg_jwt_algorithm_mac(enum tg_jwt_algorithm algorithm, enum tg_mac_algorithm *out)
{
    switch (algorithm) {
#define MAC_CASE(name)                                                                             \
    case TG_JWT_##name:                                                                            \
        *out = TG_##name;                                                                          \
        return true;
#define SIGNATURE_CASE(name) case TG_JWT_##name:
#define X(name, kind) kind##_CASE(name)
        TG_JWT_ALGORITHM_MAP(X)
#undef X
#undef MAC_CASE
#undef SIGNATURE_CASE
    case TG_JWT_ALGORITHMS:
        break;
    }
    return false;
}

bool tg_jwt_algorithm_signature(enum tg_jwt_algorithm algorithm, enum tg_signature_algorithm *out)
{
    switch (algorithm) {
#define SIGNATURE_CASE(name)                                                                       \
    case TG_JWT_##name:                                                                            \
        *out = TG_##name;                                                                          \
        return true;
#define MAC_CASE(name)                                                                             \
    case TG_JWT_##name:                                                                            \
        return false;
#define X(name, kind) kind##_CASE(name)
        TG_JWT_ALGORITHM_MAP(X)
#undef X
#undef MAC_CASE
#undef SIGNATURE_CASE
    case TG_JWT_ALGORITHMS:
        break;
    }
    return false;
}

static enum tg_jwt_code refuse(const char **why, enum tg_jwt_code code, const char *text)
{
    *why = text;
    return code;
}

/* RFC 7515 §4.1.9: media types, without regard to case, with "application/" or not. */
static bool same_type(const char *a, const char *b)
{
    static const char prefix[] = "application/";
    size_t len = sizeof prefix - 1;
    if (strncasecmp(a, prefix, len) == 0)
        a += len;
    if (strncasecmp(b, prefix, len) == 0)
        b += len;
    return strcasecmp(a, b) == 0;
}

static enum tg_jwt_code read_type(const struct tg_json_value *typ, const char *expected,
                                  const char **why)
{
    char text[TYP_SIZE];
    if (typ->kind == TG_JSON_NONE && expected == NULL)
        return TG_JWT_OK_CODE;
    if (typ->kind == TG_JSON_NONE)
        return refuse(why, TG_JWT_MALFORMED_CODE, "the token does not say its type (typ)");
    if (typ->kind != TG_JSON_STRING || tg_json_copy_string(typ, text, sizeof text) != TG_ERR_OK)
        return refuse(why, TG_JWT_MALFORMED_CODE, "typ in the token's header is no short text");
    if (expected != NULL && !same_type(text, expected))
        return refuse(why, TG_JWT_MALFORMED_CODE, "the token is of another type (typ)");
    return TG_JWT_OK_CODE;
}

static enum tg_jwt_code read_algorithm(struct tg_jwt *jwt, const struct tg_json_value *alg,
                                       uint32_t allowed, const char **why)
{
    char name[16];
    if (alg->kind != TG_JSON_STRING)
        return refuse(why, TG_JWT_MALFORMED_CODE, "the token's header names no algorithm (alg)");
    jwt->algorithm = TG_JWT_ALGORITHMS;
    if (tg_json_copy_string(alg, name, sizeof name) == TG_ERR_OK)
        jwt->algorithm = tg_jwt_algorithm_find(name);
    if (jwt->algorithm == TG_JWT_ALGORITHMS || (allowed & TG_JWT_BIT(jwt->algorithm)) == 0)
        return refuse(why, TG_JWT_ALGORITHM_CODE,
                      "the token is signed with an algorithm that is not allowed here");
    return TG_JWT_OK_CODE;
}

static enum tg_jwt_code read_header(struct tg_jwt *jwt, const struct tg_jwt_rules *rules,
                                    const char **why)
{
    enum { ALG, KID, TYP, CRIT, B64, COUNT };
    static const char *const keys[COUNT] = {"alg", "kid", "typ", "crit", "b64"};
    struct tg_json_value header;
    struct tg_json_value values[COUNT];
    enum tg_err err = tg__jwt_parse_object(&jwt->header, &header);
    if (err == TG_ERR_NOMEM)
        return refuse(why, TG_JWT_UNAVAILABLE_CODE, "out of memory");
    if (err != TG_ERR_OK)
        return refuse(why, TG_JWT_MALFORMED_CODE,
                      "the token's header is no JSON object, or names something twice");
    tg_json_members(&header, keys, values, COUNT);
    if (values[CRIT].kind != TG_JSON_NONE)
        return refuse(why, TG_JWT_MALFORMED_CODE,
                      "the token demands extensions (crit), which are not supported");
    if (values[B64].kind != TG_JSON_NONE && !tg_json_true(&values[B64]))
        return refuse(why, TG_JWT_MALFORMED_CODE,
                      "the token's claims are not base64url (b64), which is not supported");
    enum tg_jwt_code code = read_algorithm(jwt, &values[ALG], rules->algorithms, why);
    if (code == TG_JWT_OK_CODE)
        code = read_type(&values[TYP], rules->typ, why);
    if (code != TG_JWT_OK_CODE)
        return code;
    jwt->has_kid = values[KID].kind != TG_JSON_NONE;
    if (jwt->has_kid && (values[KID].kind != TG_JSON_STRING ||
                         tg_json_copy_string(&values[KID], jwt->kid, sizeof jwt->kid) != TG_ERR_OK))
        return refuse(why, TG_JWT_MALFORMED_CODE, "kid in the token's header is no short text");
    return TG_JWT_OK_CODE;
}

/* Finds the two dots; the parts are not empty, but for the last: what it lacks is told by its own code. */
static bool split(struct tg_jwt *jwt, size_t len)
{
    const char *end = jwt->text + len;
    const char *first = memchr(jwt->text, '.', len);
    const char *second = first == NULL ? NULL : memchr(first + 1, '.', (size_t)(end - (first + 1)));
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - (second + 1))) != NULL)
        return false;
    jwt->signed_len = (size_t)(second - jwt->text);
    jwt->claims_at = (size_t)(first + 1 - jwt->text);
    jwt->claims_len = (size_t)(second - (first + 1));
    return first > jwt->text && jwt->claims_len > 0;
}

enum tg_jwt_code tg_jwt_open(struct tg_jwt *jwt, const char *text, size_t len,
                             const struct tg_jwt_rules *rules, const char **why)
{
    jwt->text = text;
    if (len > rules->bytes_max)
        return refuse(why, TG_JWT_TOO_LARGE_CODE, "the token is too large");
    if (!split(jwt, len))
        return refuse(why, TG_JWT_MALFORMED_CODE,
                      "this is no signed token: three parts with dots between them expected");
    enum tg_err err = tg_base64url_decode(text, jwt->claims_at - 1, &jwt->header);
    size_t signature_len = len - jwt->signed_len - 1;
    if (err == TG_ERR_OK && signature_len > 0)
        err = tg_base64url_decode(text + jwt->signed_len + 1, signature_len, &jwt->signature);
    if (err == TG_ERR_OK)
        err = tg_base64url_decode(text + jwt->claims_at, jwt->claims_len, &jwt->claims);
    if (err == TG_ERR_NOMEM)
        return refuse(why, TG_JWT_UNAVAILABLE_CODE, "out of memory");
    if (err != TG_ERR_OK)
        return refuse(why, TG_JWT_MALFORMED_CODE, "a part of the token is no base64url");
    enum tg_jwt_code code = read_header(jwt, rules, why);
    if (code == TG_JWT_OK_CODE && signature_len == 0)
        return refuse(why, TG_JWT_SIGNATURE_CODE, "the token is not signed");
    return code;
}

void tg_jwt_fini(struct tg_jwt *jwt)
{
    tg_buffer_fini(&jwt->header);
    tg_buffer_fini(&jwt->signature);
    tg_buffer_fini(&jwt->claims);
}
