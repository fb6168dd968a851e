/* id_test.c - connection IDs: the exact text, what is refused, and that none comes twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "connection/id.h"

static void format_is_exact(void **state)
{
    (void)state;
    struct tg_conn_id id = {
        .time_ms = UINT64_C(1757500188434),
        .serial = UINT64_C(0x010000000a2f),
        .random = UINT64_C(0x92a8758b5c1f77aa),
    };
    char text[TG_CONN_ID_SIZE];
    tg_conn_id_format(&id, text);
    assert_string_equal(text, "ws_1757500188434_010000000a2f_92a8758b5c1f77aa");
    assert_int_equal(strlen(text), TG_CONN_ID_LEN);
}

static void parse_takes_what_format_writes(void **state)
{
    (void)state;
    struct tg_conn_id_source source = {.worker = 255, .sequence = (UINT64_C(1) << 40) - 3};
    for (int i = 0; i < 1000; i++) {
        struct tg_conn_id id = tg_conn_id_next(&source);
        struct tg_conn_id back = {0};
        char text[TG_CONN_ID_SIZE];
        tg_conn_id_format(&id, text);
        assert_int_equal(tg_conn_id_parse(text, strlen(text), &back), TG_ERR_OK);
        assert_true(tg_conn_id_equal(&id, &back));
        assert_int_equal(tg_conn_id_worker(back.serial), 255);
    }
}

static void parse_refuses_everything_else(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum tg_err err;
    } rows[] = {
        {"ws_1757500188434_010000000a2f_92a8758b5c1f77aa", TG_ERR_OK},
        {"ws_0000000000000_000000000000_0000000000000000", TG_ERR_OK},
        {"ws_9999999999999_ffffffffffff_ffffffffffffffff", TG_ERR_OK},
        {"", TG_ERR_INVALID},
        {"ws_1757500188434_010000000a2f_92a8758b5c1f77a", TG_ERR_INVALID},
        {"ws_1757500188434_010000000a2f_92a8758b5c1f77aa0", TG_ERR_INVALID},
        {"WS_1757500188434_010000000a2f_92a8758b5c1f77aa", TG_ERR_INVALID},
        {"xs_1757500188434_010000000a2f_92a8758b5c1f77aa", TG_ERR_INVALID},
        {"ws-1757500188434_010000000a2f_92a8758b5c1f77aa", TG_ERR_INVALID},
        {"ws_1757500188434-010000000a2f_92a8758b5c1f77aa", TG_ERR_INVALID},
        {"ws_1757500188434_010000000a2f-92a8758b5c1f77aa", TG_ERR_INVALID},
        {"ws_175750018843a_010000000a2f_92a8758b5c1f77aa", TG_ERR_INVALID},
        {"ws_1757500188434_010000000A2f_92a8758b5c1f77aa", TG_ERR_INVALID},
        {"ws_1757500188434_010000000a2g_92a8758b5c1f77aa", TG_ERR_INVALID},
        {"ws_1757500188434_010000000a2f_92a8758b5c1f77aA", TG_ERR_INVALID},
        {"ws_1757500188434_010000000a2f_92a8758b5c1f77a ", TG_ERR_INVALID},
        {"ws_175750018843_0010000000a2f_92a8758b5c1f77aa", TG_ERR_INVALID},
        {"ws_+757500188434_010000000a2f_92a8758b5c1f77aa", TG_ERR_INVALID},
        {"ws_1757500188434_0x0000000a2f_92a8758b5c1f77aa", TG_ERR_INVALID},
        {"ws_1757500188434_140052369812345", TG_ERR_INVALID}, /* the form that came before */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_conn_id id = {.serial = 77};
        size_t len = strlen(rows[i].text);
        char *exact = malloc(len == 0 ? 1 : len); /* no NUL: reading over the end shows */
        assert_non_null(exact);
        memcpy(exact, rows[i].text, len);
        if (tg_conn_id_parse(exact, len, &id) != rows[i].err)
            fail_msg("row %zu: %s", i, rows[i].text);
        if (rows[i].err != TG_ERR_OK)
            assert_int_equal(id.serial, 77);
        free(exact);
    }
}

static void a_nul_inside_is_refused(void **state)
{
    (void)state;
    char text[] = "ws_1757500188434_010000000a2f_92a8758b5c1f77aa";
    struct tg_conn_id id;
    text[20] = '\0';
    assert_int_equal(tg_conn_id_parse(text, TG_CONN_ID_LEN, &id), TG_ERR_INVALID);
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, TG_CONN_ID_SIZE);
}

#define IDS 100000

static void no_id_comes_twice(void **state)
{
    (void)state;
    struct tg_conn_id_source sources[2] = {{.worker = 1}, {.worker = 2}};
    char(*texts)[TG_CONN_ID_SIZE] = calloc(IDS, sizeof *texts);
    assert_non_null(texts);
    uint64_t before_ms = tg_clock_wall_ms();
    for (size_t i = 0; i < IDS; i++) {
        struct tg_conn_id id = tg_conn_id_next(&sources[i % 2]);
        assert_int_equal(tg_conn_id_worker(id.serial), i % 2 + 1);
        assert_int_equal(id.serial & ((UINT64_C(1) << 40) - 1), i / 2 + 1);
        assert_true(id.time_ms >= before_ms && id.time_ms <= tg_clock_wall_ms());
        tg_conn_id_format(&id, texts[i]);
    }
    qsort(texts, IDS, sizeof *texts, compare);
    for (size_t i = 1; i < IDS; i++)
        assert_string_not_equal(texts[i - 1], texts[i]);
    free(texts);
}

/* A restart begins the sequence anew, and may do so in the same millisecond. */
static void a_restart_does_not_repeat_an_id(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct tg_conn_id_source first = {.worker = 1};
        struct tg_conn_id_source second = {.worker = 1};
        struct tg_conn_id a = tg_conn_id_next(&first);
        struct tg_conn_id b = tg_conn_id_next(&second);
        assert_int_equal(a.serial, b.serial);
        assert_int_not_equal(a.random, b.random);
        assert_false(tg_conn_id_equal(&a, &b));
    }
}

static void equal_needs_all_parts(void **state)
{
    (void)state;
    struct tg_conn_id id = {1, 2, 3};
    struct tg_conn_id other = id;
    assert_true(tg_conn_id_equal(&id, &other));
    other.time_ms++;
    assert_false(tg_conn_id_equal(&id, &other));
    other = id;
    other.serial++;
    assert_false(tg_conn_id_equal(&id, &other));
    other = id;
    other.random++;
    assert_false(tg_conn_id_equal(&id, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format_is_exact),
        cmocka_unit_test(parse_takes_what_format_writes),
        cmocka_unit_test(parse_refuses_everything_else),
        cmocka_unit_test(a_nul_inside_is_refused),
        cmocka_unit_test(no_id_comes_twice),
        cmocka_unit_test(a_restart_does_not_repeat_an_id),
        cmocka_unit_test(equal_needs_all_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
