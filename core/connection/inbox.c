/* inbox.c - a list with two sums, and the bytes behind it; all of it comes and goes with the need.
 */
#include "connection/inbox.h"

#include <string.h>

#include "base/memory.h"

static struct tg_inbox_queue *queue_of(struct tg_inbox *inbox)
{
    if (inbox->queue != NULL)
        return inbox->queue;
    inbox->queue = tg_calloc(1, sizeof *inbox->queue);
    if (inbox->queue != NULL)
        tg_list_init(&inbox->queue->messages);
    return inbox->queue;
}

static void let_go(struct tg_inbox *inbox)
{
    if (inbox->queue->count > 0 || inbox->queue->unread.len > 0)
        return;
    tg_buffer_fini(&inbox->queue->unread);
    tg_free(inbox->queue);
    inbox->queue = NULL;
}

void tg_inbox_drop_messages(struct tg_inbox *inbox)
{
    for (struct tg_inbox_message *m = tg_inbox_pop(inbox); m != NULL; m = tg_inbox_pop(inbox))
        tg_free(m);
}

void tg_inbox_fini(struct tg_inbox *inbox)
{
    struct tg_buffer unread = tg_inbox_take_unread(inbox);

    tg_buffer_fini(&unread);
    tg_inbox_drop_messages(inbox);
}

enum tg_err tg_inbox_push(struct tg_inbox *inbox, enum tg_ws_opcode kind, const void *data,
                          size_t len)
{
    struct tg_inbox_message *message = tg_alloc(sizeof *message + len);
    struct tg_inbox_queue *queue = message == NULL ? NULL : queue_of(inbox);
    if (queue == NULL) {
        tg_free(message);
        return TG_ERR_NOMEM;
    }
    message->kind = kind;
    message->len = len;
    if (len > 0)
        memcpy(message->data, data, len);
    tg_list_push(&queue->messages, &message->node);
    queue->count++;
    queue->bytes += len;
    return TG_ERR_OK;
}

void tg_inbox_take(struct tg_inbox *inbox, struct tg_inbox_message *message)
{
    tg_list_remove(&message->node);
    inbox->queue->count--;
    inbox->queue->bytes -= message->len;
    let_go(inbox);
}

struct tg_inbox_message *tg_inbox_pop(struct tg_inbox *inbox)
{
    struct tg_list *node = inbox->queue == NULL ? NULL : tg_list_first(&inbox->queue->messages);
    if (node == NULL)
        return NULL;
    struct tg_inbox_message *message = TG_CONTAINER_OF(node, struct tg_inbox_message, node);
    tg_inbox_take(inbox, message);
    return message;
}

bool tg_inbox_full(const struct tg_inbox *inbox, size_t messages_max, size_t bytes_max)
{
    return tg_inbox_count(inbox) >= messages_max || tg_inbox_bytes(inbox) >= bytes_max;
}

enum tg_err tg_inbox_keep_unread(struct tg_inbox *inbox, const void *data, size_t len)
{
    if (len == 0)
        return TG_ERR_OK;
    struct tg_inbox_queue *queue = queue_of(inbox);
    if (queue == NULL)
        return TG_ERR_NOMEM;
    enum tg_err err = tg_buffer_append(&queue->unread, data, len);
    let_go(inbox); /* that was made for nothing, when memory is out */
    return err;
}

struct tg_buffer tg_inbox_take_unread(struct tg_inbox *inbox)
{
    struct tg_buffer unread = TG_BUFFER_INIT;

    if (inbox->queue == NULL)
        return unread;
    unread = inbox->queue->unread;
    inbox->queue->unread = TG_BUFFER_INIT;
    let_go(inbox);
    return unread;
}

bool tg_inbox_has_room(const struct tg_inbox *inbox, size_t messages_max, size_t bytes_max)
{
    return tg_inbox_count(inbox) <= messages_max / 2 && tg_inbox_bytes(inbox) <= bytes_max / 2;
}
