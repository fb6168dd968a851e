/* request_header.c - one header of a kept request, in as few bytes as it takes. It is one of these, told apart by
 * its first byte, which none of the others can have:
 *
 *   1..KEY-1        the header of that place in the list of what is often sent, name and value
 *   KEY             Sec-WebSocket-Key, and its 16 bytes
 *   NUMBERED | n    the name with the number n, and the text of its value
 *   others          the texts of name and value
 *
 * A text has a NUL behind it.
 */
#include <string.h>

#include "connection/request_internal.h"

/* What browsers and common clients send word for word. */
static const struct {
    enum tg_header number;
    uint8_t value_len;
    const char *value;
} often_sent[] = {
#define OFTEN(name, value)                                                                         \
    {                                                                                              \
        TG_HEADER_##name, sizeof(value) - 1, value                                                 \
    }
    OFTEN(UPGRADE, "websocket"),
    OFTEN(CONNECTION, "Upgrade"),
    OFTEN(SEC_WEBSOCKET_VERSION, "13"),
    OFTEN(CONNECTION, "keep-alive, Upgrade"),
    OFTEN(SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate; client_max_window_bits"),
    OFTEN(SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate"),
    OFTEN(ACCEPT, "*/*"),
    OFTEN(ACCEPT_ENCODING, "gzip, deflate, br, zstd"),
    OFTEN(ACCEPT_ENCODING, "gzip, deflate, br"),
    OFTEN(ACCEPT_ENCODING, "gzip, deflate"),
    OFTEN(CACHE_CONTROL, "no-cache"),
    OFTEN(PRAGMA, "no-cache"),
    OFTEN(SEC_FETCH_DEST, "websocket"),
    OFTEN(SEC_FETCH_DEST, "empty"),
    OFTEN(SEC_FETCH_MODE, "websocket"),
    OFTEN(SEC_FETCH_SITE, "same-origin"),
    OFTEN(SEC_FETCH_SITE, "same-site"),
    OFTEN(SEC_FETCH_SITE, "cross-site"),
#undef OFTEN
};
#define OFTEN_SENT (sizeof often_sent / sizeof often_sent[0])

enum { KEY = OFTEN_SENT + 1, NUMBERED = 0x80 };
_Static_assert(KEY < ' ' && (int)TG_HEADERS <= NUMBERED, "no name must begin with such a byte");

/* From 1; 0: it is none of them. */
static size_t place_in_often_sent(const struct tg_http_header *header)
{
    for (size_t i = 0; i < OFTEN_SENT; i++) {
        if (often_sent[i].number == header->number &&
            tg__is_text(header->value, often_sent[i].value, often_sent[i].value_len))
            return i + 1;
    }
    return 0;
}

void tg__pack_header(struct tg__packer *packer, const struct tg_http_header *header)
{
    uint8_t key[TG_WS_KEY_BYTES];
    size_t place = place_in_often_sent(header);

    if (place != 0) {
        tg__pack_byte(packer, place);
    } else if (header->number == TG_HEADER_SEC_WEBSOCKET_KEY &&
               tg_upgrade_key_bytes(header->value, key)) {
        tg__pack_byte(packer, KEY);
        tg__pack(packer, (const char *)key, sizeof key);
    } else if (header->number != TG_HEADER_OTHER) {
        tg__pack_byte(packer, NUMBERED | header->number);
        tg__pack_text(packer, header->value);
    } else {
        tg__pack_text(packer, header->name);
        tg__pack_text(packer, header->value);
    }
}

/* Of a header whose value is a text: where that begins. */
static const char *read_name(const char *at, struct tg_request_header *out)
{
    uint8_t first = (uint8_t)*at;

    if (first >= NUMBERED) {
        out->number = first & ~(unsigned)NUMBERED;
        out->name = tg_header_name(out->number);
        return at + 1;
    }
    out->number = TG_HEADER_OTHER;
    out->name = at;
    return at + strlen(at) + 1;
}

const char *tg__read_header(const char *at, struct tg_request_header *out)
{
    uint8_t first = (uint8_t)*at;

    if (first < KEY) {
        out->number = often_sent[first - 1].number;
        out->name = tg_header_name(out->number);
        out->value = often_sent[first - 1].value;
        out->value_len = often_sent[first - 1].value_len;
        return at + 1;
    }
    if (first == KEY) {
        out->number = TG_HEADER_SEC_WEBSOCKET_KEY;
        out->name = tg_header_name(out->number);
        tg_upgrade_key_text((const uint8_t *)at + 1, out->key);
        out->value = out->key;
        out->value_len = TG_WS_KEY_LEN;
        return at + 1 + TG_WS_KEY_BYTES;
    }
    out->value = read_name(at, out);
    out->value_len = strlen(out->value);
    return out->value + out->value_len + 1;
}
