/* task.h - "run this there": a letter that carries a function and one argument.
 */
#ifndef TG_APP_TASK_H
#define TG_APP_TASK_H

#include <stdbool.h>

#include "net/mailbox.h"

/* Runs on the receiving thread; frees `arg` if it must be. lost: the receiver is shutting down, only
 * free (and answer whoever waits); may then run on the posting thread. */
typedef void (*tg_task_fn)(void *receiver, void *arg, bool lost);

/* Any thread. Start-up memory rules: ends the process when memory for the letter is out. */
void tg_task_post(struct tg_mailbox *mailbox, tg_task_fn fn, void *arg);

#endif
