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

#include "base/hash.h"
#include "base/random.h"
#include "proto/extensions.h"

static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 §1.3 */

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define WHY_MAX 200 /* bytes of a server's refusal that are passed on */
#define UPGRADE_LINES "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define VERSION_LINE "Sec-WebSocket-Version: 13\r\n"

/* Into a fixed array, so that it cannot fail; base/hash.h encodes into buffers that can. */
static void encode_base64(const uint8_t *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16;
        if (i + 1 < len)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < len)
            group |= bytes[i + 2];
        *out++ = base64_digits[group >> 18];
        *out++ = base64_digits[group >> 12 & 63];
        *out++ = i + 1 < len ? base64_digits[group >> 6 & 63] : '=';
        *out++ = i + 2 < len ? base64_digits[group & 63] : '=';
    }
    *out = '\0';
}

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

static bool key_valid(struct tg_http_text key)
{
    return key.len == TG_WS_KEY_LEN && strspn(key.data, base64_digits) == TG_WS_KEY_LEN - 2 &&
           memcmp(key.data + TG_WS_KEY_LEN - 2, "==", 2) == 0;
}

/* A request that has none of these does not know that this is a WebSocket endpoint. */
static bool is_attempt(const struct tg_http *http)
{
    return tg_http_find(http, "upgrade", NULL).data != NULL ||
           tg_http_find(http, "sec-websocket-key", NULL).data != NULL ||
           tg_http_find(http, "sec-websocket-version", NULL).data != NULL;
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
    struct tg_http_text host = tg_http_find(http, "host", &hosts);
    if (hosts != 1 || host.len == 0)
        return refuse(refusal, 400, "the Host header must be there once and not be empty", "");
    return TG_ERR_OK;
}

enum tg_err tg_upgrade_check(const struct tg_http *http, struct tg_upgrade_refusal *refusal)
{
    size_t versions;
    size_t keys;
    struct tg_http_text version = tg_http_find(http, "sec-websocket-version", &versions);
    struct tg_http_text key = tg_http_find(http, "sec-websocket-key", &keys);
    struct tg_http_text length = tg_http_find(http, "content-length", NULL);

    *refusal = (struct tg_upgrade_refusal){0, "", ""};
    enum tg_err err = check_request_line(http, refusal);
    if (err != TG_ERR_OK)
        return err;
    if (!tg_http_has_token(http, "upgrade", "websocket"))
        return refuse(refusal, 426,
                      "\"Upgrade: websocket\" is missing (a proxy in between may have removed it)",
                      UPGRADE_LINES VERSION_LINE);
    if (!tg_http_has_token(http, "connection", "upgrade"))
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
    if (tg_http_find(http, "transfer-encoding", NULL).data != NULL ||
        (length.data != NULL && strspn(length.data, "0") != length.len))
        return refuse(refusal, 400, "a WebSocket handshake has no body", "");
    return TG_ERR_OK;
}

enum tg_err tg_upgrade_accept(struct tg_buffer *out, const struct tg_http *http,
                              const char *subprotocol, const char *extra)
{
    struct tg_http_text key = tg_http_find(http, "sec-websocket-key", NULL);
    char accept[TG_WS_ACCEPT_SIZE];

    if (subprotocol != NULL && !fits_line(subprotocol))
        return TG_ERR_INVALID;
    tg_upgrade_accept_key(key.data, key.len, accept);
    /* In pieces, not with printf: that was a sixth of all the instructions of a handshake. */
    static const char begin[] =
        "HTTP/1.1 101 Switching Protocols\r\n" UPGRADE_LINES "Sec-WebSocket-Accept: ";
    const char *pieces[] = {begin,
                            accept,
                            subprotocol == NULL ? "" : "\r\nSec-WebSocket-Protocol: ",
                            subprotocol == NULL ? "" : subprotocol,
                            "\r\n",
                            extra == NULL ? "" : extra,
                            "\r\n"};
    size_t count = sizeof pieces / sizeof pieces[0];
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += strlen(pieces[i]);
    if (tg_buffer_reserve(out, len) == NULL)
        return TG_ERR_NOMEM;
    enum tg_err err = TG_ERR_OK;
    for (size_t i = 0; err == TG_ERR_OK && i < count; i++)
        err = tg_buffer_append_str(out, pieces[i]);
    return err;
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
    encode_base64(digest, sizeof digest, out);
}

void tg_upgrade_make_key(char out[TG_WS_KEY_LEN + 1])
{
    uint8_t bytes[16];

    tg_random_bytes(bytes, sizeof bytes);
    encode_base64(bytes, sizeof bytes, out);
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
    if (!tg_http_has_token(response, "upgrade", "websocket") ||
        !tg_http_has_token(response, "connection", "upgrade"))
        return tg_error_set(error, TG_ERR_PROTO,
                            "the answer lacks \"Upgrade: websocket\" or \"Connection: Upgrade\"");
    struct tg_http_text accept = tg_http_find(response, "sec-websocket-accept", &accepts);
    tg_upgrade_accept_key(key, strlen(key), expected);
    if (accepts != 1 || !text_is(accept, expected))
        return tg_error_set(error, TG_ERR_PROTO,
                            "Sec-WebSocket-Accept does not answer the key that was sent");
    return TG_ERR_OK;
}
