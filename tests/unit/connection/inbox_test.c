/* inbox_test.c - order, sums and the two bounds of the inbox. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "connection/inbox.h"

static void push(struct tg_inbox *inbox, enum tg_ws_opcode kind, const char *text)
{
    assert_int_equal(tg_inbox_push(inbox, kind, text, strlen(text)), TG_ERR_OK);
}

static void pop(struct tg_inbox *inbox, enum tg_ws_opcode kind, const char *text)
{
    struct tg_inbox_message *message = tg_inbox_pop(inbox);
    assert_non_null(message);
    assert_int_equal(message->kind, kind);
    assert_int_equal(message->len, strlen(text));
    assert_memory_equal(message->data, text, message->len);
    tg_free(message);
}

static void first_in_first_out(void **state)
{
    (void)state;
    struct tg_inbox inbox;
    tg_inbox_init(&inbox);
    assert_null(tg_inbox_pop(&inbox));
    push(&inbox, TG_WS_TEXT, "one");
    push(&inbox, TG_WS_BINARY, "");
    push(&inbox, TG_WS_TEXT, "three");
    assert_int_equal(inbox.count, 3);
    assert_int_equal(inbox.bytes, 8);
    pop(&inbox, TG_WS_TEXT, "one");
    push(&inbox, TG_WS_TEXT, "four");
    pop(&inbox, TG_WS_BINARY, "");
    pop(&inbox, TG_WS_TEXT, "three");
    pop(&inbox, TG_WS_TEXT, "four");
    assert_null(tg_inbox_pop(&inbox));
    assert_int_equal(inbox.count + inbox.bytes, 0);
    tg_inbox_fini(&inbox);
}

static void push_copies(void **state)
{
    (void)state;
    struct tg_inbox inbox;
    tg_inbox_init(&inbox);
    char text[] = "abc";
    push(&inbox, TG_WS_TEXT, text);
    memset(text, 'x', 3);
    pop(&inbox, TG_WS_TEXT, "abc");
    assert_int_equal(tg_inbox_push(&inbox, TG_WS_TEXT, NULL, 0), TG_ERR_OK);
    pop(&inbox, TG_WS_TEXT, "");
}

static void taking_from_the_middle_keeps_the_order(void **state)
{
    (void)state;
    struct tg_inbox inbox;
    tg_inbox_init(&inbox);
    push(&inbox, TG_WS_TEXT, "a");
    push(&inbox, TG_WS_TEXT, "bb");
    push(&inbox, TG_WS_TEXT, "ccc");
    struct tg_inbox_message *middle =
        TG_CONTAINER_OF(inbox.messages.next->next, struct tg_inbox_message, node);
    tg_inbox_take(&inbox, middle);
    assert_memory_equal(middle->data, "bb", 2);
    tg_free(middle);
    assert_int_equal(inbox.count, 2);
    assert_int_equal(inbox.bytes, 4);
    pop(&inbox, TG_WS_TEXT, "a");
    pop(&inbox, TG_WS_TEXT, "ccc");
}

static void full_and_room(void **state)
{
    (void)state;
    static const struct {
        size_t count, bytes, messages_max, bytes_max;
        bool full, room;
    } rows[] = {
        {0, 0, 4, 100, false, true},   {2, 0, 4, 100, false, true},   {3, 0, 4, 100, false, false},
        {4, 0, 4, 100, true, false},   {5, 0, 4, 100, true, false},   {1, 50, 4, 100, false, true},
        {1, 51, 4, 100, false, false}, {1, 99, 4, 100, false, false}, {1, 100, 4, 100, true, false},
        {0, 0, 1, 1, false, true},     {1, 0, 1, 1, true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_inbox inbox = {.count = rows[i].count, .bytes = rows[i].bytes};
        assert_int_equal(tg_inbox_full(&inbox, rows[i].messages_max, rows[i].bytes_max),
                         rows[i].full);
        assert_int_equal(tg_inbox_has_room(&inbox, rows[i].messages_max, rows[i].bytes_max),
                         rows[i].room);
    }
}

static void fini_frees_and_may_come_twice(void **state)
{
    (void)state;
    struct tg_inbox inbox;
    tg_inbox_init(&inbox);
    push(&inbox, TG_WS_TEXT, "a");
    push(&inbox, TG_WS_TEXT, "b");
    tg_inbox_fini(&inbox);
    assert_int_equal(inbox.count + inbox.bytes, 0);
    tg_inbox_fini(&inbox);
    push(&inbox, TG_WS_TEXT, "c");
    pop(&inbox, TG_WS_TEXT, "c");
}

static void bytes_stand_behind_the_messages(void **state)
{
    (void)state;
    struct tg_inbox inbox;
    tg_inbox_init(&inbox);
    push(&inbox, TG_WS_TEXT, "a");
    assert_int_equal(tg_inbox_keep_unread(&inbox, "bytes", 5), TG_ERR_OK);
    assert_int_equal(tg_inbox_keep_unread(&inbox, "", 0), TG_ERR_OK);
    pop(&inbox, TG_WS_TEXT, "a");
    assert_int_equal(inbox.unread.len, 5);
    struct tg_buffer unread = tg_inbox_take_unread(&inbox);
    assert_int_equal(unread.len, 5);
    assert_memory_equal(tg_buffer_head(&unread), "bytes", 5);
    tg_buffer_fini(&unread);
    assert_true(tg_inbox_is_empty(&inbox));
    assert_int_equal(tg_inbox_take_unread(&inbox).len, 0);
    assert_int_equal(tg_inbox_keep_unread(&inbox, "left", 4), TG_ERR_OK);
    tg_inbox_fini(&inbox);
    assert_true(tg_inbox_is_empty(&inbox));
}

static void no_memory_changes_nothing(void **state)
{
    (void)state;
    struct tg_inbox inbox;
    tg_inbox_init(&inbox);
    push(&inbox, TG_WS_TEXT, "a");
    (void)tg_memory_fail_after(0, 1);
    enum tg_err err = tg_inbox_push(&inbox, TG_WS_TEXT, "b", 1);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(err, TG_ERR_NOMEM);
    (void)tg_memory_fail_after(0, 1);
    err = tg_inbox_keep_unread(&inbox, "b", 1);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(err, TG_ERR_NOMEM);
    assert_int_equal(inbox.unread.len, 0);
    assert_int_equal(inbox.count, 1);
    assert_int_equal(inbox.bytes, 1);
    pop(&inbox, TG_WS_TEXT, "a");
    tg_inbox_fini(&inbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_in_first_out),
        cmocka_unit_test(push_copies),
        cmocka_unit_test(taking_from_the_middle_keeps_the_order),
        cmocka_unit_test(full_and_room),
        cmocka_unit_test(fini_frees_and_may_come_twice),
        cmocka_unit_test(bytes_stand_behind_the_messages),
        cmocka_unit_test(no_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
