/* http.c - one HTTP/1.1 message over llhttp.
 *
 * Owns the llhttp parser, one block of text that all names and values point into, and the body.
 * Texts are kept as offsets while the block grows and become pointers only in the accessors.
 *
 *     head --> body --> done        head -> done  [no body, or an upgrade]        any -> bad
 *
 * I1  `text` never grows over twice head_max plus two bytes a header; `body` never over body_max.
 * I2  After done or bad nothing more is consumed.
 *
 * The head is given to llhttp line by line. So this file sees each line end and can refuse what some
 * versions of llhttp let pass (bare CR or LF, folded lines), which is how requests get smuggled past
 * proxies that read them in another way.
 */
#include "proto/http.h"

#include <assert.h>
#include <llhttp.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"

#define HEADERS_MAX 100

/* A chunk of one byte costs six on the wire; whoever sends more than this many is stalling. */
#define BODY_OVERHEAD 8

struct span {
    uint32_t at;
    uint32_t len;
};

struct header_span {
    struct span name;
    struct span value;
};

struct tg_http {
    llhttp_t parser;
    size_t head_max;
    size_t body_max;
    size_t head_used;
    size_t body_used; /* on the wire, chunk sizes and trailers included */
    enum tg_http_status status;
    int refusal;
    const char *why; /* static */
    struct tg_buffer text;
    struct tg_buffer body;
    struct span target;
    struct span path;
    struct span query;
    uint8_t last; /* byte of the head, 0 at its start */
    bool target_done;
    bool head_done;
    bool keep_alive;
    bool upgrade;
    size_t header_count;
    struct header_span headers[HEADERS_MAX];
};

/* Returns -1, which makes llhttp stop. The first refusal is the one that counts. */
static int refuse(struct tg_http *http, int status, const char *why)
{
    if (http->status != TG_HTTP_BAD) {
        http->status = TG_HTTP_BAD;
        http->refusal = status;
        http->why = why;
    }
    return -1;
}

static int add_text(struct tg_http *http, const char *data, size_t len)
{
    if (tg_buffer_append(&http->text, data, len) != TG_ERR_OK)
        return refuse(http, 503, "out of memory");
    return 0;
}

static struct tg_http_text text_of(const struct tg_http *http, struct span span)
{
    if (http->text.len == 0) /* a response without headers */
        return (struct tg_http_text){"", 0};
    return (struct tg_http_text){(const char *)tg_buffer_head(&http->text) + span.at, span.len};
}

static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct tg_http *http = parser->data;

    for (size_t i = 0; i < len; i++) {
        if (at[i] <= ' ' || at[i] == 0x7f)
            return refuse(http, 400, "the request target holds a character that must be encoded");
        if (at[i] == '#')
            return refuse(http, 400, "the request target holds a fragment");
    }
    http->target.len += (uint32_t)len;
    return add_text(http, at, len);
}

static int on_url_complete(llhttp_t *parser)
{
    struct tg_http *http = parser->data;

    http->target_done = true;
    return add_text(http, "", 1);
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct tg_http *http = parser->data;

    if (len == 0 || http->head_done) /* trailers: read, bounded by body_used, and dropped */
        return 0;
    if (http->header_count == HEADERS_MAX) /* refused when the name is complete */
        return 0;
    struct span *name = &http->headers[http->header_count].name;
    if (name->len == 0)
        name->at = (uint32_t)http->text.len;
    if (add_text(http, at, len) != 0)
        return -1;
    char *copy = (char *)tg_buffer_head(&http->text) + http->text.len - len;
    for (size_t i = 0; i < len; i++) {
        if (!is_token_char((unsigned char)copy[i]))
            return refuse(http, 400, "a header name holds a character that is not allowed");
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] | 0x20);
    }
    name->len += (uint32_t)len;
    return 0;
}

static int on_header_field_complete(llhttp_t *parser)
{
    struct tg_http *http = parser->data;

    if (http->head_done)
        return 0;
    if (http->header_count == HEADERS_MAX)
        return refuse(http, 431, "more than 100 headers");
    if (http->headers[http->header_count].name.len == 0)
        return refuse(http, 400, "a header without a name");
    if (add_text(http, "", 1) != 0)
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
        unsigned char c = (unsigned char)at[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return refuse(http, 400, "a header value holds a control character");
    }
    http->headers[http->header_count].value.len += (uint32_t)len;
    return add_text(http, at, len);
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct tg_http *http = parser->data;

    if (http->head_done)
        return 0;
    struct span *value = &http->headers[http->header_count].value;
    const char *text = text_of(http, *value).data;
    while (value->len > 0 && (text[value->len - 1] == ' ' || text[value->len - 1] == '\t'))
        value->len--;
    http->text.len = value->at + value->len;
    http->header_count++;
    return add_text(http, "", 1);
}

/* Path and query. An absolute target ("http://host/path", RFC 9112 §3.2.2) is read as its path. */
static int split_target(struct tg_http *http)
{
    const char *target = text_of(http, http->target).data;
    const char *path = target;
    const char *end = target + http->target.len;

    if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
        path = strstr(target, "://") + 3;
        path += strcspn(path, "/?");
    }
    size_t path_len = strcspn(path, "?");
    const char *query = path[path_len] == '?' ? path + path_len + 1 : end;
    http->query = (struct span){(uint32_t)(query - target), (uint32_t)(end - query)};
    http->query.at += http->target.at;
    http->path = (struct span){(uint32_t)http->text.len, (uint32_t)path_len};
    if (path_len == 0) {
        http->path.len = 1;
        return add_text(http, "/", 2);
    }
    /* Room first: the block may move, and the path is inside it. */
    size_t path_at = (size_t)(path - target) + http->target.at;
    uint8_t *copy = tg_buffer_reserve(&http->text, path_len + 1);
    if (copy == NULL)
        return refuse(http, 503, "out of memory");
    memcpy(copy, tg_buffer_head(&http->text) + path_at, path_len);
    copy[path_len] = '\0';
    tg_buffer_commit(&http->text, path_len + 1);
    return 0;
}

/* What RFC 9112 §3.2 and §6 demand of a request and no parser setting covers. */
static int check_request(struct tg_http *http)
{
    size_t hosts;
    size_t lengths;
    size_t codings;

    (void)tg_http_find(http, "host", &hosts);
    (void)tg_http_find(http, "content-length", &lengths);
    struct tg_http_text coding = tg_http_find(http, "transfer-encoding", &codings);
    if (hosts > 1)
        return refuse(http, 400, "more than one Host header");
    if (hosts == 0 && http->parser.http_minor > 0)
        return refuse(http, 400, "the Host header is missing");
    if (lengths > 1)
        return refuse(http, 400, "more than one Content-Length header");
    if (codings > 0 && lengths > 0)
        return refuse(http, 400, "both Content-Length and Transfer-Encoding");
    if (codings > 0 && http->parser.http_minor == 0)
        return refuse(http, 400, "Transfer-Encoding in an HTTP/1.0 request");
    if (codings > 1 || (codings == 1 && strcasecmp(coding.data, "chunked") != 0))
        return refuse(http, 501, "a transfer coding other than chunked");
    return split_target(http);
}

static int on_headers_complete(llhttp_t *parser)
{
    struct tg_http *http = parser->data;

    http->head_done = true;
    http->keep_alive = llhttp_should_keep_alive(parser) != 0;
    http->upgrade = tg_http_find(http, "upgrade", NULL).data != NULL &&
                    tg_http_has_token(http, "connection", "upgrade");
    if (parser->http_major != 1)
        return refuse(http, 505, "only HTTP/1.1 is spoken here");
    if (parser->type == HTTP_REQUEST && check_request(http) != 0)
        return -1;
    if (http->upgrade && (parser->type == HTTP_REQUEST || parser->status_code == 101))
        return 2; /* llhttp: no body, what follows is another protocol */
    if ((parser->flags & F_CONTENT_LENGTH) != 0 && parser->content_length > http->body_max)
        return refuse(http, 413, "the body is too large");
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct tg_http *http = parser->data;

    if (len > http->body_max - http->body.len)
        return refuse(http, 413, "the body is too large");
    if (tg_buffer_append(&http->body, at, len) != TG_ERR_OK)
        return refuse(http, 503, "out of memory");
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
        refuse(http, 505, "this port speaks HTTP/1.1, not HTTP/2");
    else if (code == HPE_INVALID_VERSION)
        refuse(http, 505, "only HTTP/1.1 is spoken here");
    else if (code == HPE_INVALID_METHOD)
        refuse(http, 400, "not an HTTP request, or a method that is not known");
    else if (code == HPE_INVALID_URL)
        refuse(http, 400, "the request target is malformed");
    else if (code == HPE_UNEXPECTED_CONTENT_LENGTH || code == HPE_INVALID_CONTENT_LENGTH)
        refuse(http, 400, "Content-Length is malformed or contradicts another header");
    else if (code == HPE_INVALID_TRANSFER_ENCODING)
        refuse(http, 400, "Transfer-Encoding is malformed");
    else if (code == HPE_INVALID_CHUNK_SIZE)
        refuse(http, 400, "a chunk of the body is malformed");
    else if (http->head_done)
        refuse(http, 400, "the body is malformed");
    else
        refuse(http, 400, "the request line or a header line is malformed");
}

/* Returns how many bytes belong to this message. */
static size_t run_parser(struct tg_http *http, const char *data, size_t len)
{
    llhttp_errno_t code = llhttp_execute(&http->parser, data, len);

    if (code == HPE_OK)
        return len;
    if (http->status == TG_HTTP_DONE)
        return (size_t)(llhttp_get_error_pos(&http->parser) - data);
    if (http->status != TG_HTTP_BAD)
        refuse_parse_error(http, code);
    return 0;
}

/* What is wrong with a byte of the head after `last`; NULL when nothing is. */
static const char *judge_byte(const struct tg_http *http, uint8_t last, uint8_t byte)
{
    if (http->head_used == 0 && last == 0 && byte == 0x16) /* a TLS record of type handshake */
        return "this port speaks plain HTTP, not TLS";
    if (last == '\n' && (byte == ' ' || byte == '\t'))
        return "a header line is folded or starts with a blank";
    if (last == '\r' && byte != '\n')
        return "a carriage return without a line feed";
    if (byte == '\n' && last != '\r')
        return "a line feed without a carriage return";
    return byte == '\0' ? "a NUL byte in the head" : NULL;
}

/* Returns how many bytes are good, and sets *why when that is not all. */
static size_t judge_line(struct tg_http *http, const char *line, size_t len, const char **why)
{
    for (size_t i = 0; i < len; i++) {
        *why = judge_byte(http, http->last, (uint8_t)line[i]);
        if (*why != NULL)
            return i;
        http->last = (uint8_t)line[i];
    }
    return len;
}

static size_t feed_head(struct tg_http *http, const char *data, size_t len)
{
    const char *end = memchr(data, '\n', len);
    const char *why = NULL;

    if (end != NULL)
        len = (size_t)(end - data) + 1;
    if (len > http->head_max - http->head_used)
        len = http->head_max - http->head_used;
    if (len == 0) {
        if (is_target_over(http) || http->parser.type == HTTP_RESPONSE)
            refuse(http, 431, "the headers are too large");
        else
            refuse(http, 414, "the request target is too long");
        return 0;
    }
    /* What comes before a bad byte is parsed first, so that the answer to a request with two faults
     * does not hang on how it was split. */
    size_t good = judge_line(http, data, len, &why);
    size_t consumed = good == 0 ? 0 : run_parser(http, data, good);
    http->head_used += good;
    if (good < len && http->status == TG_HTTP_MORE)
        refuse(http, 400, why);
    return consumed;
}

static size_t feed_body(struct tg_http *http, const char *data, size_t len)
{
    size_t wire_max = http->head_max + http->body_max * BODY_OVERHEAD;

    if (len > wire_max - http->body_used)
        len = wire_max - http->body_used;
    if (len == 0) {
        refuse(http, 413, "the body is too large");
        return 0;
    }
    http->body_used += len;
    return run_parser(http, data, len);
}

enum tg_err tg_http_create(struct tg_http **out, enum tg_http_kind kind, size_t head_max,
                           size_t body_max)
{
    assert(head_max < UINT32_MAX / 4 && body_max < SIZE_MAX / 2 / BODY_OVERHEAD);
    struct tg_http *http = tg_calloc(1, sizeof *http);
    if (http == NULL)
        return TG_ERR_NOMEM;
    llhttp_init(&http->parser, kind == TG_HTTP_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    http->parser.data = http;
    http->head_max = head_max;
    http->body_max = body_max;
    http->status = TG_HTTP_MORE;
    *out = http;
    return TG_ERR_OK;
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

int tg_http_refusal(const struct tg_http *http, const char **why)
{
    *why = http->why;
    return http->refusal;
}

struct tg_http_text tg_http_method(const struct tg_http *http)
{
    const char *name = llhttp_method_name((llhttp_method_t)http->parser.method);

    return (struct tg_http_text){name, strlen(name)};
}

struct tg_http_text tg_http_target(const struct tg_http *http)
{
    return text_of(http, http->target);
}

struct tg_http_text tg_http_path(const struct tg_http *http)
{
    return text_of(http, http->path);
}

struct tg_http_text tg_http_query(const struct tg_http *http)
{
    return text_of(http, http->query);
}

int tg_http_version_minor(const struct tg_http *http)
{
    return http->parser.http_minor;
}

int tg_http_response_status(const struct tg_http *http)
{
    return http->parser.status_code;
}

bool tg_http_keep_alive(const struct tg_http *http)
{
    return http->keep_alive;
}

bool tg_http_is_upgrade(const struct tg_http *http)
{
    return http->upgrade;
}

const struct tg_buffer *tg_http_body(const struct tg_http *http)
{
    return &http->body;
}

size_t tg_http_header_count(const struct tg_http *http)
{
    return http->header_count;
}

struct tg_http_header tg_http_header_at(const struct tg_http *http, size_t index)
{
    const struct header_span *header = &http->headers[index];

    assert(index < http->header_count);
    return (struct tg_http_header){text_of(http, header->name), text_of(http, header->value)};
}

const char *tg_http_parser_version(void)
{
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
    return TEXT(LLHTTP_VERSION_MAJOR) "." TEXT(LLHTTP_VERSION_MINOR) "." TEXT(LLHTTP_VERSION_PATCH);
#undef TEXT
#undef TEXT_OF
}
