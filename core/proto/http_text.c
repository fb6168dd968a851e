/* http_text.c - the text side of HTTP: header lists, percent-encoding, and writing a response.
 *
 * Owns nothing and sees a message only through the accessors of http.h. What fails leaves the buffer
 * it was writing to as it was.
 */
#include <string.h>
#include <strings.h>

#include "proto/http.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Where the item at `at` ends: at a comma outside of quotes (RFC 9110 §5.6.4), or at the end. */
static size_t item_end(struct tg_http_text value, size_t at)
{
    bool quoted = false;

    for (; at < value.len; at++) {
        if (value.data[at] == '"')
            quoted = !quoted;
        else if (quoted && value.data[at] == '\\')
            at++;
        else if (!quoted && value.data[at] == ',')
            return at;
    }
    return value.len;
}

static struct tg_http_text trimmed(const char *data, size_t len)
{
    while (len > 0 && is_blank(data[len - 1]))
        len--;
    while (len > 0 && is_blank(*data)) {
        data++;
        len--;
    }
    return (struct tg_http_text){data, len};
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool tg_http_has_token(const struct tg_http *http, enum tg_header name, const char *token)
{
    uint64_t cursor = 0;
    struct tg_http_text item;

    while (tg_http_next_item(http, name, &cursor, &item)) {
        if (item.len == strlen(token) && strncasecmp(item.data, token, item.len) == 0)
            return true;
    }
    return false;
}

/* The cursor is the header's index in the upper half and the place in its value in the lower. */
bool tg_http_next_item(const struct tg_http *http, enum tg_header name, uint64_t *cursor,
                       struct tg_http_text *item)
{
    size_t index = (size_t)(*cursor >> 32);
    size_t at = (size_t)(*cursor & UINT32_MAX);

    for (; (index = tg_http_next(http, name, index)) < tg_http_header_count(http);
         index++, at = 0) {
        struct tg_http_header header = tg_http_header_at(http, index);
        while (at < header.value.len) {
            size_t end = item_end(header.value, at);
            *item = trimmed(header.value.data + at, end - at);
            at = end + 1;
            if (item->len == 0)
                continue;
            *cursor = (uint64_t)index << 32 | at;
            return true;
        }
    }
    *cursor = (uint64_t)index << 32;
    return false;
}

const char *tg_http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Unknown";
}

enum tg_err tg_http_write_response(struct tg_buffer *out, int status, const char *content_type,
                                   const char *extra, const void *body, size_t body_len,
                                   bool keep_alive)
{
    size_t mark = out->len;
    enum tg_err err = tg_buffer_printf(
        out, "HTTP/1.1 %d %s\r\n%s%s%sContent-Length: %zu\r\n%s%s\r\n", status,
        tg_http_reason(status),
        content_type == NULL ? "" : "Content-Type: ", content_type == NULL ? "" : content_type,
        content_type == NULL ? "" : "\r\n", body_len, keep_alive ? "" : "Connection: close\r\n",
        extra == NULL ? "" : extra);

    if (err == TG_ERR_OK && body_len > 0)
        err = tg_buffer_append(out, body, body_len);
    if (err != TG_ERR_OK)
        out->len = mark;
    return err;
}

enum tg_err tg_http_percent_decode(struct tg_http_text text, bool form, struct tg_buffer *out)
{
    if (text.len == 0)
        return TG_ERR_OK;
    uint8_t *to = tg_buffer_reserve(out, text.len);
    size_t len = 0;
    if (to == NULL)
        return TG_ERR_NOMEM;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '%') {
            to[len++] = form && text.data[i] == '+' ? ' ' : (uint8_t)text.data[i];
            continue;
        }
        int high = text.len - i > 2 ? hex_value(text.data[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text.data[i + 2]) : -1;
        if (low < 0)
            return TG_ERR_PROTO;
        to[len++] = (uint8_t)(high << 4 | low);
        i += 2;
    }
    tg_buffer_commit(out, len);
    return TG_ERR_OK;
}
