/* jwt_fuzz.c - tokens and keys of any content. The first byte says what the rest is: 'j' a JWK, 'p' a header, a
 * NUL and claims, which are encoded first; anything else is the token itself.
 *
 * Whatever is taken must be the only text for what it says, and name nothing twice.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "proto/jwt_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1700000000.0

static const char *const audiences[] = {"api"};

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* The parts, encoded anew, are the token. */
static void require_canonical(const struct tg_jwt *jwt, const char *text, size_t len)
{
    struct tg_buffer again = TG_BUFFER_INIT;
    require(tg_base64url_encode(tg_buffer_head(&jwt->header), jwt->header.len, &again) ==
            TG_ERR_OK);
    require(tg_buffer_append(&again, ".", 1) == TG_ERR_OK);
    require(tg_base64url_encode(tg_buffer_head(&jwt->claims), jwt->claims.len, &again) ==
            TG_ERR_OK);
    require(again.len == jwt->signed_len);
    require(tg_buffer_append(&again, ".", 1) == TG_ERR_OK);
    require(tg_base64url_encode(tg_buffer_head(&jwt->signature), jwt->signature.len, &again) ==
            TG_ERR_OK);
    require(again.len == len && memcmp(tg_buffer_head(&again), text, len) == 0);
    tg_buffer_fini(&again);
}

/* The first and the last of equal names are the same member. */
static void require_single(const struct tg_buffer *json, const char *name)
{
    struct tg_json_value object;
    struct tg_json_value key;
    struct tg_json_value value;
    size_t cursor = 0;
    size_t found = 0;
    require(tg_json_parse((const char *)tg_buffer_head(json), json->len, &object, NULL) ==
            TG_ERR_OK);
    require(object.kind == TG_JSON_OBJECT);
    while (tg_json_next(&object, &cursor, &key, &value))
        found += tg_json_equals(&key, name) ? 1 : 0;
    require(found <= 1);
}

static void read_token(const char *text, size_t len, const struct tg_jwt_rules *rules)
{
    struct tg_jwt jwt = {0};
    const char *why = NULL;
    enum tg_jwt_code code = tg_jwt_open(&jwt, text, len, rules, &why);
    if (code == TG_JWT_OK_CODE) {
        require(len <= rules->bytes_max);
        require((rules->algorithms & TG_JWT_BIT(jwt.algorithm)) != 0);
        require_canonical(&jwt, text, len);
        require_single(&jwt.header, "alg");
        require_single(&jwt.header, "kid");
        code = tg_jwt_read_claims(&jwt, rules, NOW, &why);
        if (code == TG_JWT_OK_CODE) {
            require_single(&jwt.claims, "exp");
            require_single(&jwt.claims, "aud");
        }
    }
    require(code == TG_JWT_OK_CODE || why != NULL);
    tg_jwt_fini(&jwt);
}

static void read_both(const char *text, size_t len)
{
    const struct tg_jwt_rules loose = {.algorithms = TG_JWT_BIT(TG_JWT_ALGORITHMS) - 1,
                                       .bytes_max = 8192};
    const struct tg_jwt_rules strict = {.algorithms = TG_JWT_BIT(TG_JWT_RS256),
                                        .bytes_max = 1024,
                                        .typ = "at+jwt",
                                        .issuer = "joe",
                                        .audiences = audiences,
                                        .audience_count = 1,
                                        .exp_required = true,
                                        .sub_required = true,
                                        .leeway = 30,
                                        .max_age = 60};
    read_token(text, len, &loose);
    read_token(text, len, &strict);
}

static void read_parts(const uint8_t *data, size_t size)
{
    struct tg_buffer text = TG_BUFFER_INIT;
    const uint8_t *nul = memchr(data, 0, size);
    size_t header = nul == NULL ? size : (size_t)(nul - data);
    size_t claims = nul == NULL ? 0 : size - header - 1;
    require(tg_base64url_encode(data, header, &text) == TG_ERR_OK);
    require(tg_buffer_append(&text, ".", 1) == TG_ERR_OK);
    require(tg_base64url_encode(data + size - claims, claims, &text) == TG_ERR_OK);
    require(tg_buffer_append(&text, ".c2ln", 5) == TG_ERR_OK);
    read_both((const char *)tg_buffer_head(&text), text.len);
    tg_buffer_fini(&text);
}

static void read_jwk(const char *text, size_t len)
{
    struct tg_jwt_key key;
    struct tg_jwt_signer signer;
    struct tg_json_value value;
    if (tg_json_parse(text, len, &value, NULL) != TG_ERR_OK)
        return;
    if (tg_jwt_key_from_jwk(&key, &value, NULL) == TG_ERR_OK) {
        require((key.public_key == NULL) != (key.secret == NULL));
        require(key.algorithms != 0);
        /* HS, and only HS, is for secrets. */
        require(((key.algorithms & 7) != 0) == (key.secret != NULL));
        require(key.secret == NULL || (key.algorithms & ~UINT32_C(7)) == 0);
        tg_jwt_key_fini(&key);
    }
    if (tg_jwt_signer_from_jwk(&signer, &value, NULL) == TG_ERR_OK)
        tg_jwt_signer_fini(&signer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 12000)
        return 0;
    if (data[0] == 'j')
        read_jwk((const char *)data + 1, size - 1);
    else if (data[0] == 'p')
        read_parts(data + 1, size - 1);
    else
        read_both((const char *)data, size);
    return 0;
}
