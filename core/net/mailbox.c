/* mailbox.c - letters between threads: a locked list and a uv_async_t.
 *
 * Owns the letters from post to delivery.
 *
 * I1  `posted` and `closed` are touched with the lock held; `batch` by the receiving thread only.
 * I2  A letter is on `posted`, on `batch`, or delivered; every one is delivered exactly once.
 *
 * The wake-up is sent with the lock held: only so can no sender wake a handle that close has just
 * closed. It is one atomic, and a system call only for the first letter of a batch.
 */
#include "net/mailbox.h"

#include <assert.h>
#include <pthread.h>
#include <uv.h>

#include "base/memory.h"

struct tg_mailbox {
    uv_async_t wake_up;
    pthread_mutex_t lock;
    struct tg_list posted; /* owned letters, oldest first */
    struct tg_list batch;  /* owned letters under delivery, older than all posted */
    void *receiver;        /* borrowed until tg_mailbox_close */
    bool closed;
    bool handle_closed;
};

static void lock(struct tg_mailbox *mailbox)
{
    int status = pthread_mutex_lock(&mailbox->lock);

    assert(status == 0);
    (void)status;
}

static void unlock(struct tg_mailbox *mailbox)
{
    int status = pthread_mutex_unlock(&mailbox->lock);

    assert(status == 0);
    (void)status;
}

/* Moves all of `from` behind what `to` has. */
static void move_all(struct tg_list *to, struct tg_list *from)
{
    if (tg_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    tg_list_init(from);
}

static void deliver_batch(struct tg_mailbox *mailbox, bool lost)
{
    struct tg_list *node;

    while ((node = tg_list_first(&mailbox->batch)) != NULL) {
        struct tg_letter *letter = TG_CONTAINER_OF(node, struct tg_letter, node);
        tg_list_remove(node);
        letter->deliver(letter, mailbox->receiver, lost); /* may close the mailbox */
    }
}

static void on_wake_up(uv_async_t *handle)
{
    struct tg_mailbox *mailbox = handle->data;

    lock(mailbox);
    move_all(&mailbox->batch, &mailbox->posted);
    unlock(mailbox);
    deliver_batch(mailbox, false);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct tg_mailbox *mailbox = handle->data;

    mailbox->handle_closed = true;
}

enum tg_err tg_mailbox_create(struct tg_mailbox **out, struct uv_loop_s *loop, void *receiver)
{
    struct tg_mailbox *mailbox = tg_calloc(1, sizeof *mailbox);

    if (mailbox == NULL)
        return TG_ERR_NOMEM;
    if (pthread_mutex_init(&mailbox->lock, NULL) != 0) {
        tg_free(mailbox);
        return TG_ERR_SYS;
    }
    if (uv_async_init(loop, &mailbox->wake_up, on_wake_up) != 0) {
        pthread_mutex_destroy(&mailbox->lock);
        tg_free(mailbox);
        return TG_ERR_SYS;
    }
    mailbox->wake_up.data = mailbox;
    mailbox->receiver = receiver;
    tg_list_init(&mailbox->posted);
    tg_list_init(&mailbox->batch);
    *out = mailbox;
    return TG_ERR_OK;
}

void tg_mailbox_post(struct tg_mailbox *mailbox, struct tg_letter *letter)
{
    lock(mailbox);
    bool closed = mailbox->closed;
    if (!closed) {
        bool first = tg_list_empty(&mailbox->posted);
        tg_list_push(&mailbox->posted, &letter->node);
        if (first)
            (void)uv_async_send(&mailbox->wake_up); /* fails for handles of other kinds only */
    }
    unlock(mailbox);
    if (closed) /* the receiver belongs to another thread and may be gone */
        letter->deliver(letter, NULL, true);
}

void tg_mailbox_close(struct tg_mailbox *mailbox)
{
    lock(mailbox);
    bool closed = mailbox->closed;
    mailbox->closed = true;
    move_all(&mailbox->batch, &mailbox->posted);
    unlock(mailbox);
    if (closed)
        return;
    uv_close((uv_handle_t *)&mailbox->wake_up, on_handle_closed);
    deliver_batch(mailbox, true);
}

void tg_mailbox_destroy(struct tg_mailbox *mailbox)
{
    if (mailbox == NULL)
        return;
    assert(mailbox->handle_closed);
    pthread_mutex_destroy(&mailbox->lock);
    tg_free(mailbox);
}
