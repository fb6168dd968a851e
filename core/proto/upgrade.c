/* upgrade.c - the WebSocket opening handshake.
 *
 * Owns nothing. The checks stand in one function, in the order in which a person would want to hear
 * of them: what kind of request, then which version, then the details.
 *
 * A key is taken by its shape (22 base64 characters and "=="); the bits that 16 bytes leave over are
 * not looked at, because RFC 6455 §4.2.2 uses the key as text and never decodes it.
 */
#include "proto/upgrade.h"

#include <string.h>

#include "base/base64.h"
#include "base/hash.h"
#include "base/random.h"
#include "proto/extensions.h"

static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 §1.3 */

#define WHY_MAX 200 /* bytes of a server's refusal that are passed on */
#define UPGRADE_LINES "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define VERSION_LINE "Sec-WebSocket-Version: 13\r\n"

static enum tg_err refuse(struct tg_upgrade_refusal *refusal, int status, const char *why,
                          const char *extra)
{
    *refusal = (struct tg_upgrade_refusal){status, why, extra};
    return TG_ERR_PROTO;
}

static bool text_is(struct tg_http_text text, const char *expected)
{
    return text.data != NULL && text.len == strlen(expected) &&
           memcmp(text.data, expected, text.len) == 0;
}

/* *spare gets the bits that no byte is left for. */
static bool decode_key(struct tg_http_text key, uint8_t out[TG_WS_KEY_BYTES], uint32_t *spare)
{
    uint32_t all = 0;

    if (key.len != TG_WS_KEY_LEN || memcmp(key.data + TG_WS_KEY_LEN - 2, "==", 2) != 0)
        return false;
    for (size_t i = 0; i < TG_WS_KEY_BYTES / 3; i++) {
        uint32_t group = tg_base64_group(key.data + 4 * i);
        all |= group;
        *out++ = (uint8_t)(group >> 16);
        *out++ = (uint8_t)(group >> 8);
        *out++ = (uint8_t)group;
    }
    uint32_t last = tg_base64_group((const char[4]){key.data[20], key.data[21], 'A', 'A'});
    *out = (uint8_t)(last >> 16);
    *spare = last & 0xffff;
    return (all | last) <= 0xffffff;
}

static bool key_valid(struct tg_http_text key)
{
    uint8_t bytes[TG_WS_KEY_BYTES];
    uint32_t spare;

    return decode_key(key, bytes, &spare);
}

/* A request that has none of these does not know that this is a WebSocket endpoint. */
static bool is_attempt(const struct tg_http *http)
{
    return tg_http_find(http, TG_HEADER_UPGRADE, NULL).data != NULL ||
           tg_http_find(http, TG_HEADER_SEC_WEBSOCKET_KEY, NULL).data != NULL ||
           tg_http_find(http, TG_HEADER_SEC_WEBSOCKET_VERSION, NULL).data != NULL;
}

/* Can stand in a header line or request line: what comes from a policy may hold anything. */
static bool fits_line(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    }
    return true;
}

static enum tg_err check_request_line(const struct tg_http *http,
                                      struct tg_upgrade_refusal *refusal)
{
    size_t hosts;

    if (!is_attempt(http))
        return refuse(refusal, 426, "this is a WebSocket endpoint: connect with a WebSocket client",
                      UPGRADE_LINES VERSION_LINE);
    if (!text_is(tg_http_method(http), "GET"))
        return refuse(refusal, 405, "a WebSocket handshake is a GET request", "Allow: GET\r\n");
    if (tg_http_version_minor(http) < 1)
        return refuse(refusal, 505, "a WebSocket handshake needs HTTP/1.1", "");
    struct tg_http_text host = tg_http_find(http, TG_HEADER_HOST, &hosts);
    if (hosts != 1 || host.len == 0)
        return refuse(refusal, 400, "the Host header must be there once and not be empty", "");
    return TG_ERR_OK;
}

enum tg_err tg_upgrade_check(const struct tg_http *http, struct tg_upgrade_refusal *refusal)
{
    size_t versions;
    size_t keys;
    struct tg_http_text version = tg_http_find(http, TG_HEADER_SEC_WEBSOCKET_VERSION, &versions);
    struct tg_http_text key = tg_http_find(http, TG_HEADER_SEC_WEBSOCKET_KEY, &keys);
    struct tg_http_text length = tg_http_find(http, TG_HEADER_CONTENT_LENGTH, NULL);

    *refusal = (struct tg_upgrade_refusal){0, "", ""};
    enum tg_err err = check_request_line(http, refusal);
    if (err != TG_ERR_OK)
        return err;
    if (!tg_http_has_token(http, TG_HEADER_UPGRADE, "websocket"))
        return refuse(refusal, 426,
                      "\"Upgrade: websocket\" is missing (a proxy in between may have removed it)",
                      UPGRADE_LINES VERSION_LINE);
    if (!tg_http_is_upgrade(http)) /* it looks at Connection, too */
        return refuse(refusal, 400,
                      "\"Connection: Upgrade\" is missing (a proxy in between may have removed it)",
                      "");
    if (versions > 1)
        return refuse(refusal, 400, "more than one Sec-WebSocket-Version header", "");
    if (!text_is(version, "13"))
        return refuse(refusal, 426, "\"Sec-WebSocket-Version: 13\" is the only version spoken here",
                      UPGRADE_LINES VERSION_LINE);
    if (keys != 1)
        return refuse(refusal, 400, "the Sec-WebSocket-Key header must be there once", "");
    if (!key_valid(key))
        return refuse(refusal, 400, "Sec-WebSocket-Key must be 16 random bytes in base64", "");
    if (!tg_extensions_valid(http))
        return refuse(refusal, 400, "the Sec-WebSocket-Extensions header is malformed", "");
    if (tg_http_find(http, TG_HEADER_TRANSFER_ENCODING, NULL).data != NULL ||
        (length.data != NULL && strspn(length.data, "0") != length.len))
        return refuse(refusal, 400, "a WebSocket handshake has no body", "");
    return TG_ERR_OK;
}

enum tg_err tg_upgrade_accept(struct tg_buffer *out, const struct tg_http *http,
                              const char *subprotocol, const char *extra)
{
    struct tg_http_text key = tg_http_find(http, TG_HEADER_SEC_WEBSOCKET_KEY, NULL);
    char accept[TG_WS_ACCEPT_SIZE];

    if (subprotocol != NULL && !fits_line(subprotocol))
        return TG_ERR_INVALID;
    tg_upgrade_accept_key(key.data, key.len, accept);
    /* In pieces, not with printf: that was a sixth of all the instructions of a handshake. */
    static const char begin[] =
        "HTTP/1.1 101 Switching Protocols\r\n" UPGRADE_LINES "Sec-WebSocket-Accept: ";
    static const char chosen[] = "\r\nSec-WebSocket-Protocol: ";
    const struct tg_http_text pieces[] = {
        {begin, sizeof begin - 1},
        {accept, sizeof accept - 1},
        {chosen, subprotocol == NULL ? 0 : sizeof chosen - 1},
        {subprotocol, subprotocol == NULL ? 0 : strlen(subprotocol)},
        {"\r\n", 2},
        {extra, extra == NULL ? 0 : strlen(extra)},
        {"\r\n", 2},
    };
    size_t count = sizeof pieces / sizeof pieces[0];
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    if (tg_buffer_reserve(out, len) == NULL)
        return TG_ERR_NOMEM;
    enum tg_err err = TG_ERR_OK;
    for (size_t i = 0; err == TG_ERR_OK && i < count; i++)
        err = tg_buffer_append(out, pieces[i].data, pieces[i].len);
    return err;
}

bool tg_upgrade_key_bytes(struct tg_http_text key, uint8_t out[TG_WS_KEY_BYTES])
{
    uint32_t spare;

    return decode_key(key, out, &spare) && spare == 0;
}

void tg_upgrade_key_text(const uint8_t bytes[TG_WS_KEY_BYTES], char out[TG_WS_KEY_LEN + 1])
{
    tg_base64_write(bytes, TG_WS_KEY_BYTES, out);
    out[TG_WS_KEY_LEN] = '\0';
}

void tg_upgrade_accept_key(const char *key, size_t key_len, char out[TG_WS_ACCEPT_SIZE])
{
    char joined[TG_WS_KEY_LEN + sizeof accept_guid];
    uint8_t digest[TG_SHA1_SIZE];

    if (key_len > TG_WS_KEY_LEN)
        key_len = TG_WS_KEY_LEN;
    memcpy(joined, key, key_len);
    memcpy(joined + key_len, accept_guid, sizeof accept_guid - 1);
    tg_sha1(joined, key_len + sizeof accept_guid - 1, digest);
    tg_base64_write(digest, sizeof digest, out);
    out[TG_WS_ACCEPT_SIZE - 1] = '\0';
}

void tg_upgrade_make_key(char out[TG_WS_KEY_LEN + 1])
{
    uint8_t bytes[TG_WS_KEY_BYTES];

    tg_random_bytes(bytes, sizeof bytes);
    tg_upgrade_key_text(bytes, out);
}

enum tg_err tg_upgrade_request(struct tg_buffer *out, const char *host, const char *target,
                               const char *key, const char *subprotocol, const char *extra)
{
    if (!fits_line(host) || !fits_line(target) || strchr(target, ' ') != NULL ||
        (subprotocol != NULL && !fits_line(subprotocol)))
        return TG_ERR_INVALID;
    return tg_buffer_printf(out,
                            "GET %s HTTP/1.1\r\nHost: %s\r\n" UPGRADE_LINES
                            "Sec-WebSocket-Key: %s\r\n" VERSION_LINE "%s%s%s%s\r\n",
                            target, host, key,
                            subprotocol == NULL ? "" : "Sec-WebSocket-Protocol: ",
                            subprotocol == NULL ? "" : subprotocol,
                            subprotocol == NULL ? "" : "\r\n", extra == NULL ? "" : extra);
}

enum tg_err tg_upgrade_verify(const struct tg_http *response, const char *key,
                              struct tg_error *error)
{
    int status = tg_http_response_status(response);
    char expected[TG_WS_ACCEPT_SIZE];
    size_t accepts;

    if (status != 101) {
        const struct tg_buffer *body = tg_http_body(response);
        const char *text = body->len == 0 ? "" : (const char *)tg_buffer_head(body);
        size_t len = 0; /* its first line, as far as it is safe to show on a terminal */
        while (len < body->len && len < WHY_MAX && (unsigned char)text[len] >= ' ' &&
               text[len] != 0x7f)
            len++;
        return tg_error_set(error, TG_ERR_PROTO, "the server answered %d %s%s%.*s", status,
                            tg_http_reason(status), len == 0 ? "" : ": ", (int)len, text);
    }
    if (!tg_http_has_token(response, TG_HEADER_UPGRADE, "websocket") ||
        !tg_http_has_token(response, TG_HEADER_CONNECTION, "upgrade"))
        return tg_error_set(error, TG_ERR_PROTO,
                            "the answer lacks \"Upgrade: websocket\" or \"Connection: Upgrade\"");
    struct tg_http_text accept = tg_http_find(response, TG_HEADER_SEC_WEBSOCKET_ACCEPT, &accepts);
    tg_upgrade_accept_key(key, strlen(key), expected);
    if (accepts != 1 || !text_is(accept, expected))
        return tg_error_set(error, TG_ERR_PROTO,
                            "Sec-WebSocket-Accept does not answer the key that was sent");
    return TG_ERR_OK;
}
