/* list_test.c - order, removal while walking, removal twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int number;
    struct tg_list node;
};

static int number_of(struct tg_list *node)
{
    return TG_CONTAINER_OF(node, struct item, node)->number;
}

static void keeps_the_order_of_pushes(void **state)
{
    (void)state;
    struct tg_list head;
    tg_list_init(&head);
    assert_true(tg_list_empty(&head));
    assert_null(tg_list_first(&head));
    struct item items[4];
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        tg_list_push(&head, &items[i].node);
    }
    assert_int_equal(number_of(tg_list_first(&head)), 0);
    int expected = 0;
    TG_LIST_EACH (node, next, &head)
        assert_int_equal(number_of(node), expected++);
    assert_int_equal(expected, 4);
}

static void a_walk_may_remove_its_node(void **state)
{
    (void)state;
    struct tg_list head;
    tg_list_init(&head);
    struct item items[6];
    for (int i = 0; i < 6; i++) {
        items[i].number = i;
        tg_list_push(&head, &items[i].node);
    }
    TG_LIST_EACH (node, next, &head) {
        if (number_of(node) % 2 == 0)
            tg_list_remove(node);
    }
    int expected = 1;
    TG_LIST_EACH (node, next, &head) {
        assert_int_equal(number_of(node), expected);
        expected += 2;
    }
    assert_int_equal(expected, 7);
}

static void removing_twice_is_harmless(void **state)
{
    (void)state;
    struct tg_list head;
    tg_list_init(&head);
    struct item a = {.number = 1};
    struct item b = {.number = 2};
    tg_list_push(&head, &a.node);
    tg_list_push(&head, &b.node);
    tg_list_remove(&a.node);
    tg_list_remove(&a.node);
    assert_ptr_equal(tg_list_first(&head), &b.node);
    tg_list_remove(&b.node);
    assert_true(tg_list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_order_of_pushes),
        cmocka_unit_test(a_walk_may_remove_its_node),
        cmocka_unit_test(removing_twice_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
