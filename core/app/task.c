/* task.c - see task.h. */
#include "app/task.h"

#include "base/memory.h"

struct task {
    struct tg_letter letter;
    tg_task_fn fn;
    void *arg;
};

static void deliver(struct tg_letter *letter, void *receiver, bool lost)
{
    struct task *task = TG_CONTAINER_OF(letter, struct task, letter);
    tg_task_fn fn = task->fn;
    void *arg = task->arg;
    tg_free(task);
    fn(receiver, arg, lost);
}

void tg_task_post(struct tg_mailbox *mailbox, tg_task_fn fn, void *arg)
{
    struct task *task = tg_xcalloc(1, sizeof *task);
    task->letter.deliver = deliver;
    task->fn = fn;
    task->arg = arg;
    tg_mailbox_post(mailbox, &task->letter);
}
