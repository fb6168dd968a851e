/* attachment_test.c - what hangs on a connection is found by its kind, whatever the order it came and goes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "connection/connection_internal.h"

#define ALL ((1u << TG_ATTACHMENT_KINDS) - 1)

static void check(const struct tg_conn *conn, const struct tg_attachment *all, unsigned expected)
{
    assert_int_equal(conn->attached, expected);
    assert_int_equal(conn->attachments == NULL, expected == 0);
    for (unsigned kind = 0; kind < TG_ATTACHMENT_KINDS; kind++)
        assert_ptr_equal(tg__attached(conn, (enum tg_attachment_kind)kind),
                         (expected >> kind & 1) == 0 ? NULL : &all[kind]);
}

static void each_kind_is_found_and_goes_by_itself(void **state)
{
    (void)state;
    struct tg_conn conn;
    struct tg_attachment all[TG_ATTACHMENT_KINDS];
    memset(&conn, 0, sizeof conn);
    for (unsigned first = 0; first < TG_ATTACHMENT_KINDS; first++) {
        unsigned attached = 0;
        for (unsigned i = 0; i < TG_ATTACHMENT_KINDS; i++) {
            unsigned kind = (first + i) % TG_ATTACHMENT_KINDS;
            check(&conn, all, attached);
            tg__attach(&conn, (enum tg_attachment_kind)kind, &all[kind]);
            attached |= 1u << kind;
        }
        assert_int_equal(attached, ALL);
        for (unsigned i = 0; i < TG_ATTACHMENT_KINDS; i++) { /* in steps that reach every one */
            unsigned kind = (first + i * 2) % TG_ATTACHMENT_KINDS;
            check(&conn, all, attached);
            assert_ptr_equal(tg__detach(&conn, (enum tg_attachment_kind)kind), &all[kind]);
            assert_null(tg__detach(&conn, (enum tg_attachment_kind)kind));
            attached &= ~(1u << kind);
        }
        check(&conn, all, 0);
    }
}

static void what_was_allocated_is_freed_once(void **state)
{
    (void)state;
    struct tg_conn conn;
    memset(&conn, 0, sizeof conn);
    struct tg_attachment *owned = tg_calloc(1, sizeof *owned);
    assert_non_null(owned);
    tg__attach(&conn, TG_ATTACHED_MIDWAY, owned);
    tg__free_attached(&conn, TG_ATTACHED_MIDWAY);
    tg__free_attached(&conn, TG_ATTACHED_MIDWAY);
    assert_null(conn.attachments);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_is_found_and_goes_by_itself),
        cmocka_unit_test(what_was_allocated_is_freed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
