/* jwt_claims.c - what a token says, once its signature is known to be good. */
#include <math.h>

#include "proto/jwt_internal.h"

#define TIME_MAX 9007199254740991.0 /* 2^53 - 1: up to here a number is the one that was written */

struct reader {
    const struct tg_jwt_rules *rules;
    double now;
    const char **why;
};

static enum tg_jwt_code refuse(const struct reader *reader, enum tg_jwt_code code, const char *text)
{
    *reader->why = text;
    return code;
}

/* -1 when it is absent. */
static bool read_time(const struct tg_json_value *value, double *out)
{
    *out = -1;
    if (value->kind == TG_JSON_NONE)
        return true;
    if (value->kind != TG_JSON_NUMBER)
        return false;
    *out = tg_json_number(value);
    return isfinite(*out) && *out >= 0 && *out <= TIME_MAX;
}

static enum tg_jwt_code check_expiry(const struct reader *reader, const struct tg_json_value *value)
{
    double exp;
    if (!read_time(value, &exp))
        return refuse(reader, TG_JWT_CLAIMS_CODE, "exp of the token is no time");
    if (exp < 0 && reader->rules->exp_required)
        return refuse(reader, TG_JWT_CLAIMS_CODE, "the token never expires (it has no exp)");
    if (exp >= 0 && reader->now >= exp + reader->rules->leeway)
        return refuse(reader, TG_JWT_EXPIRED_CODE, "the token has expired");
    return TG_JWT_OK_CODE;
}

static enum tg_jwt_code check_start(const struct reader *reader, const struct tg_json_value *nbf,
                                    const struct tg_json_value *iat)
{
    const struct tg_jwt_rules *rules = reader->rules;
    double start;
    double issued;
    if (!read_time(nbf, &start))
        return refuse(reader, TG_JWT_CLAIMS_CODE, "nbf of the token is no time");
    if (!read_time(iat, &issued))
        return refuse(reader, TG_JWT_CLAIMS_CODE, "iat of the token is no time");
    if (start > reader->now + rules->leeway)
        return refuse(reader, TG_JWT_NOT_YET_VALID_CODE, "the token is not valid yet (nbf)");
    if (issued > reader->now + rules->leeway)
        return refuse(reader, TG_JWT_NOT_YET_VALID_CODE,
                      "the token was issued in the future (iat): a clock is wrong");
    if (rules->max_age > 0 && issued < 0)
        return refuse(reader, TG_JWT_CLAIMS_CODE, "the token does not say how old it is (iat)");
    if (rules->max_age > 0 && reader->now - issued > rules->max_age + rules->leeway)
        return refuse(reader, TG_JWT_EXPIRED_CODE, "the token is too old (iat)");
    return TG_JWT_OK_CODE;
}

static enum tg_jwt_code check_issuer(const struct reader *reader, const struct tg_json_value *iss)
{
    if (iss->kind != TG_JSON_NONE && iss->kind != TG_JSON_STRING)
        return refuse(reader, TG_JWT_CLAIMS_CODE, "iss of the token is no text");
    if (reader->rules->issuer != NULL && !tg_json_equals(iss, reader->rules->issuer))
        return refuse(reader, TG_JWT_ISSUER_CODE, "the token comes from another issuer");
    return TG_JWT_OK_CODE;
}

static bool is_for_us(const struct tg_jwt_rules *rules, const struct tg_json_value *one)
{
    for (size_t i = 0; i < rules->audience_count; i++) {
        if (tg_json_equals(one, rules->audiences[i]))
            return true;
    }
    return false;
}

static enum tg_jwt_code check_audience(const struct reader *reader, const struct tg_json_value *aud)
{
    static const char wrong_kind[] = "aud of the token is neither text nor a list of texts";
    bool found = false;
    size_t cursor = 0;
    struct tg_json_value key;
    struct tg_json_value one;
    if (aud->kind == TG_JSON_NONE && reader->rules->audience_count == 0)
        return TG_JWT_OK_CODE;
    if (aud->kind == TG_JSON_STRING) {
        found = is_for_us(reader->rules, aud);
    } else if (aud->kind == TG_JSON_ARRAY) {
        while (tg_json_next(aud, &cursor, &key, &one)) {
            if (one.kind != TG_JSON_STRING)
                return refuse(reader, TG_JWT_CLAIMS_CODE, wrong_kind);
            found = found || is_for_us(reader->rules, &one);
        }
    } else if (aud->kind != TG_JSON_NONE) {
        return refuse(reader, TG_JWT_CLAIMS_CODE, wrong_kind);
    }
    if (!found)
        return refuse(reader, TG_JWT_AUDIENCE_CODE, "the token is meant for somebody else (aud)");
    return TG_JWT_OK_CODE;
}

static enum tg_jwt_code check_subject(const struct reader *reader, const struct tg_json_value *sub)
{
    if (sub->kind == TG_JSON_NONE && reader->rules->sub_required)
        return refuse(reader, TG_JWT_CLAIMS_CODE, "the token does not say whose it is (sub)");
    if (sub->kind != TG_JSON_NONE && sub->kind != TG_JSON_STRING)
        return refuse(reader, TG_JWT_CLAIMS_CODE, "sub of the token is no text");
    if (reader->rules->sub_required && tg_json_equals(sub, ""))
        return refuse(reader, TG_JWT_CLAIMS_CODE, "sub of the token is empty");
    return TG_JWT_OK_CODE;
}

enum tg_jwt_code tg_jwt_read_claims(struct tg_jwt *jwt, const struct tg_jwt_rules *rules,
                                    double now, const char **why)
{
    enum { EXP, NBF, IAT, ISS, AUD, SUB, COUNT };
    static const char *const keys[COUNT] = {"exp", "nbf", "iat", "iss", "aud", "sub"};
    const struct reader reader = {rules, now, why};
    struct tg_json_value claims;
    struct tg_json_value values[COUNT];
    enum tg_err err = tg__jwt_parse_object(&jwt->claims, &claims);
    if (err == TG_ERR_NOMEM)
        return refuse(&reader, TG_JWT_UNAVAILABLE_CODE, "out of memory");
    if (err != TG_ERR_OK)
        return refuse(&reader, TG_JWT_MALFORMED_CODE,
                      "the token's claims are no JSON object, or name something twice");
    tg_json_members(&claims, keys, values, COUNT);
    enum tg_jwt_code code = check_expiry(&reader, &values[EXP]);
    if (code == TG_JWT_OK_CODE)
        code = check_start(&reader, &values[NBF], &values[IAT]);
    if (code == TG_JWT_OK_CODE)
        code = check_issuer(&reader, &values[ISS]);
    if (code == TG_JWT_OK_CODE)
        code = check_audience(&reader, &values[AUD]);
    if (code == TG_JWT_OK_CODE)
        code = check_subject(&reader, &values[SUB]);
    return code;
}
