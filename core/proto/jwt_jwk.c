/* jwt_jwk.c - keys from the members of a JWK (RFC 7517, RFC 7518 §6).
 *
 * Decoded numbers are kept in one scratch buffer that is overwritten afterwards: they may be secret.
 */
#include <string.h>

#include "base/base64.h"
#include "proto/jwt_internal.h"

#define NUMBER_BYTES_MAX 1100 /* an RSA modulus of 8192 bits has 1024 */

enum member { KTY, KID, ALG, USE, KEY_OPS, CRV, X, Y, N, E, D, P, Q, K, MEMBERS };

static const char *const member_names[MEMBERS] = {
    "kty", "kid", "alg", "use", "key_ops", "crv", "x", "y", "n", "e", "d", "p", "q", "k"};

struct jwk {
    struct tg_json_value members[MEMBERS];
    uint8_t bytes[5 * NUMBER_BYTES_MAX]; /* decoded numbers */
    size_t used;
    struct tg_error *error;
};

static enum tg_err refuse(const struct jwk *jwk, const char *text)
{
    return tg_error_set(jwk->error, TG_ERR_INVALID, "%s", text);
}

static enum tg_err take(struct jwk *jwk, const struct tg_json_value *value, struct tg_error *error)
{
    size_t cursor = 0;
    struct tg_json_value key;
    struct tg_json_value member;
    bool seen[MEMBERS] = {false};
    jwk->used = 0;
    jwk->error = error;
    memset(jwk->members, 0, sizeof jwk->members);
    if (value->kind != TG_JSON_OBJECT)
        return refuse(jwk, "a JWK is a JSON object");
    while (tg_json_next(value, &cursor, &key, &member)) {
        for (size_t i = 0; i < MEMBERS; i++) {
            if (!tg_json_equals(&key, member_names[i]))
                continue;
            if (seen[i])
                return refuse(jwk, "the JWK names a member twice");
            seen[i] = true;
            jwk->members[i] = member;
        }
    }
    return TG_ERR_OK;
}

/* The bytes of a base64url member: without escapes, so that no copy of the text is needed. */
static enum tg_err number(struct jwk *jwk, enum member which, struct tg_octets *out)
{
    const struct tg_json_value *member = &jwk->members[which];
    struct tg_buffer bytes = TG_BUFFER_INIT;
    if (member->kind != TG_JSON_STRING)
        return tg_error_set(jwk->error, TG_ERR_INVALID, "the JWK has no text \"%s\"",
                            member_names[which]);
    enum tg_err err = tg_base64url_decode(member->raw + 1, member->len - 2, &bytes);
    if (err == TG_ERR_OK && (bytes.len == 0 || bytes.len > sizeof jwk->bytes - jwk->used))
        err = TG_ERR_INVALID;
    if (err == TG_ERR_OK) {
        memcpy(jwk->bytes + jwk->used, tg_buffer_head(&bytes), bytes.len);
        *out = (struct tg_octets){jwk->bytes + jwk->used, bytes.len};
        jwk->used += bytes.len;
    }
    if (bytes.data != NULL)
        explicit_bzero(bytes.data, bytes.capacity);
    tg_buffer_fini(&bytes);
    if (err == TG_ERR_NOMEM)
        return tg_error_set(jwk->error, err, "out of memory");
    if (err != TG_ERR_OK)
        return tg_error_set(jwk->error, err, "\"%s\" of the JWK is empty, too long or no base64url",
                            member_names[which]);
    return err;
}

static bool has(const struct jwk *jwk, enum member which)
{
    return jwk->members[which].kind != TG_JSON_NONE;
}

static bool is(const struct jwk *jwk, enum member which, const char *text)
{
    return tg_json_equals(&jwk->members[which], text);
}

static enum tg_err read_curve(const struct jwk *jwk, enum tg_curve *out)
{
    static const char *const names[] = {
        [TG_P256] = "P-256", [TG_P384] = "P-384", [TG_P521] = "P-521"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (is(jwk, CRV, names[i])) {
            *out = (enum tg_curve)i;
            return TG_ERR_OK;
        }
    }
    return refuse(jwk, "the JWK is on a curve that is not supported; P-256, P-384 and P-521 are");
}

static enum tg_err refuse_type(const struct jwk *jwk)
{
    if (is(jwk, KTY, "OKP"))
        return refuse(jwk, "the JWK is for EdDSA, which is not supported: the crypto library has "
                           "none");
    return refuse(jwk, "\"kty\" of the JWK is none of RSA, EC and oct");
}

/* --- verifying ------------------------------------------------------------------------------------- */

static enum tg_err check_purpose(const struct jwk *jwk)
{
    bool found = false;
    size_t cursor = 0;
    struct tg_json_value key;
    struct tg_json_value one;
    if (has(jwk, USE) && !is(jwk, USE, "sig"))
        return refuse(jwk, "the JWK is not for signatures (\"use\")");
    if (!has(jwk, KEY_OPS))
        return TG_ERR_OK;
    while (tg_json_next(&jwk->members[KEY_OPS], &cursor, &key, &one))
        found = found || tg_json_equals(&one, "verify");
    return found ? TG_ERR_OK : refuse(jwk, "the JWK is not for verifying (\"key_ops\")");
}

static enum tg_err read_public(struct tg_jwt_key *out, struct jwk *jwk)
{
    struct tg_octets first = {0};
    struct tg_octets second = {0};
    enum tg_curve curve = TG_P256;
    bool is_rsa = is(jwk, KTY, "RSA");
    if (has(jwk, D))
        return refuse(jwk, "the JWK is a private key; whoever only verifies gets the public one");
    enum tg_err err = is_rsa ? TG_ERR_OK : read_curve(jwk, &curve);
    if (err == TG_ERR_OK)
        err = number(jwk, is_rsa ? N : X, &first);
    if (err == TG_ERR_OK)
        err = number(jwk, is_rsa ? E : Y, &second);
    if (err != TG_ERR_OK)
        return err;
    return is_rsa ? tg_public_key_from_rsa(&out->public_key, first, second, jwk->error)
                  : tg_public_key_from_ec(&out->public_key, curve, first, second, jwk->error);
}

static enum tg_err read_secret(struct tg_mac_key **out, struct jwk *jwk)
{
    struct tg_octets secret = {0};
    enum tg_err err = number(jwk, K, &secret);
    return err == TG_ERR_OK ? tg_mac_key_create(out, secret.data, secret.len, jwk->error) : err;
}

/* Which algorithms: those of the key's kind, or the one that it names. */
static enum tg_err pin(struct tg_jwt_key *out, const struct jwk *jwk)
{
    char name[16];
    out->algorithms = tg__jwt_key_fitting(out);
    if (!has(jwk, ALG))
        return TG_ERR_OK;
    enum tg_jwt_algorithm algorithm = TG_JWT_ALGORITHMS;
    if (tg_json_copy_string(&jwk->members[ALG], name, sizeof name) == TG_ERR_OK)
        algorithm = tg_jwt_algorithm_find(name);
    if (algorithm != TG_JWT_ALGORITHMS)
        out->algorithms &= TG_JWT_BIT(algorithm);
    if (algorithm == TG_JWT_ALGORITHMS || out->algorithms == 0)
        return refuse(jwk, "\"alg\" of the JWK is not supported, or does not fit its kind");
    return TG_ERR_OK;
}

static enum tg_err read_kid(struct tg_jwt_key *out, const struct jwk *jwk)
{
    out->has_kid = has(jwk, KID);
    if (out->has_kid &&
        tg_json_copy_string(&jwk->members[KID], out->kid, sizeof out->kid) != TG_ERR_OK)
        return refuse(jwk, "\"kid\" of the JWK is no text, or longer than 256 bytes");
    return TG_ERR_OK;
}

static enum tg_err read_key(struct tg_jwt_key *out, struct jwk *jwk)
{
    bool is_secret = is(jwk, KTY, "oct");
    if (!is_secret && !is(jwk, KTY, "RSA") && !is(jwk, KTY, "EC"))
        return refuse_type(jwk);
    enum tg_err err = check_purpose(jwk);
    if (err == TG_ERR_OK)
        err = read_kid(out, jwk);
    if (err == TG_ERR_OK)
        err = is_secret ? read_secret(&out->secret, jwk) : read_public(out, jwk);
    return err == TG_ERR_OK ? pin(out, jwk) : err;
}

enum tg_err tg_jwt_key_from_jwk(struct tg_jwt_key *out, const struct tg_json_value *jwk,
                                struct tg_error *error)
{
    struct jwk read;
    *out = (struct tg_jwt_key){0};
    enum tg_err err = take(&read, jwk, error);
    if (err == TG_ERR_OK)
        err = read_key(out, &read);
    if (err != TG_ERR_OK)
        tg_jwt_key_fini(out);
    explicit_bzero(read.bytes, sizeof read.bytes);
    return err;
}

/* --- signing --------------------------------------------------------------------------------------- */

static enum tg_err read_private_rsa(struct tg_jwt_signer *out, struct jwk *jwk)
{
    struct tg_rsa_numbers numbers = {0};
    enum tg_err err = number(jwk, N, &numbers.n);
    if (err == TG_ERR_OK)
        err = number(jwk, E, &numbers.e);
    if (err == TG_ERR_OK)
        err = number(jwk, D, &numbers.d);
    if (err == TG_ERR_OK)
        err = number(jwk, P, &numbers.p);
    if (err == TG_ERR_OK)
        err = number(jwk, Q, &numbers.q);
    return err == TG_ERR_OK ? tg_private_key_from_rsa(&out->private_key, &numbers, jwk->error)
                            : err;
}

static enum tg_err read_private_ec(struct tg_jwt_signer *out, struct jwk *jwk)
{
    struct tg_octets x = {0};
    struct tg_octets y = {0};
    struct tg_octets d = {0};
    enum tg_curve curve = TG_P256;
    enum tg_err err = read_curve(jwk, &curve);
    if (err == TG_ERR_OK)
        err = number(jwk, X, &x);
    if (err == TG_ERR_OK)
        err = number(jwk, Y, &y);
    if (err == TG_ERR_OK)
        err = number(jwk, D, &d);
    return err == TG_ERR_OK ? tg_private_key_from_ec(&out->private_key, curve, x, y, d, jwk->error)
                            : err;
}

enum tg_err tg_jwt_signer_from_jwk(struct tg_jwt_signer *out, const struct tg_json_value *jwk,
                                   struct tg_error *error)
{
    struct jwk read;
    *out = (struct tg_jwt_signer){0};
    enum tg_err err = take(&read, jwk, error);
    if (err == TG_ERR_OK) {
        if (is(&read, KTY, "oct"))
            err = read_secret(&out->secret, &read);
        else if (is(&read, KTY, "RSA"))
            err = read_private_rsa(out, &read);
        else if (is(&read, KTY, "EC"))
            err = read_private_ec(out, &read);
        else
            err = refuse_type(&read);
    }
    explicit_bzero(read.bytes, sizeof read.bytes);
    return err;
}
