/* http_client_curl_transfer.c - transfers: one easy handle a fetch, with all its options.
 *
 * Between redirects the handle is taken out of the multi handle and put in again. Nothing comes from the
 * environment: no proxy, no netrc, no cookies, no HSTS cache.
 *
 * I1  Certificates are verified unless a request says that they are not to be; http and https only.
 *
 * QUICK_EXIT: without it a transfer that is given up while its name is being resolved would block the loop
 * until the resolver's thread has an answer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <curl/curl.h>

#include "base/memory.h"
#include "base/public_address.h"
#include "net/http_client_internal.h"
#include "net/net_internal.h"

#define USER_AGENT "tidegate/" TG_VERSION

/* Headers that say nothing of who asks: the only ones that go on to a foreign origin. */
static const char *const harmless[] = {"accept", "accept-language", "user-agent"};

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
    return tg__fetch_take_line(ctx, line, size * count) ? size * count : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    return tg__fetch_take_body(ctx, data, size * count) ? size * count : CURL_WRITEFUNC_ERROR;
}

/* Sees the address that the name was resolved to: what is refused here cannot be got around by a name that
 * resolves to something else the second time. */
static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct tg__fetch *fetch = ctx;
    struct sockaddr_storage storage = {0};

    (void)purpose;
    memcpy(&storage, &to->addr, to->addrlen < sizeof storage ? to->addrlen : sizeof storage);
    struct tg_address address = tg__address_from(&storage);
    if (tg__client_of(fetch)->options.public_only && !tg_address_is_public(&address)) {
        fetch->refused = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(to->family, to->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->protocol);
    if (fd < 0)
        fetch->socket_error = errno;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (code == CURLE_OK)                                                                      \
            code = curl_easy_setopt(easy, option, value);                                          \
    } while (0)

static CURLcode set_rules(CURL *easy, const struct tg__fetch *fetch,
                          const struct tg_fetch_request *request)
{
    const char *ca_file =
        request->ca_file != NULL ? request->ca_file : tg__client_of(fetch)->options.ca_file;
    CURLcode code = CURLE_OK;

    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSL_VERIFYPEER, request->insecure ? 0L : 1L);
    SET(CURLOPT_SSL_VERIFYHOST, request->insecure ? 0L : 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (ca_file != NULL && ca_file[0] != '\0')
        SET(CURLOPT_CAINFO, ca_file);
    /* The folder's certificates are in the system's file, too, and only what comes from a file alone is
     * read once and not for every connection. */
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_NOPROGRESS, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    if (request->connect_timeout_ms != 0)
        SET(CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    return code;
}

static CURLcode set_callbacks(CURL *easy, struct tg__fetch *fetch)
{
    CURLcode code = CURLE_OK;

    SET(CURLOPT_PRIVATE, fetch);
    SET(CURLOPT_ERRORBUFFER, fetch->why);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, fetch);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, fetch);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, fetch);
    return code;
}

static CURLcode set_request(CURL *easy, const struct tg__fetch *fetch)
{
    CURLcode code = CURLE_OK;
    bool sends = fetch->body != NULL || strcmp(fetch->method, "POST") == 0 ||
                 strcmp(fetch->method, "PUT") == 0 || strcmp(fetch->method, "PATCH") == 0;

    SET(CURLOPT_USERAGENT, USER_AGENT);
    if (sends) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)fetch->body_len);
        SET(CURLOPT_POSTFIELDS, fetch->body == NULL ? "" : (const char *)fetch->body);
    } else if (strcmp(fetch->method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    }
    if (strcmp(fetch->method, "HEAD") != 0)
        SET(CURLOPT_CUSTOMREQUEST, fetch->method);
    /* A stream is taken as it comes: what a few bytes inflate to could not be held back. */
    SET(CURLOPT_ACCEPT_ENCODING, fetch->stream ? NULL : "");
    return code;
}

/* Appends to a list; the list is kept when memory is out. */
static bool add_line(void **list, const char *line)
{
    struct curl_slist *grown = curl_slist_append(*list, line);

    if (grown == NULL)
        return false;
    *list = grown;
    return true;
}

static bool add_header(void **list, const struct tg_fetch_header *header)
{
    size_t size = strlen(header->name) + strlen(header->value) + 3;
    char *line = tg_alloc(size);

    if (line == NULL)
        return false;
    /* libcurl's way to say that a header is empty, and not that it is to be left out */
    if (header->value[0] == '\0')
        (void)snprintf(line, size, "%s;", header->name);
    else
        (void)snprintf(line, size, "%s: %s", header->name, header->value);
    bool added = add_line(list, line);
    tg_free(line);
    return added;
}

static bool is_harmless(const char *line)
{
    size_t len = strcspn(line, ":;");

    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        if (strlen(harmless[i]) == len && strncasecmp(harmless[i], line, len) == 0)
            return true;
    }
    return false;
}

static bool copy_headers(struct tg__fetch *fetch, const struct tg_fetch_request *request)
{
    bool typed = false;

    for (size_t i = 0; i < request->header_count; i++) {
        typed = typed || strcasecmp(request->headers[i].name, "content-type") == 0;
        if (!add_header(&fetch->headers, &request->headers[i]))
            return false;
    }
    /* What libcurl would add on its own. */
    return (typed || add_line(&fetch->headers, "Content-Type:")) &&
           add_line(&fetch->headers, "Expect:");
}

static bool keep_harmless(struct tg__fetch *fetch)
{
    if (fetch->kept != NULL)
        return true;
    for (struct curl_slist *item = fetch->headers; item != NULL; item = item->next) {
        if (is_harmless(item->data) && !add_line(&fetch->kept, item->data))
            return false;
    }
    return add_line(&fetch->kept, "Expect:");
}

enum tg_err tg__transfer_open(struct tg__fetch *fetch, const struct tg_fetch_request *request)
{
    fetch->why = tg_calloc(1, CURL_ERROR_SIZE);
    fetch->easy = fetch->why == NULL ? NULL : curl_easy_init();
    if (fetch->easy != NULL && copy_headers(fetch, request) &&
        set_rules(fetch->easy, fetch, request) == CURLE_OK &&
        set_callbacks(fetch->easy, fetch) == CURLE_OK &&
        set_request(fetch->easy, fetch) == CURLE_OK)
        return TG_ERR_OK;
    tg__transfer_close(fetch);
    return TG_ERR_NOMEM;
}

enum tg_err tg__transfer_begin(struct tg__fetch *fetch)
{
    CURL *easy = fetch->easy;
    CURLcode code = CURLE_OK;
    /* HTTP/2 is for whole answers. A stream that nobody reads must stop at its socket: on a shared
     * connection libcurl would hold it in memory (and 7.88 leaks that), or hold the others up. And it is
     * for TLS, whose handshake tells whether it is spoken: over plain TCP requests would have to wait
     * for the first answer to know. */
    bool shares = fetch->url.https && !fetch->stream;

    if (fetch->foreign && !keep_harmless(fetch))
        return TG_ERR_NOMEM;
    SET(CURLOPT_HTTPHEADER, fetch->foreign ? fetch->kept : fetch->headers);
    SET(CURLOPT_URL, fetch->url.text);
    SET(CURLOPT_HTTP_VERSION, (long)(shares ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    SET(CURLOPT_PIPEWAIT, shares ? 1L : 0L);
    fetch->held = false;
    if (code != CURLE_OK || curl_multi_add_handle(tg__client_of(fetch)->multi, easy) != CURLM_OK)
        return TG_ERR_NOMEM;
    return TG_ERR_OK;
}

void tg__transfer_stop(struct tg__fetch *fetch)
{
    (void)curl_multi_remove_handle(tg__client_of(fetch)->multi, fetch->easy);
}

void tg__transfer_close(struct tg__fetch *fetch)
{
    if (fetch->easy != NULL) {
        tg__transfer_stop(fetch);
        curl_easy_cleanup(fetch->easy);
    }
    curl_slist_free_all(fetch->headers);
    curl_slist_free_all(fetch->kept);
    tg_free(fetch->why);
    fetch->easy = NULL;
    fetch->headers = NULL;
    fetch->kept = NULL;
    fetch->why = NULL;
}

void tg__transfer_hold(struct tg__fetch *fetch)
{
    if (!fetch->held && fetch->easy != NULL)
        fetch->held = curl_easy_pause(fetch->easy, CURLPAUSE_RECV) == CURLE_OK;
}

void tg__transfer_release(struct tg__fetch *fetch)
{
    fetch->held = false;
    if (fetch->easy != NULL)
        (void)curl_easy_pause(fetch->easy, CURLPAUSE_CONT);
}
