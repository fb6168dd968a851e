/* http_client_curl.c - libcurl on the loop: one multi handle a client, driven by its sockets and one timer
 * (socket action), and what libcurl's results are called here.
 *
 * http_client_curl*.c are all that knows libcurl: transfers are in http_client_curl_transfer.c, URLs in
 * http_client_curl_url.c.
 *
 * I1  libcurl is entered from the loop or from an owner's call, never from one of its own callbacks, but
 *     for curl_easy_pause, which may be.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <curl/curl.h>

#include "base/memory.h"
#include "net/http_client_internal.h"

#define IDLE_MAX 1024L /* connections kept for the next request, when there is no lower limit */

static struct tg__fetch *fetch_of(CURL *easy)
{
    char *fetch = NULL;

    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &fetch);
    return (struct tg__fetch *)(void *)fetch;
}

static enum tg_fetch_outcome outcome_of_connect(const struct tg__fetch *fetch, long os_errno)
{
    if (fetch->refused)
        return TG_FETCH_FORBIDDEN;
    return fetch->socket_error == 0 && os_errno == ECONNREFUSED ? TG_FETCH_REFUSED
                                                                : TG_FETCH_CONNECT;
}

static enum tg_fetch_outcome outcome_of(CURLcode code)
{
    switch ((int)code) {
    case CURLE_OK:
        return TG_FETCH_OK;
    case CURLE_COULDNT_RESOLVE_HOST:
        return TG_FETCH_RESOLVE;
    case CURLE_OPERATION_TIMEDOUT:
        return TG_FETCH_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ENGINE_INITFAILED:
        return TG_FETCH_TLS;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2_STREAM:
    case CURLE_SEND_FAIL_REWIND:
        return TG_FETCH_RESET;
    case CURLE_URL_MALFORMAT:
        return TG_FETCH_INVALID;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_ABORTED_BY_CALLBACK:
        return TG_FETCH_CLOSED;
    default:
        return TG_FETCH_PROTOCOL;
    }
}

/* Short, in our own words where libcurl's would be long or tell too much. */
static const char *text_of(const struct tg__fetch *fetch, enum tg_fetch_outcome outcome,
                           CURLcode code, long os_errno)
{
    int error = fetch->socket_error != 0 ? fetch->socket_error : (int)os_errno;

    switch (outcome) {
    case TG_FETCH_REFUSED:
        return "connection refused";
    case TG_FETCH_RESOLVE:
        return "the name has no address";
    case TG_FETCH_FORBIDDEN:
        return TG_FETCH_ADDRESS_REFUSED;
    case TG_FETCH_RESET:
        return "the connection was lost in the middle";
    case TG_FETCH_TIMEOUT:
        return "no connection in time (connect_timeout)";
    case TG_FETCH_CONNECT:
        return error != 0 ? strerror(error) : "no connection";
    case TG_FETCH_CLOSED:
        return "out of memory";
    case TG_FETCH_TLS:
        return fetch->why[0] != '\0' ? fetch->why : curl_easy_strerror(code);
    case TG_FETCH_PROTOCOL:
        if (code == CURLE_UNSUPPORTED_PROTOCOL) /* HTTP/0.9, which is anything */
            return "did not answer in HTTP";
        break;
    case TG_FETCH_OK:
    case TG_FETCH_TOO_LARGE:
    case TG_FETCH_REDIRECTS:
    case TG_FETCH_INVALID:
    case TG_FETCH_OUTCOMES:
        break;
    }
    return curl_easy_strerror(code);
}

static void end_of_transfer(CURL *easy, CURLcode code)
{
    struct tg__fetch *fetch = fetch_of(easy);
    long os_errno = 0;

    (void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
    enum tg_fetch_outcome outcome =
        code == CURLE_COULDNT_CONNECT ? outcome_of_connect(fetch, os_errno) : outcome_of(code);
    tg__fetch_end_of_transfer(fetch, outcome, text_of(fetch, outcome, code, os_errno));
}

/* Its transfer would hear nothing until a deadline. Returning -1 to libcurl would end those of all others, too. */
static void give_up(struct tg__curl_client *client, CURL *easy)
{
    struct tg__fetch *fetch = fetch_of(easy);

    if (fetch == NULL) /* one of libcurl's own */
        return;
    fetch->fault = TG_FETCH_CLOSED;
    client->given_up = true;
    if (!client->turning)
        tg__kick_start(client->kick);
}

static void end_given_up(struct tg__curl_client *client)
{
    if (!client->given_up)
        return;
    client->given_up = false;
    TG_LIST_EACH (node, next, &client->fetches) {
        struct tg__fetch *fetch = TG_CONTAINER_OF(node, struct tg__fetch, node);
        if (fetch->fault != TG_FETCH_OK)
            tg__fetch_end_of_transfer(fetch, fetch->fault, "");
    }
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct tg__curl_client *client = ctx;
    struct tg__watch *watch = socket_ctx;

    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL)
            tg__watch_close(watch);
        return 0;
    }
    if (watch == NULL) {
        watch = tg__watch_create(client, fd);
        if (watch == NULL) {
            give_up(client, easy);
            return 0;
        }
        (void)curl_multi_assign(client->multi, fd, watch);
    }
    tg__watch_want(watch, (what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0);
    return 0;
}

static void on_curl_timer(struct tg_timer *timer)
{
    struct tg__curl_client *client = TG_CONTAINER_OF(timer, struct tg__curl_client, curl_timer);

    tg__client_turn(client, CURL_SOCKET_TIMEOUT, false, false);
}

static int on_timer_wanted(CURLM *multi, long delay_ms, void *ctx)
{
    struct tg__curl_client *client = ctx;

    (void)multi;
    if (delay_ms <= 0) {
        tg_timer_stop(client->timers, &client->curl_timer);
        if (delay_ms == 0)
            tg__kick_start(client->kick);
        return 0;
    }
    return tg_timer_start(client->timers, &client->curl_timer, (uint64_t)delay_ms, on_curl_timer) ==
                   TG_ERR_OK
               ? 0
               : -1;
}

void tg__client_turn(struct tg__curl_client *client, int fd, bool readable, bool writable)
{
    int running;
    int left;
    const CURLMsg *message;
    int events = (readable ? CURL_CSELECT_IN : 0) | (writable ? CURL_CSELECT_OUT : 0);

    client->turning = true;
    (void)curl_multi_socket_action(client->multi, fd, events, &running);
    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE)
            end_of_transfer(message->easy_handle, message->data.result);
    }
    end_given_up(client);
    client->turning = false;
    tg__fetches_tell(client);
}

void tg__client_close_multi(struct tg__curl_client *client)
{
    if (client->multi != NULL)
        (void)curl_multi_cleanup(client->multi);
    client->multi = NULL;
}

static CURLcode library = CURLE_FAILED_INIT;

static void init_library(void)
{
    library = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool set_up(struct tg__curl_client *client)
{
    CURLM *multi = client->multi;
    const struct tg_http_client_options *options = &client->options;
    long max = options->max_connections > IDLE_MAX ? IDLE_MAX : (long)options->max_connections;

    return curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, client) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_TIMERDATA, client) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                             (long)options->max_connections) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                             (long)options->max_connections_per_host) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, max == 0 ? IDLE_MAX : max) == CURLM_OK;
}

enum tg_err tg_http_client_create(struct tg_http_client **out, struct uv_loop_s *loop,
                                  struct tg_timers *timers,
                                  const struct tg_http_client_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, init_library);
    if (library != CURLE_OK)
        return TG_ERR_SYS;
    struct tg__curl_client *client = tg_calloc(1, sizeof *client);
    if (client == NULL)
        return TG_ERR_NOMEM;
    client->base.ops = &tg__fetch_ops;
    client->loop = loop;
    client->timers = timers;
    client->options = *options;
    tg_list_init(&client->watches);
    tg_list_init(&client->fetches);
    tg_list_init(&client->ready);
    client->kick = tg__kick_create(client);
    client->multi = curl_multi_init();
    if (client->kick == NULL || client->multi == NULL || !set_up(client)) {
        tg_http_client_destroy(&client->base);
        return TG_ERR_NOMEM;
    }
    *out = &client->base;
    return TG_ERR_OK;
}

const char *tg_http_client_library_version(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}
