/* request.c - packs a parsed head into one immutable block.
 *
 *   path [query] [method] [tls_info client_certificate] { header } NUL
 *
 * Those before the headers are texts with their NUL, and what is in brackets is there when a bit says so: the
 * method unless it is GET, the two about TLS when either is known, "" for the other. The headers are in
 * request_header.c.
 */
#include <string.h>

#include "base/memory.h"
#include "connection/request_internal.h"
#include "proto/forwarded.h"

struct tg_request {
    uint8_t header_count;
    bool secure : 1;
    bool via_proxy : 1;
    bool has_query : 1;
    bool has_method : 1;
    bool has_tls : 1;
    char texts[];
};
_Static_assert(TG_HTTP_HEADERS_MAX <= UINT8_MAX, "they are counted in a byte");

#define SMALL 1024 /* bytes of a request that is packed in one go */

void tg__pack(struct tg__packer *packer, const char *data, size_t len)
{
    if (packer->size <= packer->room && len <= packer->room - packer->size)
        memcpy(packer->at + packer->size, data, len);
    packer->size += len;
}

void tg__pack_byte(struct tg__packer *packer, size_t byte)
{
    tg__pack(packer, &(char){(char)byte}, 1);
}

void tg__pack_text(struct tg__packer *packer, struct tg_http_text text)
{
    tg__pack(packer, text.data, text.len);
    tg__pack(packer, "", 1);
}

static void pack_string(struct tg__packer *packer, const char *text)
{
    if (text == NULL)
        text = "";
    tg__pack(packer, text, strlen(text) + 1);
}

static bool is_kept(const struct tg_http_header *header, const struct tg_request_about *about)
{
    return about->via_proxy || !tg_forwarded_is_header(header);
}

static uint8_t pack_headers(struct tg__packer *packer, const struct tg_http *http,
                            const struct tg_request_about *about)
{
    uint8_t count = 0;

    for (size_t i = 0; i < tg_http_header_count(http); i++) {
        struct tg_http_header header = tg_http_header_at(http, i);
        if (!is_kept(&header, about))
            continue;
        tg__pack_header(packer, &header);
        count++;
    }
    tg__pack_byte(packer, 0);
    return count;
}

static bool has_method(const struct tg_http *http)
{
    return !tg__is_text(tg_http_method(http), "GET", 3);
}

static bool has_query(const struct tg_http *http)
{
    return tg_http_query(http).len > 0;
}

static bool has_tls(const struct tg_request_about *about)
{
    return about->tls_info != NULL || about->client_certificate != NULL;
}

static void pack_line(struct tg__packer *packer, const struct tg_http *http,
                      const struct tg_request_about *about)
{
    tg__pack_text(packer, tg_http_path(http));
    if (has_query(http))
        tg__pack_text(packer, tg_http_query(http));
    if (has_method(http))
        tg__pack_text(packer, tg_http_method(http));
    if (has_tls(about)) {
        pack_string(packer, about->tls_info);
        pack_string(packer, about->client_certificate);
    }
}

struct tg_request *tg_request_create(const struct tg_http *http,
                                     const struct tg_request_about *about)
{
    char small[SMALL];
    struct tg__packer packer = {.at = small, .room = sizeof small};
    pack_line(&packer, http, about);
    uint8_t count = pack_headers(&packer, http, about);
    struct tg_request *request = tg_alloc(offsetof(struct tg_request, texts) + packer.size);
    if (request == NULL)
        return NULL;
    request->header_count = count;
    request->secure = about->secure;
    request->via_proxy = about->via_proxy;
    request->has_query = has_query(http);
    request->has_method = has_method(http);
    request->has_tls = has_tls(about);
    if (packer.size <= sizeof small) {
        memcpy(request->texts, small, packer.size);
        return request;
    }
    packer = (struct tg__packer){.at = request->texts, .room = packer.size};
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

/* The places of what may be there; what comes before them is the path. */
static size_t place_of_method(const struct tg_request *request)
{
    return 1 + (size_t)request->has_query;
}

static size_t place_of_tls(const struct tg_request *request)
{
    return place_of_method(request) + (size_t)request->has_method;
}

static const char *text_of_tls(const struct tg_request *request, size_t which)
{
    if (!request->has_tls)
        return NULL;
    const char *text = text_at(request, place_of_tls(request) + which);
    return text[0] == '\0' ? NULL : text;
}

const char *tg_request_method(const struct tg_request *request)
{
    return request->has_method ? text_at(request, place_of_method(request)) : "GET";
}

const char *tg_request_path(const struct tg_request *request)
{
    return request->texts;
}

const char *tg_request_query(const struct tg_request *request)
{
    return request->has_query ? text_at(request, 1) : "";
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
                         ? text_at(request, place_of_tls(request) + (request->has_tls ? 2 : 0))
                         : request->texts + *cursor;

    if (*at == '\0')
        return false;
    *cursor = (size_t)(tg__read_header(at, out) - request->texts);
    return true;
}
