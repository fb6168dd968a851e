/* resolver.c - one getaddrinfo a thread.
 *
 *   asked ─[thread: answered]─> told ─> freed          asked ─[cancel]─> forgotten ─> freed
 *
 * Two own a lookup: the loop's side until its handle is closed, and the thread until it has its answer. The
 * last of them frees it.
 *
 * I1  `forgotten`, `found`, `count`, `status` and `owners` are touched with the lock held.
 * I2  The wake-up is sent with the lock held and never to a forgotten lookup, whose handle is closing.
 */
#include "net/resolver.h"

#include <assert.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "base/memory.h"
#include "net/net_internal.h"

#define HOST_SIZE 256
/* A thread each: those that hang must not be able to take all that the process may have. */
#define LOOKUPS_MAX 256

struct tg_lookup {
    uv_async_t wake_up;
    pthread_mutex_t lock;
    tg_lookup_fn fn;
    void *ctx; /* borrowed until fn or cancel */
    char host[HOST_SIZE];
    uint16_t port;
    unsigned owners;
    bool forgotten;
    struct tg_address found[TG_LOOKUP_ADDRESSES_MAX];
    size_t count;
    int status; /* getaddrinfo's */
};

static atomic_int under_way;

static void lock(struct tg_lookup *lookup)
{
    int status = pthread_mutex_lock(&lookup->lock);

    assert(status == 0);
    (void)status;
}

static void unlock(struct tg_lookup *lookup)
{
    int status = pthread_mutex_unlock(&lookup->lock);

    assert(status == 0);
    (void)status;
}

static void leave(struct tg_lookup *lookup)
{
    lock(lookup);
    bool last = --lookup->owners == 0;
    unlock(lookup);
    if (!last)
        return;
    (void)pthread_mutex_destroy(&lookup->lock);
    tg_free(lookup);
    atomic_fetch_sub(&under_way, 1);
}

static void on_closed(uv_handle_t *handle)
{
    leave(TG_CONTAINER_OF((uv_async_t *)handle, struct tg_lookup, wake_up));
}

static void on_wake_up(uv_async_t *wake_up)
{
    struct tg_lookup *lookup = TG_CONTAINER_OF(wake_up, struct tg_lookup, wake_up);

    lock(lookup); /* the thread has written all of it before; nobody writes after */
    int status = lookup->status;
    unlock(lookup);
    const char *why = status == 0 ? "it has no address" : gai_strerror(status);
    uv_close((uv_handle_t *)wake_up, on_closed);
    lookup->fn(lookup->ctx, lookup->found, lookup->count, why);
}

static size_t copy_addresses(const struct addrinfo *list, uint16_t port,
                             struct tg_address out[TG_LOOKUP_ADDRESSES_MAX])
{
    size_t count = 0;

    for (; list != NULL && count < TG_LOOKUP_ADDRESSES_MAX; list = list->ai_next) {
        struct sockaddr_storage storage = {0};
        if (list->ai_family != AF_INET && list->ai_family != AF_INET6)
            continue;
        memcpy(&storage, list->ai_addr, list->ai_addrlen);
        out[count] = tg__address_from(&storage);
        out[count++].port = port;
    }
    return count;
}

static void *ask(void *arg)
{
    struct tg_lookup *lookup = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int status = getaddrinfo(lookup->host, NULL, &hints, &list);

    lock(lookup);
    lookup->status = status;
    if (status == 0)
        lookup->count = copy_addresses(list, lookup->port, lookup->found);
    if (!lookup->forgotten)
        (void)uv_async_send(&lookup->wake_up);
    unlock(lookup);
    if (status == 0)
        freeaddrinfo(list);
    leave(lookup);
    return NULL;
}

/* Signals are for the threads that serve. */
static bool start_thread(struct tg_lookup *lookup)
{
    pthread_t thread;
    sigset_t all;
    sigset_t before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, NULL, ask, lookup) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        (void)pthread_detach(thread);
    return started;
}

/* An address is its own answer. It comes from the loop all the same. */
static bool is_address(struct tg_lookup *lookup)
{
    struct tg_address address;

    if (!tg_address_parse(lookup->host, strlen(lookup->host), &address) || address.port != 0)
        return false;
    address.port = lookup->port;
    lookup->found[0] = address;
    lookup->count = 1;
    lookup->owners = 1; /* no thread */
    (void)uv_async_send(&lookup->wake_up);
    return true;
}

enum tg_err tg_lookup_start(struct tg_lookup **out, struct uv_loop_s *loop, const char *host,
                            uint16_t port, tg_lookup_fn fn, void *ctx)
{
    struct tg_lookup *lookup;

    if (strlen(host) >= HOST_SIZE)
        return TG_ERR_INVALID;
    if (atomic_fetch_add(&under_way, 1) >= LOOKUPS_MAX) {
        atomic_fetch_sub(&under_way, 1);
        return TG_ERR_LIMIT;
    }
    lookup = tg_calloc(1, sizeof *lookup);
    if (lookup == NULL || pthread_mutex_init(&lookup->lock, NULL) != 0 ||
        uv_async_init(loop, &lookup->wake_up, on_wake_up) != 0) {
        tg_free(lookup);
        atomic_fetch_sub(&under_way, 1);
        return TG_ERR_NOMEM;
    }
    lookup->fn = fn;
    lookup->ctx = ctx;
    lookup->port = port;
    lookup->owners = 2;
    (void)snprintf(lookup->host, sizeof lookup->host, "%s", host);
    if (!is_address(lookup) && !start_thread(lookup)) {
        lookup->owners = 1;
        tg_lookup_cancel(lookup);
        return TG_ERR_NOMEM;
    }
    *out = lookup;
    return TG_ERR_OK;
}

void tg_lookup_cancel(struct tg_lookup *lookup)
{
    lock(lookup);
    lookup->forgotten = true;
    unlock(lookup);
    uv_close((uv_handle_t *)&lookup->wake_up, on_closed);
}
