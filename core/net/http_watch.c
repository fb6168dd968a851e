/* http_watch.c - sockets of libcurl on the loop, and turns without one.
 *
 * Both own themselves from their close until the loop's close callback; before, their client does.
 */
#include <uv.h>

#include "base/memory.h"
#include "net/http_client_internal.h"

struct tg__watch {
    uv_poll_t poll;
    struct tg_list node;            /* client->watches */
    struct tg__curl_client *client; /* borrowed until close */
    int fd;                         /* libcurl's */
    int wanted;                     /* UV_READABLE, UV_WRITABLE */
};

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct tg__watch *watch = TG_CONTAINER_OF(poll, struct tg__watch, poll);
    bool failed = status < 0;

    /* libcurl gives up at once when told of an error. What came before it counts, and reading tells it as well;
     * libcurl reads a piece a turn, and libuv has stopped watching. */
    if (failed)
        (void)uv_poll_start(poll, watch->wanted, on_poll);
    tg__client_turn(watch->client, watch->fd, failed || (events & UV_READABLE) != 0,
                    failed || (events & UV_WRITABLE) != 0);
}

struct tg__watch *tg__watch_create(struct tg__curl_client *client, int fd)
{
    struct tg__watch *watch = tg_calloc(1, sizeof *watch);

    if (watch == NULL)
        return NULL;
    if (uv_poll_init(client->loop, &watch->poll, fd) != 0) {
        tg_free(watch);
        return NULL;
    }
    watch->client = client;
    watch->fd = fd;
    tg_list_push(&client->watches, &watch->node);
    return watch;
}

void tg__watch_want(struct tg__watch *watch, bool read, bool write)
{
    watch->wanted = (read ? UV_READABLE : 0) | (write ? UV_WRITABLE : 0);
    if (watch->wanted == 0)
        (void)uv_poll_stop(&watch->poll);
    else
        (void)uv_poll_start(&watch->poll, watch->wanted, on_poll);
}

static void on_closed(uv_handle_t *handle)
{
    tg_free(TG_CONTAINER_OF((uv_poll_t *)handle, struct tg__watch, poll));
}

void tg__watch_close(struct tg__watch *watch)
{
    tg_list_remove(&watch->node);
    (void)uv_poll_stop(&watch->poll);
    uv_close((uv_handle_t *)&watch->poll, on_closed);
}

struct tg__watch *tg__watch_at(struct tg_list *node)
{
    return TG_CONTAINER_OF(node, struct tg__watch, node);
}

struct tg__kick {
    uv_idle_t idle;
    struct tg__curl_client *client; /* borrowed until close */
};

static void on_idle(uv_idle_t *idle)
{
    struct tg__kick *kick = TG_CONTAINER_OF(idle, struct tg__kick, idle);

    (void)uv_idle_stop(idle);
    tg__client_turn(kick->client, -1, false, false);
}

struct tg__kick *tg__kick_create(struct tg__curl_client *client)
{
    struct tg__kick *kick = tg_calloc(1, sizeof *kick);

    if (kick == NULL)
        return NULL;
    kick->client = client;
    (void)uv_idle_init(client->loop, &kick->idle);
    return kick;
}

void tg__kick_start(struct tg__kick *kick)
{
    (void)uv_idle_start(&kick->idle, on_idle);
}

static void on_kick_closed(uv_handle_t *handle)
{
    tg_free(TG_CONTAINER_OF((uv_idle_t *)handle, struct tg__kick, idle));
}

void tg__kick_close(struct tg__kick *kick)
{
    if (kick != NULL)
        uv_close((uv_handle_t *)&kick->idle, on_kick_closed);
}
