/* mailbox_test.c - letters between threads; meant to be run under ThreadSanitizer as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "base/memory.h"
#include "net/mailbox.h"

#define SENDERS 4
#define LETTERS 5000

/* What the receiver saw; touched by its thread only, but for `lost_elsewhere`. */
struct desk {
    struct tg_mailbox *mailbox;
    int next[SENDERS]; /* number expected of each sender */
    int delivered;
    int lost;
    int close_after; /* letters, 0: when all are there */
    _Atomic int lost_elsewhere;
};

struct letter {
    struct tg_letter base;
    struct desk *desk;
    int sender;
    int number;
};

struct sender {
    struct desk *desk;
    int index;
};

static void deliver(struct tg_letter *base, void *receiver, bool lost)
{
    struct letter *letter = TG_CONTAINER_OF(base, struct letter, base);
    struct desk *desk = letter->desk;

    if (lost && receiver == NULL) {
        atomic_fetch_add(&desk->lost_elsewhere, 1);
    } else {
        assert_ptr_equal(receiver, desk);
        assert_int_equal(letter->number, desk->next[letter->sender]++);
        desk->lost += lost;
        desk->delivered += !lost;
        if (!lost && desk->delivered == desk->close_after)
            tg_mailbox_close(desk->mailbox);
    }
    free(letter);
}

static void post(struct desk *desk, int sender, int number)
{
    struct letter *letter = malloc(sizeof *letter);

    if (letter == NULL)
        abort();
    *letter = (struct letter){{{NULL, NULL}, deliver}, desk, sender, number};
    tg_mailbox_post(desk->mailbox, &letter->base);
}

static void *send_all(void *arg)
{
    struct sender *sender = arg;

    for (int i = 0; i < LETTERS; i++)
        post(sender->desk, sender->index, i);
    return NULL;
}

/* Runs the loop until the mailbox has closed itself, with all senders posting meanwhile. */
static void exchange(struct desk *desk)
{
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];
    uv_loop_t loop;

    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(tg_mailbox_create(&desk->mailbox, &loop, desk), TG_ERR_OK);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){desk, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    tg_mailbox_destroy(desk->mailbox);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_every_letter_in_order(void **state)
{
    struct desk desk = {.close_after = SENDERS * LETTERS};

    (void)state;
    exchange(&desk);
    assert_int_equal(desk.delivered, SENDERS * LETTERS);
    assert_int_equal(desk.lost + desk.lost_elsewhere, 0);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(desk.next[i], LETTERS);
}

/* Closed from a delivery while others still post: each letter is delivered or lost, once. */
static void test_close_while_posting(void **state)
{
    struct desk desk = {.close_after = LETTERS / 2};

    (void)state;
    exchange(&desk);
    assert_int_equal(desk.delivered, LETTERS / 2);
    assert_int_equal(desk.delivered + desk.lost + desk.lost_elsewhere, SENDERS * LETTERS);
}

static void test_close_delivers_as_lost(void **state)
{
    struct desk desk = {.close_after = 0};
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(tg_mailbox_create(&desk.mailbox, &loop, &desk), TG_ERR_OK);
    for (int i = 0; i < 3; i++)
        post(&desk, 0, i);
    assert_int_equal(desk.delivered, 0); /* never from within post */
    tg_mailbox_close(desk.mailbox);
    tg_mailbox_close(desk.mailbox);
    assert_int_equal(desk.lost, 3);
    post(&desk, 0, 3);
    assert_int_equal(desk.lost_elsewhere, 1);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    tg_mailbox_destroy(desk.mailbox);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_out_of_memory(void **state)
{
    struct tg_mailbox *mailbox;
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    tg_memory_fail_after(0, 0);
    assert_int_equal(tg_mailbox_create(&mailbox, &loop, NULL), TG_ERR_NOMEM);
    tg_memory_fail_after(-1, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_letter_in_order),
        cmocka_unit_test(test_close_while_posting),
        cmocka_unit_test(test_close_delivers_as_lost),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
