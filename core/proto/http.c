/* http.c - one HTTP/1.1 message over llhttp: bytes in, its texts and its body out.
 *
 * Owns the llhttp parser and the message (http_message.c).
 *
 *     head --> body --> done        head -> done  [no body, or an upgrade]        any -> bad
 *
 * I1  `text` never grows over twice head_max plus two bytes a header; `body` never over body_max.
 * I2  After done or bad nothing more is consumed.
 *
 * The head is looked at line by line before llhttp gets it, and what llhttp would let pass is refused
 * (http_lines.c).
 */

#include <assert.h>
#include <llhttp.h>
#include <string.h>

#include "base/memory.h"
#include "proto/http_internal.h"

/* A chunk of one byte costs six on the wire; whoever sends more than this many is stalling. */
#define BODY_OVERHEAD 8

#define TEXT_KEPT 4096 /* bytes, from one message to the next */

struct parser {
    struct tg_http message; /* first: it is what others hold */
    llhttp_t llhttp;
};

/* What a byte may be part of: a table, for every byte of every header is asked about. */
enum { TOKEN = 0x01, VALUE = 0x02, UPPER = 0x20 /* the bit that makes it lower case */ };

static const uint8_t kinds[256] = {
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['!'] = VALUE | TOKEN,
    ['"'] = VALUE,
    ['#' ... '\''] = VALUE | TOKEN,
    ['(' ... ')'] = VALUE,
    ['*' ... '+'] = VALUE | TOKEN,
    [','] = VALUE,
    ['-' ... '.'] = VALUE | TOKEN,
    ['/'] = VALUE,
    ['0' ... '9'] = VALUE | TOKEN,
    [':' ... '@'] = VALUE,
    ['A' ... 'Z'] = VALUE | TOKEN | UPPER,
    ['[' ... ']'] = VALUE,
    ['^' ... 'z'] = VALUE | TOKEN,
    ['{'] = VALUE,
    ['|'] = VALUE | TOKEN,
    ['}'] = VALUE,
    ['~'] = VALUE | TOKEN,
    [0x80 ... 0xff] = VALUE,
};

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct tg_http *http = parser->data;

    for (size_t i = 0; i < len; i++) {
        if (at[i] <= ' ' || at[i] == 0x7f)
            return tg__http_refuse(http, 400,
                                   "the request target holds a character that must be encoded");
        if (at[i] == '#')
            return tg__http_refuse(http, 400, "the request target holds a fragment");
    }
    http->target.len += (uint32_t)len;
    return tg__http_add_text(http, at, len);
}

static int on_url_complete(llhttp_t *parser)
{
    struct tg_http *http = parser->data;

    http->target_done = true;
    return tg__http_end_text(http);
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct tg_http *http = parser->data;

    if (len == 0 || http->head_done) /* trailers: read, bounded by body_used, and dropped */
        return 0;
    if (http->header_count == TG_HTTP_HEADERS_MAX) /* refused when the name is complete */
        return 0;
    struct tg__http_span *name = &http->headers[http->header_count].name;
    if (name->len == 0)
        name->at = (uint32_t)http->text.len;
    uint8_t *copy = tg_buffer_reserve(&http->text, len);
    if (copy == NULL)
        return tg__http_refuse(http, 503, "out of memory");
    for (size_t i = 0; i < len; i++) {
        uint8_t kind = kinds[(uint8_t)at[i]];
        if ((kind & TOKEN) == 0)
            return tg__http_refuse(http, 400,
                                   "a header name holds a character that is not allowed");
        copy[i] = (uint8_t)((uint8_t)at[i] | (kind & UPPER));
    }
    tg_buffer_commit(&http->text, len);
    name->len += (uint32_t)len;
    return 0;
}

static int on_header_field_complete(llhttp_t *parser)
{
    struct tg_http *http = parser->data;

    if (http->head_done)
        return 0;
    if (http->header_count == TG_HTTP_HEADERS_MAX)
        return tg__http_refuse(http, 431, "more than 100 headers");
    struct tg_http_text name = tg__http_text_of(http, http->headers[http->header_count].name);
    if (name.len == 0)
        return tg__http_refuse(http, 400, "a header without a name");
    enum tg_header number = tg_header_number(name.data, name.len);
    http->numbers[http->header_count] = (uint8_t)number;
    http->present |= UINT64_C(1) << number;
    if (tg__http_end_text(http) != 0)
        return -1;
    http->headers[http->header_count].value.at = (uint32_t)http->text.len;
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct tg_http *http = parser->data;

    if (http->head_done)
        return 0;
    for (size_t i = 0; i < len; i++) {
        if ((kinds[(uint8_t)at[i]] & VALUE) == 0)
            return tg__http_refuse(http, 400, "a header value holds a control character");
    }
    http->headers[http->header_count].value.len += (uint32_t)len;
    return tg__http_add_text(http, at, len);
}

/* The next one is empty; those behind it may hold what a message before this one had. */
static void begin_header(struct tg_http *http)
{
    if (http->header_count < TG_HTTP_HEADERS_MAX)
        http->headers[http->header_count] = (struct tg__http_header){0};
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct tg_http *http = parser->data;

    if (http->head_done)
        return 0;
    struct tg__http_span *value = &http->headers[http->header_count].value;
    const char *text = tg__http_text_of(http, *value).data;
    while (value->len > 0 && (text[value->len - 1] == ' ' || text[value->len - 1] == '\t'))
        value->len--;
    http->text.len = value->at + value->len;
    http->header_count++;
    begin_header(http);
    return tg__http_end_text(http);
}

static int on_headers_complete(llhttp_t *parser)
{
    struct tg_http *http = parser->data;

    http->head_done = true;
    http->method = llhttp_method_name((llhttp_method_t)parser->method);
    http->minor_version = parser->http_minor;
    http->response_status = parser->status_code;
    http->keep_alive = llhttp_should_keep_alive(parser) != 0;
    http->upgrade = tg_http_find(http, TG_HEADER_UPGRADE, NULL).data != NULL &&
                    tg_http_has_token(http, TG_HEADER_CONNECTION, "upgrade");
    if (parser->http_major != 1)
        return tg__http_refuse(http, 505, "only HTTP/1.1 is spoken here");
    if (http->kind == TG_HTTP_REQUEST && tg__http_check_request(http) != 0)
        return -1;
    if (http->upgrade && (http->kind == TG_HTTP_REQUEST || parser->status_code == 101))
        return 2; /* llhttp: no body, what follows is another protocol */
    if ((parser->flags & F_CONTENT_LENGTH) != 0 && parser->content_length > http->body_max)
        return tg__http_refuse(http, 413, "the body is too large");
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct tg_http *http = parser->data;

    if (len > http->body_max - http->body.len)
        return tg__http_refuse(http, 413, "the body is too large");
    if (tg_buffer_append(&http->body, at, len) != TG_ERR_OK)
        return tg__http_refuse(http, 503, "out of memory");
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct tg_http *http = parser->data;

    http->status = TG_HTTP_DONE;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* By the blank after it: llhttp 8 says so at the blank, llhttp 9 at the byte that follows. */
static bool is_target_over(const struct tg_http *http)
{
    return http->target_done || (http->target.len > 0 && http->last == ' ');
}

/* Why llhttp stopped, for people. Codes not named here are covered by the last line. */
static void refuse_parse_error(struct tg_http *http, llhttp_errno_t code)
{
    if (code == HPE_PAUSED_H2_UPGRADE)
        tg__http_refuse(http, 505, "this port speaks HTTP/1.1, not HTTP/2");
    else if (code == HPE_INVALID_VERSION)
        tg__http_refuse(http, 505, "only HTTP/1.1 is spoken here");
    else if (code == HPE_INVALID_METHOD)
        tg__http_refuse(http, 400, "not an HTTP request, or a method that is not known");
    else if (code == HPE_INVALID_URL)
        tg__http_refuse(http, 400, "the request target is malformed");
    else if (code == HPE_UNEXPECTED_CONTENT_LENGTH || code == HPE_INVALID_CONTENT_LENGTH)
        tg__http_refuse(http, 400, "Content-Length is malformed or contradicts another header");
    else if (code == HPE_INVALID_TRANSFER_ENCODING)
        tg__http_refuse(http, 400, "Transfer-Encoding is malformed");
    else if (code == HPE_INVALID_CHUNK_SIZE)
        tg__http_refuse(http, 400, "a chunk of the body is malformed");
    else if (http->head_done)
        tg__http_refuse(http, 400, "the body is malformed");
    else
        tg__http_refuse(http, 400, "the request line or a header line is malformed");
}

/* Returns how many bytes belong to this message. */
static size_t run_parser(struct tg_http *http, const char *data, size_t len)
{
    llhttp_t *llhttp = &((struct parser *)http)->llhttp;
    llhttp_errno_t code = llhttp_execute(llhttp, data, len);

    if (code == HPE_OK)
        return len;
    if (http->status == TG_HTTP_DONE)
        return (size_t)(llhttp_get_error_pos(llhttp) - data);
    if (http->status != TG_HTTP_BAD)
        refuse_parse_error(http, code);
    return 0;
}

static size_t feed_head(struct tg_http *http, const char *data, size_t len)
{
    const char *why = NULL;

    if (len > http->head_max - http->head_used)
        len = http->head_max - http->head_used;
    if (len == 0) {
        if (is_target_over(http) || http->kind == TG_HTTP_RESPONSE)
            tg__http_refuse(http, 431, "the headers are too large");
        else
            tg__http_refuse(http, 414, "the request target is too long");
        return 0;
    }
    /* What comes before a bad byte is parsed first, so that the answer to a request with two faults
     * does not hang on how it was split. */
    size_t good = tg__http_judge_lines(http, data, len, &why);
    size_t consumed = good == 0 ? 0 : run_parser(http, data, good);
    http->head_used += good;
    if (why != NULL && http->status == TG_HTTP_MORE)
        tg__http_refuse(http, 400, why);
    return consumed;
}

static size_t feed_body(struct tg_http *http, const char *data, size_t len)
{
    size_t wire_max = http->head_max + http->body_max * BODY_OVERHEAD;

    if (len > wire_max - http->body_used)
        len = wire_max - http->body_used;
    if (len == 0) {
        tg__http_refuse(http, 413, "the body is too large");
        return 0;
    }
    http->body_used += len;
    return run_parser(http, data, len);
}

static void start(struct parser *parser)
{
    struct tg_http *http = &parser->message;

    llhttp_init(&parser->llhttp, http->kind == TG_HTTP_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE,
                &settings);
    parser->llhttp.data = http;
    http->status = TG_HTTP_MORE;
    begin_header(http);
}

enum tg_err tg_http_create(struct tg_http **out, enum tg_http_kind kind, size_t head_max,
                           size_t body_max)
{
    assert(head_max < UINT32_MAX / 4 && body_max < SIZE_MAX / 2 / BODY_OVERHEAD);
    struct parser *parser = tg_calloc(1, sizeof *parser);
    if (parser == NULL)
        return TG_ERR_NOMEM;
    struct tg_http *http = &parser->message;
    http->kind = kind;
    http->head_max = head_max;
    http->body_max = body_max;
    start(parser);
    *out = http;
    return TG_ERR_OK;
}

void tg_http_reset(struct tg_http *http)
{
    struct parser *parser = (struct parser *)http;
    struct tg_buffer text = http->text;
    enum tg_http_kind kind = http->kind;
    size_t head_max = http->head_max;
    size_t body_max = http->body_max;

    if (text.capacity > TEXT_KEPT)
        tg_buffer_fini(&text);
    tg_buffer_clear(&text);
    tg_buffer_fini(&http->body);
    memset(http, 0, offsetof(struct tg_http, numbers));
    http->kind = kind;
    http->head_max = head_max;
    http->body_max = body_max;
    http->text = text;
    start(parser);
}

void tg_http_destroy(struct tg_http *http)
{
    if (http == NULL)
        return;
    tg_buffer_fini(&http->text);
    tg_buffer_fini(&http->body);
    tg_free(http);
}

enum tg_http_status tg_http_feed(struct tg_http *http, const void *data, size_t len,
                                 size_t *consumed)
{
    const char *bytes = data;

    *consumed = 0;
    while (http->status == TG_HTTP_MORE && *consumed < len) {
        if (http->head_done)
            *consumed += feed_body(http, bytes + *consumed, len - *consumed);
        else
            *consumed += feed_head(http, bytes + *consumed, len - *consumed);
    }
    return http->status;
}

const char *tg_http_parser_version(void)
{
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
    return TEXT(LLHTTP_VERSION_MAJOR) "." TEXT(LLHTTP_VERSION_MINOR) "." TEXT(LLHTTP_VERSION_PATCH);
#undef TEXT
#undef TEXT_OF
}
