/* buffer_test.c - a byte queue against a model, failing memory, handing bytes over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/memory.h"

#define MODEL_MAX 4096

static void starts_empty_without_memory(void **state)
{
    (void)state;
    struct tg_buffer buffer = TG_BUFFER_INIT;
    assert_null(tg_buffer_head(&buffer));
    assert_int_equal(tg_buffer_append(&buffer, NULL, 0), TG_ERR_OK);
    assert_null(buffer.data);
    tg_buffer_fini(&buffer);
    tg_buffer_fini(&buffer);
}

static void appends_text_and_formats(void **state)
{
    (void)state;
    struct tg_buffer buffer = TG_BUFFER_INIT;
    assert_int_equal(tg_buffer_append_str(&buffer, "id="), TG_ERR_OK);
    assert_int_equal(tg_buffer_printf(&buffer, "%03d;%s", 7, "x"), TG_ERR_OK);
    assert_int_equal(buffer.len, 8);
    assert_memory_equal(tg_buffer_head(&buffer), "id=007;x", 8);
    char long_text[300];
    memset(long_text, 'y', sizeof long_text);
    long_text[299] = '\0';
    assert_int_equal(tg_buffer_printf(&buffer, "%s", long_text), TG_ERR_OK);
    assert_int_equal(buffer.len, 307);
    tg_buffer_fini(&buffer);
}

/* The NUL that formatting needs is not part of the content, but has to fit too. */
static void formats_up_to_the_last_byte(void **state)
{
    (void)state;
    for (int len = 0; len < 140; len++) {
        struct tg_buffer buffer = TG_BUFFER_INIT;
        assert_int_equal(tg_buffer_printf(&buffer, "%*s", len, ""), TG_ERR_OK);
        assert_int_equal(buffer.len, len);
        tg_buffer_fini(&buffer);
    }
}

/* Random appends and consumes; the content must always be what the model says. */
static void behaves_like_a_queue(void **state)
{
    (void)state;
    srand(7);
    struct tg_buffer buffer = TG_BUFFER_INIT;
    uint8_t model[MODEL_MAX];
    size_t model_len = 0;
    uint8_t next = 0;
    for (int round = 0; round < 20000; round++) {
        size_t n = (size_t)rand() % 90;
        if (rand() % 2 == 0 && model_len + n <= MODEL_MAX) {
            uint8_t *room = tg_buffer_reserve(&buffer, n + (size_t)rand() % 8);
            assert_non_null(room);
            for (size_t i = 0; i < n; i++)
                room[i] = model[model_len++] = next++;
            tg_buffer_commit(&buffer, n);
        } else {
            n = n > model_len ? model_len : n;
            tg_buffer_consume(&buffer, n, (size_t)rand() % 200);
            memmove(model, model + n, model_len - n);
            model_len -= n;
        }
        assert_int_equal(buffer.len, model_len);
        if (model_len > 0)
            assert_memory_equal(tg_buffer_head(&buffer), model, model_len);
    }
    assert_true(buffer.capacity <= MODEL_MAX * 4);
    tg_buffer_fini(&buffer);
}

static void a_steady_queue_does_not_grow(void **state)
{
    (void)state;
    struct tg_buffer buffer = TG_BUFFER_INIT;
    assert_int_equal(tg_buffer_append(&buffer, "0123456789", 10), TG_ERR_OK);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(tg_buffer_append(&buffer, "0123456789", 10), TG_ERR_OK);
        tg_buffer_consume(&buffer, 10, 1024);
    }
    assert_true(buffer.capacity <= 128);
    tg_buffer_fini(&buffer);
}

static void an_emptied_buffer_keeps_only_what_it_may(void **state)
{
    (void)state;
    struct tg_buffer buffer = TG_BUFFER_INIT;
    char bytes[1000] = {0};
    assert_int_equal(tg_buffer_append(&buffer, bytes, sizeof bytes), TG_ERR_OK);
    tg_buffer_consume(&buffer, 999, 0);
    assert_non_null(buffer.data);
    tg_buffer_consume(&buffer, 1, 100);
    assert_null(buffer.data);
    assert_int_equal(tg_buffer_append(&buffer, bytes, 50), TG_ERR_OK);
    tg_buffer_consume(&buffer, 50, 100);
    assert_non_null(buffer.data);
    assert_int_equal(buffer.start, 0);
    tg_buffer_fini(&buffer);
}

static void failing_memory_leaves_the_content(void **state)
{
    (void)state;
    struct tg_buffer buffer = TG_BUFFER_INIT;
    char bytes[500];
    memset(bytes, 'z', sizeof bytes);
    tg_memory_fail_after(0, 1);
    assert_int_equal(tg_buffer_append(&buffer, "a", 1), TG_ERR_NOMEM);
    assert_null(tg_buffer_detach(&buffer, NULL));
    tg_memory_fail_after(1, 1);
    assert_int_equal(tg_buffer_append(&buffer, "keep", 4), TG_ERR_OK);
    assert_null(tg_buffer_reserve(&buffer, 500));
    assert_int_equal(tg_buffer_append(&buffer, bytes, sizeof bytes), TG_ERR_NOMEM);
    assert_int_equal(tg_buffer_printf(&buffer, "%.*s", 400, bytes), TG_ERR_NOMEM);
    tg_memory_fail_after(-1, 0);
    assert_null(tg_buffer_reserve(&buffer, SIZE_MAX));
    assert_int_equal(buffer.len, 4);
    assert_memory_equal(tg_buffer_head(&buffer), "keep", 4);
    tg_buffer_fini(&buffer);
}

static void detach_hands_over_terminated_bytes(void **state)
{
    (void)state;
    struct tg_buffer buffer = TG_BUFFER_INIT;
    for (size_t filled = 60; filled < 68; filled++) {
        char bytes[70];
        memset(bytes, 'q', sizeof bytes);
        assert_int_equal(tg_buffer_append(&buffer, bytes, filled), TG_ERR_OK);
        tg_buffer_consume(&buffer, 3, 0);
        size_t len = 0;
        char *text = tg_buffer_detach(&buffer, &len);
        assert_int_equal(len, filled - 3);
        assert_int_equal(strlen(text), len);
        assert_int_equal(buffer.len, 0);
        assert_null(buffer.data);
        free(text);
    }
    char *empty = tg_buffer_detach(&buffer, NULL);
    assert_string_equal(empty, "");
    free(empty);
}

static void clear_forgets_but_keeps_memory(void **state)
{
    (void)state;
    struct tg_buffer buffer = TG_BUFFER_INIT;
    assert_int_equal(tg_buffer_append_str(&buffer, "abc"), TG_ERR_OK);
    tg_buffer_clear(&buffer);
    assert_null(tg_buffer_head(&buffer));
    assert_true(buffer.capacity > 0);
    assert_int_equal(tg_buffer_append_str(&buffer, "de"), TG_ERR_OK);
    assert_memory_equal(tg_buffer_head(&buffer), "de", 2);
    tg_buffer_fini(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_empty_without_memory),
        cmocka_unit_test(appends_text_and_formats),
        cmocka_unit_test(formats_up_to_the_last_byte),
        cmocka_unit_test(behaves_like_a_queue),
        cmocka_unit_test(a_steady_queue_does_not_grow),
        cmocka_unit_test(an_emptied_buffer_keeps_only_what_it_may),
        cmocka_unit_test(failing_memory_leaves_the_content),
        cmocka_unit_test(detach_hands_over_terminated_bytes),
        cmocka_unit_test(clear_forgets_but_keeps_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
