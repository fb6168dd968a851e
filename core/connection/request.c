/* request.c - packs a parsed head into one immutable block.
 *
 *   path query remote [method] [tls_info client_certificate] { name value } NUL
 *
 * Each is a text with its NUL; the method is there unless it is GET, the two about TLS when either is known,
 * "" for the other. A name is text, or one byte below ' ', which no name begins with: its place in the list of
 * what is often sent, where three headers that every client sends have their value too.
 */
#include "connection/request.h"

#include <string.h>

#include "base/memory.h"
#include "proto/forwarded.h"

struct tg_request {
    uint16_t header_count;
    bool secure : 1;
    bool via_proxy : 1;
    bool has_method : 1;
    bool has_tls : 1;
    char texts[];
};

/* The places of what is always there. */
enum { PATH, QUERY, REMOTE, OPTIONAL };

/* The first has the number 1. One with a value stands before the same name without. */
static const struct {
    const char *name;
    size_t name_len;
    const char *value; /* NULL: any */
} often_sent[] = {
#define OFTEN(name, value)                                                                         \
    {                                                                                              \
        name, sizeof(name) - 1, value                                                              \
    }
    OFTEN("upgrade", "websocket"),
    OFTEN("connection", "Upgrade"),
    OFTEN("sec-websocket-version", "13"),
    OFTEN("host", NULL),
    OFTEN("upgrade", NULL),
    OFTEN("connection", NULL),
    OFTEN("sec-websocket-key", NULL),
    OFTEN("sec-websocket-protocol", NULL),
    OFTEN("sec-websocket-extensions", NULL),
    OFTEN("origin", NULL),
    OFTEN("user-agent", NULL),
    OFTEN("cookie", NULL),
    OFTEN("authorization", NULL),
    OFTEN("accept", NULL),
    OFTEN("accept-encoding", NULL),
    OFTEN("accept-language", NULL),
    OFTEN("cache-control", NULL),
    OFTEN("pragma", NULL),
    OFTEN("sec-fetch-dest", NULL),
    OFTEN("sec-fetch-mode", NULL),
    OFTEN("sec-fetch-site", NULL),
    OFTEN("x-forwarded-for", NULL),
    OFTEN("x-forwarded-host", NULL),
    OFTEN("x-forwarded-port", NULL),
    OFTEN("x-forwarded-proto", NULL),
    OFTEN("x-real-ip", NULL),
    OFTEN("x-request-id", NULL),
    OFTEN("forwarded", NULL),
    OFTEN("x-api-key", NULL),
#undef OFTEN
};
#define OFTEN_SENT (sizeof often_sent / sizeof often_sent[0])
_Static_assert(OFTEN_SENT < ' ', "a number must not look like a letter");

static bool is_text(struct tg_http_text text, const char *expected)
{
    return strlen(expected) == text.len && memcmp(expected, text.data, text.len) == 0;
}

/* 0: it is not one of them. */
static char number_of(const struct tg_http_header *header)
{
    for (size_t i = 0; i < OFTEN_SENT; i++) {
        if (often_sent[i].name_len == header->name.len &&
            memcmp(often_sent[i].name, header->name.data, header->name.len) == 0 &&
            (often_sent[i].value == NULL || is_text(header->value, often_sent[i].value)))
            return (char)(i + 1);
    }
    return '\0';
}

/* Writes, or with `at` NULL only measures. */
struct packer {
    char *at;
    size_t size;
};

static void pack(struct packer *packer, const char *data, size_t len)
{
    if (packer->at != NULL && len > 0)
        memcpy(packer->at + packer->size, data, len);
    packer->size += len;
}

static void pack_text(struct packer *packer, struct tg_http_text text)
{
    pack(packer, text.data, text.len);
    pack(packer, "", 1);
}

static void pack_string(struct packer *packer, const char *text)
{
    if (text == NULL)
        text = "";
    pack(packer, text, strlen(text) + 1);
}

static bool is_kept(const struct tg_http_header *header, const struct tg_request_about *about)
{
    /* Header names are followed by a NUL in the parser's text, as all of its texts. */
    return about->via_proxy || !tg_forwarded_is_header(header->name.data);
}

static uint16_t pack_headers(struct packer *packer, const struct tg_http *http,
                             const struct tg_request_about *about)
{
    uint16_t count = 0;

    for (size_t i = 0; i < tg_http_header_count(http); i++) {
        struct tg_http_header header = tg_http_header_at(http, i);
        if (!is_kept(&header, about))
            continue;
        char number = number_of(&header);
        if (number != '\0')
            pack(packer, &number, 1);
        else
            pack_text(packer, header.name);
        if (number == '\0' || often_sent[number - 1].value == NULL)
            pack_text(packer, header.value);
        count++;
    }
    pack(packer, "", 1);
    return count;
}

static bool has_method(const struct tg_http *http)
{
    return !is_text(tg_http_method(http), "GET");
}

static bool has_tls(const struct tg_request_about *about)
{
    return about->tls_info != NULL || about->client_certificate != NULL;
}

static void pack_line(struct packer *packer, const struct tg_http *http,
                      const struct tg_request_about *about)
{
    pack_text(packer, tg_http_path(http));
    pack_text(packer, tg_http_query(http));
    pack_string(packer, about->remote);
    if (has_method(http))
        pack_text(packer, tg_http_method(http));
    if (has_tls(about)) {
        pack_string(packer, about->tls_info);
        pack_string(packer, about->client_certificate);
    }
}

struct tg_request *tg_request_create(const struct tg_http *http,
                                     const struct tg_request_about *about)
{
    struct packer packer = {NULL, 0};
    pack_line(&packer, http, about);
    uint16_t count = pack_headers(&packer, http, about);
    struct tg_request *request = tg_alloc(offsetof(struct tg_request, texts) + packer.size);
    if (request == NULL)
        return NULL;
    request->header_count = count;
    request->has_method = has_method(http);
    request->has_tls = has_tls(about);
    request->secure = about->secure;
    request->via_proxy = about->via_proxy;
    packer = (struct packer){request->texts, 0};
    pack_line(&packer, http, about);
    (void)pack_headers(&packer, http, about);
    return request;
}

static const char *text_at(const struct tg_request *request, size_t place)
{
    const char *text = request->texts;

    while (place-- > 0)
        text += strlen(text) + 1;
    return text;
}

static size_t first_of_tls(const struct tg_request *request)
{
    return request->has_method ? OPTIONAL + 1 : OPTIONAL;
}

static const char *text_of_tls(const struct tg_request *request, size_t which)
{
    if (!request->has_tls)
        return NULL;
    const char *text = text_at(request, first_of_tls(request) + which);
    return text[0] == '\0' ? NULL : text;
}

const char *tg_request_method(const struct tg_request *request)
{
    return request->has_method ? text_at(request, OPTIONAL) : "GET";
}

const char *tg_request_path(const struct tg_request *request)
{
    return text_at(request, PATH);
}

const char *tg_request_query(const struct tg_request *request)
{
    return text_at(request, QUERY);
}

const char *tg_request_remote(const struct tg_request *request)
{
    return text_at(request, REMOTE);
}

bool tg_request_is_secure(const struct tg_request *request)
{
    return request->secure;
}

bool tg_request_is_via_proxy(const struct tg_request *request)
{
    return request->via_proxy;
}

const char *tg_request_tls_info(const struct tg_request *request)
{
    return text_of_tls(request, 0);
}

const char *tg_request_client_certificate(const struct tg_request *request)
{
    return text_of_tls(request, 1);
}

size_t tg_request_header_count(const struct tg_request *request)
{
    return request->header_count;
}

bool tg_request_next_header(const struct tg_request *request, size_t *cursor,
                            struct tg_request_header *out)
{
    const char *at = *cursor == 0
                         ? text_at(request, first_of_tls(request) + (request->has_tls ? 2 : 0))
                         : request->texts + *cursor;
    unsigned char first = (unsigned char)*at;

    if (first == '\0')
        return false;
    if (first <= OFTEN_SENT && often_sent[first - 1].value != NULL) {
        out->name = often_sent[first - 1].name;
        out->value = often_sent[first - 1].value;
        *cursor = (size_t)(at + 1 - request->texts);
        return true;
    }
    out->name = first <= OFTEN_SENT ? often_sent[first - 1].name : at;
    out->value = at + (first <= OFTEN_SENT ? 0 : strlen(at)) + 1;
    *cursor = (size_t)(out->value + strlen(out->value) + 1 - request->texts);
    return true;
}

const char *tg_request_header(const struct tg_request *request, const char *name)
{
    struct tg_request_header header;

    for (size_t cursor = 0; tg_request_next_header(request, &cursor, &header);)
        if (strcmp(header.name, name) == 0)
            return header.value;
    return NULL;
}
