/* jwt_test.c - tokens: the RFCs' own, and everything that must not pass for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "proto/jwt_key.h"
#include "support/jwt_vectors.h"

#define ALL (TG_JWT_BIT(TG_JWT_ALGORITHMS) - 1)
#define IN_2011 1300819000.0 /* before exp of the RFC's claims */
#define NOW 1700000000.0
#define SECRET "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct tg_jwt_rules loose = {.algorithms = ALL, .bytes_max = 8192, .leeway = 30};

static struct tg_jwt_key key_of(const char *json)
{
    struct tg_jwt_key key;
    struct tg_json_value value;
    struct tg_error error = {0};
    assert_int_equal(tg_json_parse(json, strlen(json), &value, &error), TG_ERR_OK);
    if (tg_jwt_key_from_jwk(&key, &value, &error) != TG_ERR_OK)
        fail_msg("%s: %s", json, error.text);
    return key;
}

/* What the token comes to with these keys; `claims` (of 512 bytes) may be NULL. */
static enum tg_jwt_code verify_with(struct tg_jwt_key *keys, size_t count, const char *token,
                                    const struct tg_jwt_rules *rules, double now, char *claims)
{
    struct tg_jwt jwt = {0};
    const char *why = NULL;
    enum tg_jwt_code code = tg_jwt_open(&jwt, token, strlen(token), rules, &why);
    if (code == TG_JWT_OK_CODE) {
        struct tg_jwt_key *key = tg_jwt_key_select(keys, count, &jwt, &why);
        if (key == NULL)
            code = TG_JWT_KEY_CODE;
        else if (!tg_jwt_key_verifies(key, &jwt))
            code = TG_JWT_SIGNATURE_CODE, why = "signature";
    }
    if (code == TG_JWT_OK_CODE && claims != NULL)
        (void)snprintf(claims, 512, "%.*s", (int)jwt.claims.len,
                       (const char *)tg_buffer_head(&jwt.claims));
    if (code == TG_JWT_OK_CODE)
        code = tg_jwt_read_claims(&jwt, rules, now, &why);
    if (code != TG_JWT_OK_CODE)
        assert_non_null(why);
    tg_jwt_fini(&jwt);
    return code;
}

static void test_the_tokens_of_rfc_7515(void **state)
{
    static const struct {
        const char *jwk, *token;
    } rows[] = {
        {RFC7515_A1_JWK, RFC7515_A1_TOKEN},
        {RFC7515_A2_JWK, RFC7515_A2_TOKEN},
        {RFC7515_A3_JWK, RFC7515_A3_TOKEN},
    };
    char claims[512];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct tg_jwt_key key = key_of(rows[i].jwk);
        assert_int_equal(verify_with(&key, 1, rows[i].token, &loose, IN_2011, claims),
                         TG_JWT_OK_CODE);
        assert_string_equal(claims, "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n "
                                    "\"http://example.com/is_root\":true}");
        assert_int_equal(verify_with(&key, 1, rows[i].token, &loose, NOW, NULL),
                         TG_JWT_EXPIRED_CODE);
        for (size_t other = 0; other < 3; other++) {
            if (other != i)
                assert_int_equal(verify_with(&key, 1, rows[other].token, &loose, IN_2011, NULL),
                                 TG_JWT_KEY_CODE);
        }
        tg_jwt_key_fini(&key);
    }
}

/* A.4 and RFC 7520 sign texts that are no claims: good signatures, but no tokens of ours. */
static void test_the_signatures_of_rfc_7520(void **state)
{
    static const struct {
        const char *jwk, *token, *text;
    } rows[] = {
        {RFC7515_A4_JWK, RFC7515_A4_TOKEN, "Payload"},
        {RFC7520_RSA_JWK, RFC7520_4_1_TOKEN, "\xe2\x80\x99s a dangerous business, Frodo"},
        {RFC7520_RSA_JWK, RFC7520_4_2_TOKEN, "going out your door."},
        {RFC7520_EC_JWK, RFC7520_4_3_TOKEN, "where you might be swept off to."},
        {RFC7520_MAC_JWK, RFC7520_4_4_TOKEN, "if you don't keep your feet"},
    };
    char claims[512];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_jwt_key key = key_of(rows[i].jwk);
        claims[0] = '\0';
        assert_int_equal(verify_with(&key, 1, rows[i].token, &loose, NOW, claims),
                         TG_JWT_MALFORMED_CODE);
        assert_non_null(strstr(claims, rows[i].text));
        tg_jwt_key_fini(&key);
    }
}

/* --- tokens of our own ----------------------------------------------------------------------------- */

static struct tg_jwt_key secret_key(void)
{
    struct tg_jwt_key key;
    struct tg_error error = {0};
    assert_int_equal(tg_jwt_key_from_secret(&key, SECRET, sizeof SECRET - 1, &error), TG_ERR_OK);
    return key;
}

/* Signed with SECRET; to be freed. */
static char *token_of(const char *header, const char *claims)
{
    struct tg_jwt_signer signer;
    struct tg_buffer out = TG_BUFFER_INIT;
    struct tg_error error = {0};
    size_t len = 0;
    assert_int_equal(tg_jwt_signer_from_secret(&signer, SECRET, sizeof SECRET - 1, &error),
                     TG_ERR_OK);
    assert_int_equal(tg_jwt_sign(&signer, TG_JWT_HS256, header, strlen(header), claims,
                                 strlen(claims), &out, &error),
                     TG_ERR_OK);
    tg_jwt_signer_fini(&signer);
    char *text = tg_buffer_detach(&out, &len);
    assert_non_null(text);
    return text;
}

static enum tg_jwt_code verify_own(const char *header, const char *claims,
                                   const struct tg_jwt_rules *rules)
{
    struct tg_jwt_key key = secret_key();
    char *token = token_of(header, claims);
    enum tg_jwt_code code = verify_with(&key, 1, token, rules, NOW, NULL);
    free(token);
    tg_jwt_key_fini(&key);
    return code;
}

static void test_headers(void **state)
{
    static const struct {
        const char *header;
        enum tg_jwt_code code;
    } rows[] = {
        {"{\"alg\":\"HS256\"}", TG_JWT_OK_CODE},
        {"{\"typ\":\"JWT\",\"alg\":\"HS256\",\"cty\":\"x\",\"other\":{\"a\":[1]}}", TG_JWT_OK_CODE},
        {"{\"alg\":\"none\"}", TG_JWT_ALGORITHM_CODE},
        {"{\"alg\":\"None\"}", TG_JWT_ALGORITHM_CODE},
        {"{\"alg\":\"nONE\"}", TG_JWT_ALGORITHM_CODE},
        {"{\"alg\":\"\"}", TG_JWT_ALGORITHM_CODE},
        {"{\"alg\":\"hs256\"}", TG_JWT_ALGORITHM_CODE},
        {"{\"alg\":\"HS256 \"}", TG_JWT_ALGORITHM_CODE},
        {"{\"alg\":\"HS256\\u0000\"}", TG_JWT_ALGORITHM_CODE},
        {"{\"alg\":\"EdDSA\"}", TG_JWT_ALGORITHM_CODE},
        {"{\"alg\":\"HS512\"}", TG_JWT_SIGNATURE_CODE}, /* signed with HS256 */
        {"{\"alg\":\"RS256\"}", TG_JWT_KEY_CODE},
        {"{}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":256}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":null}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":[\"HS256\"]}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"none\",\"alg\":\"HS256\"}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\",\"\\u0061lg\":\"HS256\"}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\",\"x\":{\"y\":1,\"y\":2}}", TG_JWT_MALFORMED_CODE},
        {"[\"alg\",\"HS256\"]", TG_JWT_MALFORMED_CODE},
        {"\"HS256\"", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\"}{}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\",}", TG_JWT_MALFORMED_CODE},
        {"not json", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\",\"crit\":[]}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\",\"b64\":false}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\",\"b64\":\"true\"}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\",\"kid\":7}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\",\"kid\":\"a\\u0000b\"}", TG_JWT_MALFORMED_CODE},
        {"{\"alg\":\"HS256\",\"typ\":7}", TG_JWT_MALFORMED_CODE},
        /* Keys that the token brings along are not looked at. */
        {"{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1/\",\"x5u\":\"file:///etc/passwd\","
         "\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"},\"x5c\":[\"AAAA\"]}",
         TG_JWT_OK_CODE},
        {"{\"alg\":\"RS256\",\"jwk\":" RFC7515_A2_JWK "}", TG_JWT_KEY_CODE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum tg_jwt_code code = verify_own(rows[i].header, "{\"exp\":1700000100}", &loose);
        if (code != rows[i].code)
            fail_msg("%s: %s", rows[i].header, tg_jwt_code_names[code]);
    }
}

static void test_times(void **state)
{
    static const struct {
        const char *claims;
        enum tg_jwt_code code; /* with 30 seconds of leeway */
    } rows[] = {
        {"{\"exp\":1700000001}", TG_JWT_OK_CODE},
        {"{\"exp\":1699999971}", TG_JWT_OK_CODE},
        {"{\"exp\":1699999970.5}", TG_JWT_OK_CODE},
        {"{\"exp\":1699999970}", TG_JWT_EXPIRED_CODE},
        {"{\"exp\":0}", TG_JWT_EXPIRED_CODE},
        {"{\"exp\":17e8}", TG_JWT_OK_CODE},
        {"{\"exp\":-1}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":\"1700000100\"}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":null}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":true}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":[1700000100]}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":1e400}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":-1e400}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":9007199254740993}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":99999999999999999999999999999999999999}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":NaN}", TG_JWT_MALFORMED_CODE},
        {"{\"exp\":Infinity}", TG_JWT_MALFORMED_CODE},
        {"{\"exp\":01700000100}", TG_JWT_MALFORMED_CODE},
        {"{}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":1700000100,\"exp\":1}", TG_JWT_MALFORMED_CODE},
        {"{\"exp\":1700000100,\"\\u0065xp\":1}", TG_JWT_MALFORMED_CODE},
        {"{\"exp\":1700000100,\"nbf\":1700000030}", TG_JWT_OK_CODE},
        {"{\"exp\":1700000100,\"nbf\":1700000031}", TG_JWT_NOT_YET_VALID_CODE},
        {"{\"exp\":1700000100,\"nbf\":\"0\"}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":1700000100,\"iat\":1700000030}", TG_JWT_OK_CODE},
        {"{\"exp\":1700000100,\"iat\":1700000031}", TG_JWT_NOT_YET_VALID_CODE},
        {"{\"exp\":1700000100,\"iat\":false}", TG_JWT_CLAIMS_CODE},
        {"[]", TG_JWT_MALFORMED_CODE},
        {"null", TG_JWT_MALFORMED_CODE},
        {"\"exp\"", TG_JWT_MALFORMED_CODE},
        {" {\"exp\":1700000100} ", TG_JWT_OK_CODE},
        {"{\"exp\":1700000100,\"sub\":7}", TG_JWT_CLAIMS_CODE},
        {"{\"exp\":1700000100,\"iss\":{}}", TG_JWT_CLAIMS_CODE},
    };
    (void)state;
    struct tg_jwt_rules rules = loose;
    rules.exp_required = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum tg_jwt_code code = verify_own("{\"alg\":\"HS256\"}", rows[i].claims, &rules);
        if (code != rows[i].code)
            fail_msg("%s: %s", rows[i].claims, tg_jwt_code_names[code]);
    }
    assert_int_equal(verify_own("{\"alg\":\"HS256\"}", "{}", &loose), TG_JWT_OK_CODE);
}

static void test_max_age(void **state)
{
    struct tg_jwt_rules rules = loose;
    (void)state;
    rules.max_age = 100;
    assert_int_equal(verify_own("{\"alg\":\"HS256\"}", "{}", &rules), TG_JWT_CLAIMS_CODE);
    assert_int_equal(verify_own("{\"alg\":\"HS256\"}", "{\"iat\":1699999870}", &rules),
                     TG_JWT_OK_CODE);
    assert_int_equal(verify_own("{\"alg\":\"HS256\"}", "{\"iat\":1699999869}", &rules),
                     TG_JWT_EXPIRED_CODE);
}

static void test_who_and_for_whom(void **state)
{
    static const char *const us[] = {"api", "web"};
    static const struct {
        const char *claims;
        enum tg_jwt_code code;
    } rows[] = {
        {"{\"iss\":\"https://id.example\",\"aud\":\"api\",\"sub\":\"ada\"}", TG_JWT_OK_CODE},
        {"{\"iss\":\"https://id.example\",\"aud\":[\"x\",\"web\"],\"sub\":\"ada\"}",
         TG_JWT_OK_CODE},
        {"{\"iss\":\"https://id.example/\",\"aud\":\"api\",\"sub\":\"a\"}", TG_JWT_ISSUER_CODE},
        {"{\"aud\":\"api\",\"sub\":\"ada\"}", TG_JWT_ISSUER_CODE},
        {"{\"iss\":[\"https://id.example\"],\"aud\":\"api\",\"sub\":\"a\"}", TG_JWT_CLAIMS_CODE},
        {"{\"iss\":\"https://id.example\",\"sub\":\"ada\"}", TG_JWT_AUDIENCE_CODE},
        {"{\"iss\":\"https://id.example\",\"aud\":\"API\",\"sub\":\"a\"}", TG_JWT_AUDIENCE_CODE},
        {"{\"iss\":\"https://id.example\",\"aud\":[],\"sub\":\"ada\"}", TG_JWT_AUDIENCE_CODE},
        {"{\"iss\":\"https://id.example\",\"aud\":[\"api\",7],\"sub\":\"a\"}", TG_JWT_CLAIMS_CODE},
        {"{\"iss\":\"https://id.example\",\"aud\":{\"api\":1},\"sub\":\"a\"}", TG_JWT_CLAIMS_CODE},
        {"{\"iss\":\"https://id.example\",\"aud\":\"api\"}", TG_JWT_CLAIMS_CODE},
        {"{\"iss\":\"https://id.example\",\"aud\":\"api\",\"sub\":\"\"}", TG_JWT_CLAIMS_CODE},
    };
    (void)state;
    struct tg_jwt_rules rules = loose;
    rules.issuer = "https://id.example";
    rules.audiences = us;
    rules.audience_count = 2;
    rules.sub_required = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum tg_jwt_code code = verify_own("{\"alg\":\"HS256\"}", rows[i].claims, &rules);
        if (code != rows[i].code)
            fail_msg("%s: %s", rows[i].claims, tg_jwt_code_names[code]);
    }
    /* A token that is for somebody is not for one who has no name. */
    assert_int_equal(verify_own("{\"alg\":\"HS256\"}", "{\"aud\":\"api\"}", &loose),
                     TG_JWT_AUDIENCE_CODE);
}

static void test_types(void **state)
{
    struct tg_jwt_rules rules = loose;
    (void)state;
    rules.typ = "at+jwt";
    assert_int_equal(verify_own("{\"alg\":\"HS256\",\"typ\":\"at+JWT\"}", "{}", &rules), 0);
    assert_int_equal(verify_own("{\"alg\":\"HS256\",\"typ\":\"application/at+jwt\"}", "{}", &rules),
                     0);
    assert_int_equal(verify_own("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{}", &rules),
                     TG_JWT_MALFORMED_CODE);
    assert_int_equal(verify_own("{\"alg\":\"HS256\"}", "{}", &rules), TG_JWT_MALFORMED_CODE);
}

static void test_depth_and_size(void **state)
{
    char nested[128] = "{\"a\":";
    char large[9000];
    (void)state;
    for (int depth = 2; depth <= TG_JWT_DEPTH_MAX + 1; depth++) {
        char claims[256];
        strcat(nested, "[");
        int used = snprintf(claims, sizeof claims, "%s", nested);
        for (int i = 2; i <= depth; i++)
            claims[used++] = ']';
        claims[used++] = '}';
        claims[used] = '\0';
        assert_int_equal(verify_own("{\"alg\":\"HS256\"}", claims, &loose),
                         depth <= TG_JWT_DEPTH_MAX ? TG_JWT_OK_CODE : TG_JWT_MALFORMED_CODE);
    }
    memset(large, ' ', sizeof large);
    large[0] = '{';
    large[8000] = '}';
    large[8001] = '\0';
    assert_int_equal(verify_own("{\"alg\":\"HS256\"}", large, &loose), TG_JWT_TOO_LARGE_CODE);
    large[3000] = '}';
    large[3001] = '\0';
    assert_int_equal(verify_own("{\"alg\":\"HS256\"}", large, &loose), TG_JWT_OK_CODE);
}

/* Every way to write the same token differently, or a part of one. */
static void test_the_text_is_canonical(void **state)
{
    struct tg_jwt_key key = key_of(RFC7515_A1_JWK);
    const char *good = RFC7515_A1_TOKEN;
    size_t len = strlen(good);
    char text[512];
    (void)state;
    static const char *const wraps[] = {" %s", "%s ", "%s\n", "%s=", "%s.", ".%s", "%s.x", "\t%s"};
    for (size_t i = 0; i < sizeof wraps / sizeof wraps[0]; i++) {
        const char *at = strstr(wraps[i], "%s");
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - wraps[i]), wraps[i], good, at + 2);
        assert_int_equal(verify_with(&key, 1, text, &loose, IN_2011, NULL), TG_JWT_MALFORMED_CODE);
    }
    /* 43 digits hold 258 bits, so the last two must be zero: k -> l changes none of the 256. */
    (void)snprintf(text, sizeof text, "%s", good);
    assert_int_equal(text[len - 1], 'k');
    text[len - 1] = 'l';
    assert_int_equal(verify_with(&key, 1, text, &loose, IN_2011, NULL), TG_JWT_MALFORMED_CODE);
    /* The other alphabet. */
    (void)snprintf(text, sizeof text, "%s", good);
    *strrchr(text, '-') = '+';
    assert_int_equal(verify_with(&key, 1, text, &loose, IN_2011, NULL), TG_JWT_MALFORMED_CODE);
    /* Each byte removed, changed; each beginning of it. */
    for (size_t i = 0; i < len; i++) {
        (void)snprintf(text, sizeof text, "%.*s%s", (int)i, good, good + i + 1);
        assert_int_not_equal(verify_with(&key, 1, text, &loose, IN_2011, NULL), TG_JWT_OK_CODE);
        (void)snprintf(text, sizeof text, "%s", good);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(verify_with(&key, 1, text, &loose, IN_2011, NULL), TG_JWT_OK_CODE);
        (void)snprintf(text, sizeof text, "%.*s", (int)i, good);
        assert_int_not_equal(verify_with(&key, 1, text, &loose, IN_2011, NULL), TG_JWT_OK_CODE);
    }
    static const char *const none[] = {"", ".", "..", "...", "a.b.c", "e30.e30.", "e30..e30"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(verify_with(&key, 1, none[i], &loose, NOW, NULL), TG_JWT_MALFORMED_CODE);
    tg_jwt_key_fini(&key);
}

/* The attack: HS256 with the text of the RSA public key as the secret, in any of its forms. */
static void test_a_public_key_is_no_secret(void **state)
{
    static const char *const forms[] = {RSA_SPKI_PEM, RSA_PKCS1_PEM, RFC7515_A2_JWK, RFC7515_A2_N};
    struct tg_jwt_key key;
    struct tg_error error = {0};
    (void)state;
    assert_int_equal(tg_jwt_key_from_pem(&key, RSA_SPKI_PEM, strlen(RSA_SPKI_PEM), &error),
                     TG_ERR_OK);
    assert_int_equal(key.algorithms & 7, 0); /* no HS */
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        static const char header[] = "{\"alg\":\"HS256\"}";
        struct tg_jwt_signer signer;
        struct tg_buffer out = TG_BUFFER_INIT;
        assert_int_equal(tg_jwt_signer_from_secret(&signer, forms[i], strlen(forms[i]), &error),
                         TG_ERR_OK);
        assert_int_equal(
            tg_jwt_sign(&signer, TG_JWT_HS256, header, sizeof header - 1, "{}", 2, &out, &error),
            TG_ERR_OK);
        assert_int_equal(tg_buffer_append(&out, "", 1), TG_ERR_OK);
        assert_int_equal(
            verify_with(&key, 1, (const char *)tg_buffer_head(&out), &loose, NOW, NULL),
            TG_JWT_KEY_CODE);
        tg_buffer_fini(&out);
        tg_jwt_signer_fini(&signer);
    }
    tg_jwt_key_fini(&key);
}

static void test_kid_chooses(void **state)
{
    struct tg_jwt_key keys[3] = {secret_key(), secret_key(), secret_key()};
    static const struct {
        const char *header;
        size_t count;
        enum tg_jwt_code code;
    } rows[] = {
        {"{\"alg\":\"HS256\",\"kid\":\"one\"}", 2, TG_JWT_OK_CODE},
        {"{\"alg\":\"HS256\",\"kid\":\"two\"}", 2, TG_JWT_OK_CODE},
        {"{\"alg\":\"HS256\",\"kid\":\"three\"}", 2, TG_JWT_KEY_CODE},
        {"{\"alg\":\"HS256\",\"kid\":\"\"}", 2, TG_JWT_KEY_CODE},
        {"{\"alg\":\"HS256\"}", 2, TG_JWT_KEY_CODE},             /* which of them? */
        {"{\"alg\":\"HS256\"}", 1, TG_JWT_OK_CODE},              /* the only one */
        {"{\"alg\":\"HS256\",\"kid\":\"x\"}", 3, TG_JWT_OK_CODE} /* the only one without */
    };
    (void)state;
    keys[0].has_kid = keys[1].has_kid = true;
    strcpy(keys[0].kid, "one");
    strcpy(keys[1].kid, "two");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *token = token_of(rows[i].header, "{}");
        enum tg_jwt_code code = verify_with(keys, rows[i].count, token, &loose, NOW, NULL);
        if (code != rows[i].code)
            fail_msg("%s: %s", rows[i].header, tg_jwt_code_names[code]);
        free(token);
    }
    strcpy(keys[1].kid, "one"); /* twice: neither */
    char *token = token_of("{\"alg\":\"HS256\",\"kid\":\"one\"}", "{}");
    assert_int_equal(verify_with(keys, 2, token, &loose, NOW, NULL), TG_JWT_KEY_CODE);
    free(token);
    for (size_t i = 0; i < 3; i++)
        tg_jwt_key_fini(&keys[i]);
}

static void test_a_jwk_pins_its_algorithm(void **state)
{
    struct tg_jwt_key key = key_of("{\"kty\":\"RSA\",\"alg\":\"PS256\",\"e\":\"AQAB\",\"n\":"
                                   "\"" RFC7515_A2_N "\"}");
    (void)state;
    assert_int_equal(key.algorithms, TG_JWT_BIT(TG_JWT_PS256));
    assert_int_equal(verify_with(&key, 1, RFC7515_A2_TOKEN, &loose, IN_2011, NULL),
                     TG_JWT_KEY_CODE);
    tg_jwt_key_fini(&key);
    key = key_of(RFC7515_A2_JWK);
    struct tg_jwt_rules rules = loose;
    rules.algorithms = TG_JWT_BIT(TG_JWT_PS256);
    assert_int_equal(verify_with(&key, 1, RFC7515_A2_TOKEN, &rules, IN_2011, NULL),
                     TG_JWT_ALGORITHM_CODE);
    tg_jwt_key_fini(&key);
}

#define EC(more) "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" RFC7515_A3_X "\"" more "}"
#define EC_Y ",\"y\":\"" RFC7515_A3_Y "\""

static void test_bad_jwks_are_refused(void **state)
{
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"[]", "object"},
        {"{}", "kty"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}", "EdDSA"},
        {"{\"kty\":\"rsa\"}", "kty"},
        {RFC7515_A2_PRIVATE_JWK, "private"},
        {RFC7515_A3_PRIVATE_JWK, "private"},
        {EC(EC_Y ",\"use\":\"enc\""), "use"},
        {EC(EC_Y ",\"key_ops\":[\"sign\"]"), "key_ops"},
        {EC(EC_Y ",\"key_ops\":\"verify\""), "key_ops"},
        {EC(EC_Y ",\"alg\":\"ES384\""), "alg"},
        {EC(EC_Y ",\"alg\":\"none\""), "alg"},
        {EC(EC_Y ",\"alg\":\"HS256\""), "alg"},
        {EC(EC_Y ",\"kid\":7"), "kid"},
        {EC(EC_Y EC_Y), "twice"},
        {EC(""), "\"y\""},
        {EC(",\"y\":7"), "\"y\""},
        {EC(",\"y\":\"\""), "\"y\""},
        {EC(",\"y\":\"" RFC7515_A3_Y "=\""), "base64url"},
        {EC(",\"y\":\"" RFC7515_A3_X "\""), "no point"},
        {EC(",\"y\":\"AA" RFC7515_A3_Y "\""), "base64url"},
        {"{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" RFC7515_A3_X "\"" EC_Y "}", "48 bytes"},
        {"{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}", "curve"},
        {"{\"kty\":\"oct\",\"k\":\"AAAA\"}", "3 bytes"},
        {"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "RSA"},
        {"{\"kty\":\"RSA\",\"n\":\"" RFC7515_A2_N "\",\"e\":\"" RFC7515_A2_N "\"}", "RSA"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_jwt_key key;
        struct tg_json_value value;
        struct tg_error error = {0};
        assert_int_equal(tg_json_parse(rows[i].json, strlen(rows[i].json), &value, &error), 0);
        enum tg_err err = tg_jwt_key_from_jwk(&key, &value, &error);
        if (err != TG_ERR_INVALID || strstr(error.text, rows[i].text) == NULL)
            fail_msg("%s: %s", rows[i].json, err == TG_ERR_OK ? "taken" : error.text);
    }
}

static void test_signing_with_private_jwks(void **state)
{
    static const struct {
        const char *secret, *open;
        enum tg_jwt_algorithm algorithm;
    } rows[] = {
        {RFC7515_A1_JWK, RFC7515_A1_JWK, TG_JWT_HS512},
        {RFC7515_A2_PRIVATE_JWK, RFC7515_A2_JWK, TG_JWT_RS256},
        {RFC7515_A2_PRIVATE_JWK, RFC7515_A2_JWK, TG_JWT_PS512},
        {RFC7515_A3_PRIVATE_JWK, RFC7515_A3_JWK, TG_JWT_ES256},
        {RFC7515_A4_PRIVATE_JWK, RFC7515_A4_JWK, TG_JWT_ES512},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_jwt_signer signer;
        struct tg_json_value value;
        struct tg_error error = {0};
        struct tg_buffer out = TG_BUFFER_INIT;
        char header[64];
        assert_int_equal(tg_json_parse(rows[i].secret, strlen(rows[i].secret), &value, &error), 0);
        if (tg_jwt_signer_from_jwk(&signer, &value, &error) != TG_ERR_OK)
            fail_msg("row %zu: %s", i, error.text);
        (void)snprintf(header, sizeof header, "{\"alg\":\"%s\"}",
                       tg_jwt_algorithm_names[rows[i].algorithm]);
        assert_int_equal(
            tg_jwt_sign(&signer, rows[i].algorithm, header, strlen(header), "{}", 2, &out, &error),
            TG_ERR_OK);
        assert_int_equal(tg_buffer_append(&out, "", 1), TG_ERR_OK);
        struct tg_jwt_key key = key_of(rows[i].open);
        assert_int_equal(
            verify_with(&key, 1, (const char *)tg_buffer_head(&out), &loose, NOW, NULL),
            TG_JWT_OK_CODE);
        tg_jwt_key_fini(&key);
        tg_buffer_clear(&out);
        enum tg_jwt_algorithm other =
            rows[i].algorithm == TG_JWT_ES384 ? TG_JWT_HS256 : TG_JWT_ES384;
        assert_int_equal(tg_jwt_sign(&signer, other, "{}", 2, "{}", 2, &out, &error),
                         TG_ERR_INVALID);
        tg_buffer_fini(&out);
        tg_jwt_signer_fini(&signer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_tokens_of_rfc_7515),
        cmocka_unit_test(test_the_signatures_of_rfc_7520),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_max_age),
        cmocka_unit_test(test_who_and_for_whom),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_depth_and_size),
        cmocka_unit_test(test_the_text_is_canonical),
        cmocka_unit_test(test_a_public_key_is_no_secret),
        cmocka_unit_test(test_kid_chooses),
        cmocka_unit_test(test_a_jwk_pins_its_algorithm),
        cmocka_unit_test(test_bad_jwks_are_refused),
        cmocka_unit_test(test_signing_with_private_jwks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
