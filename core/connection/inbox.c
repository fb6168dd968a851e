/* inbox.c - a list with two sums, and the bytes behind it.
 */
#include "connection/inbox.h"

#include <string.h>

#include "base/memory.h"

void tg_inbox_init(struct tg_inbox *inbox)
{
    *inbox = (struct tg_inbox){0};
    tg_list_init(&inbox->messages);
}

void tg_inbox_fini(struct tg_inbox *inbox)
{
    tg_buffer_fini(&inbox->unread);
    tg_inbox_drop_messages(inbox);
}

void tg_inbox_drop_messages(struct tg_inbox *inbox)
{
    for (struct tg_inbox_message *m = tg_inbox_pop(inbox); m != NULL; m = tg_inbox_pop(inbox))
        tg_free(m);
}

bool tg_inbox_is_empty(const struct tg_inbox *inbox)
{
    return inbox->count == 0 && inbox->unread.len == 0;
}

enum tg_err tg_inbox_push(struct tg_inbox *inbox, enum tg_ws_opcode kind, const void *data,
                          size_t len)
{
    struct tg_inbox_message *message = tg_alloc(sizeof *message + len);
    if (message == NULL)
        return TG_ERR_NOMEM;
    message->kind = kind;
    message->len = len;
    if (len > 0)
        memcpy(message->data, data, len);
    tg_list_push(&inbox->messages, &message->node);
    inbox->count++;
    inbox->bytes += len;
    return TG_ERR_OK;
}

struct tg_inbox_message *tg_inbox_pop(struct tg_inbox *inbox)
{
    struct tg_list *node = tg_list_first(&inbox->messages);
    if (node == NULL)
        return NULL;
    struct tg_inbox_message *message = TG_CONTAINER_OF(node, struct tg_inbox_message, node);
    tg_inbox_take(inbox, message);
    return message;
}

void tg_inbox_take(struct tg_inbox *inbox, struct tg_inbox_message *message)
{
    tg_list_remove(&message->node);
    inbox->count--;
    inbox->bytes -= message->len;
}

bool tg_inbox_full(const struct tg_inbox *inbox, size_t messages_max, size_t bytes_max)
{
    return inbox->count >= messages_max || inbox->bytes >= bytes_max;
}

enum tg_err tg_inbox_keep_unread(struct tg_inbox *inbox, const void *data, size_t len)
{
    return tg_buffer_append(&inbox->unread, data, len);
}

struct tg_buffer tg_inbox_take_unread(struct tg_inbox *inbox)
{
    struct tg_buffer unread = inbox->unread;
    inbox->unread = TG_BUFFER_INIT;
    return unread;
}

bool tg_inbox_has_room(const struct tg_inbox *inbox, size_t messages_max, size_t bytes_max)
{
    return inbox->count <= messages_max / 2 && inbox->bytes <= bytes_max / 2;
}
