/* waiting_test.c - an inbox is attached exactly while something waits in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "connection/connection_internal.h"

/* Only what waiting.c looks at. */
static int setup(void **state)
{
    static struct tg_conn conn;
    memset(&conn, 0, sizeof conn);
    *state = &conn;
    return 0;
}

static void push(struct tg_conn *conn, const char *text)
{
    assert_int_equal(tg__inbox_push(conn, TG_WS_TEXT, text, strlen(text)), TG_ERR_OK);
    assert_non_null(tg__inbox(conn));
}

static void pop(struct tg_conn *conn, const char *text)
{
    struct tg_inbox_message *message = tg__inbox_pop(conn);
    assert_non_null(message);
    assert_memory_equal(message->data, text, strlen(text));
    tg_free(message);
}

static void keep(struct tg_conn *conn, const char *bytes)
{
    assert_int_equal(tg__inbox_keep_unread(conn, bytes, strlen(bytes)), TG_ERR_OK);
}

static void it_goes_with_the_last_message(void **state)
{
    struct tg_conn *conn = *state;
    assert_null(tg__inbox_pop(conn));
    push(conn, "a");
    push(conn, "b");
    assert_int_equal(tg__inbox_count(conn), 2);
    pop(conn, "a");
    assert_non_null(tg__inbox(conn));
    struct tg_inbox_message *message =
        TG_CONTAINER_OF(tg__inbox(conn)->messages.next, struct tg_inbox_message, node);
    tg__inbox_take(conn, message);
    tg_free(message);
    assert_null(tg__inbox(conn));
    assert_int_equal(tg__inbox_count(conn) + tg__inbox_unread(conn), 0);
}

static void or_with_the_bytes_behind_it(void **state)
{
    struct tg_conn *conn = *state;
    keep(conn, "");
    assert_null(tg__inbox(conn));
    assert_int_equal(tg__inbox_take_unread(conn).len, 0);
    push(conn, "a");
    keep(conn, "bytes");
    pop(conn, "a");
    assert_int_equal(tg__inbox_unread(conn), 5);
    struct tg_buffer bytes = tg__inbox_take_unread(conn);
    assert_int_equal(bytes.len, 5);
    tg_buffer_fini(&bytes);
    assert_null(tg__inbox(conn));
}

static void dropping_the_messages_keeps_the_bytes(void **state)
{
    struct tg_conn *conn = *state;
    tg__inbox_drop_messages(conn);
    tg__inbox_drop(conn);
    push(conn, "a");
    push(conn, "b");
    keep(conn, "bytes");
    tg__inbox_drop_messages(conn);
    assert_int_equal(tg__inbox_count(conn), 0);
    assert_int_equal(tg__inbox_unread(conn), 5);
    tg__inbox_drop(conn);
    assert_null(tg__inbox(conn));
    push(conn, "c");
    tg__inbox_drop_messages(conn);
    assert_null(tg__inbox(conn));
}

static void without_memory_none_is_left(void **state)
{
    struct tg_conn *conn = *state;
    for (long allowed = 0; allowed < 2; allowed++) {
        (void)tg_memory_fail_after(allowed, 1);
        enum tg_err err = tg__inbox_push(conn, TG_WS_TEXT, "a", 1);
        (void)tg_memory_fail_after(allowed, 1);
        enum tg_err bytes_err = tg__inbox_keep_unread(conn, "a", 1);
        (void)tg_memory_fail_after(-1, 0);
        assert_int_equal(err, TG_ERR_NOMEM);
        assert_int_equal(bytes_err, TG_ERR_NOMEM);
        assert_null(conn->attachments);
    }
    push(conn, "kept");
    (void)tg_memory_fail_after(0, 1);
    enum tg_err err = tg__inbox_push(conn, TG_WS_TEXT, "a", 1);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(err, TG_ERR_NOMEM);
    pop(conn, "kept");
    assert_null(conn->attachments);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_goes_with_the_last_message, setup),
        cmocka_unit_test_setup(or_with_the_bytes_behind_it, setup),
        cmocka_unit_test_setup(dropping_the_messages_keeps_the_bytes, setup),
        cmocka_unit_test_setup(without_memory_none_is_left, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
