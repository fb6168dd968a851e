/* mailbox.h - letters to a loop from any thread: a locked queue and a wake-up.
 *
 * The only way in which threads talk. A letter is owned by the mailbox from post to delivery; each
 * carries its own deliver function, so the mailbox knows no kinds. Order of one sender is kept. The
 * lock is held for a list append and, for the first letter of a batch, the wake-up.
 */
#ifndef TG_NET_MAILBOX_H
#define TG_NET_MAILBOX_H

#include <stdbool.h>

#include "base/error.h"
#include "base/list.h"

struct uv_loop_s;
struct tg_mailbox;
struct tg_letter;

/* Runs on the receiving loop; owns the letter. `lost` is true when the mailbox closed before
 * delivery: then only free what the letter holds (and tell a waiting sender, if it can be told). */
typedef void (*tg_deliver_fn)(struct tg_letter *letter, void *receiver, bool lost);

/* Embed first or anywhere; reach the outer struct with TG_CONTAINER_OF. */
struct tg_letter {
    struct tg_list node;
    tg_deliver_fn deliver;
};

TG_MUST enum tg_err tg_mailbox_create(struct tg_mailbox **out, struct uv_loop_s *loop,
                                      void *receiver);
/* Any thread, while the mailbox exists. A letter posted after close is delivered at once as lost,
 * on the posting thread and with receiver NULL. */
void tg_mailbox_post(struct tg_mailbox *mailbox, struct tg_letter *letter);
/* Receiving thread: stops waking the loop and delivers what is queued as lost. Idempotent. */
void tg_mailbox_close(struct tg_mailbox *mailbox);
/* After close, when no thread can post any more and the loop has run its close callback. */
void tg_mailbox_destroy(struct tg_mailbox *mailbox);

#endif
