/* list.h - intrusive doubly linked list. A node belongs to the struct that embeds it and is on at
 * most one list; an unlinked node points to itself, so removing twice is harmless.
 */
#ifndef TG_BASE_LIST_H
#define TG_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct tg_list {
    struct tg_list *prev;
    struct tg_list *next;
};

/* The struct that embeds `node` as `member`. */
#define TG_CONTAINER_OF(node, type, member)                                                        \
    ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void tg_list_init(struct tg_list *node)
{
    node->prev = node;
    node->next = node;
}

static inline bool tg_list_empty(const struct tg_list *head)
{
    return head->next == head;
}

static inline void tg_list_push(struct tg_list *head, struct tg_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void tg_list_remove(struct tg_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    tg_list_init(node);
}

/* First node without removing it, or NULL when the list is empty. */
static inline struct tg_list *tg_list_first(const struct tg_list *head)
{
    return tg_list_empty(head) ? NULL : head->next;
}

/* `next` is taken before the body runs, so the body may remove `node` (not others). */
#define TG_LIST_EACH(node, next_node, head)                                                        \
    for (struct tg_list *node = (head)->next, *next_node = node->next; node != (head);             \
         node = next_node, next_node = node->next)

#endif
