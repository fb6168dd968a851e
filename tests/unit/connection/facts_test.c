/* facts_test.c - parts of any size, stored in any order, and nothing lost when memory is out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <string.h>

#include "base/memory.h"
#include "connection/facts.h"

static void set(struct tg_facts **facts, enum tg_fact which, const char *text)
{
    assert_int_equal(tg_facts_set(facts, which, text, strlen(text)), TG_ERR_OK);
}

static void expect(const struct tg_facts *facts, enum tg_fact which, const char *text)
{
    struct tg_blob blob = tg_facts_get(facts, which);
    assert_int_equal(blob.len, strlen(text));
    if (blob.len == 0)
        assert_null(blob.data);
    else
        assert_memory_equal(blob.data, text, blob.len);
}

static void each_part_is_what_was_stored_last(void **state)
{
    (void)state;
    struct tg_facts *facts = NULL;
    for (enum tg_fact i = 0; i < TG_FACTS; i++)
        expect(facts, i, "");
    set(&facts, TG_FACT_SESSION, "session");
    set(&facts, TG_FACT_USER_ID, "ann");
    set(&facts, TG_FACT_CONTEXT, "c");
    set(&facts, TG_FACT_IDENTITY, "who");
    expect(facts, TG_FACT_SERVICES, "");
    set(&facts, TG_FACT_CONTEXT, "a longer context than before");
    set(&facts, TG_FACT_SESSION, "");
    set(&facts, TG_FACT_SERVICES, "s");
    expect(facts, TG_FACT_USER_ID, "ann");
    expect(facts, TG_FACT_IDENTITY, "who");
    expect(facts, TG_FACT_CONTEXT, "a longer context than before");
    expect(facts, TG_FACT_SERVICES, "s");
    expect(facts, TG_FACT_SESSION, "");
    tg_free(facts);
}

static void a_user_comes_with_its_identity(void **state)
{
    (void)state;
    struct tg_facts *facts = NULL;
    struct tg_blob identity = {.data = (const uint8_t *)"who", .len = 3};
    set(&facts, TG_FACT_SESSION, "session");
    assert_int_equal(tg_facts_set_user(&facts, "ann", identity), TG_ERR_OK);
    assert_string_equal((const char *)tg_facts_get(facts, TG_FACT_USER_ID).data, "ann");
    expect(facts, TG_FACT_IDENTITY, "who");
    expect(facts, TG_FACT_SESSION, "session");
    expect(facts, TG_FACT_CONTEXT, "");
    tg_free(facts);
}

static void a_part_may_be_stored_from_itself(void **state)
{
    (void)state;
    struct tg_facts *facts = NULL;
    set(&facts, TG_FACT_IDENTITY, "identity");
    set(&facts, TG_FACT_CONTEXT, "context");
    struct tg_blob whole = tg_facts_get(facts, TG_FACT_IDENTITY);
    assert_int_equal(tg_facts_set(&facts, TG_FACT_IDENTITY, whole.data + 2, 3), TG_ERR_OK);
    expect(facts, TG_FACT_IDENTITY, "ent");
    expect(facts, TG_FACT_CONTEXT, "context");
    tg_free(facts);
}

/* Sizes on both sides of where the ends of the parts take more room. */
static void parts_of_any_size(void **state)
{
    static const size_t sizes[] = {1, 235, 236, 65515, 65516, 1 << 20, 300, 10, 0}; /* 20 besides */
    static char data[1 << 20];
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 31 >> 3);
    for (enum tg_fact large = 0; large < TG_FACTS; large++) {
        struct tg_facts *facts = NULL;
        for (enum tg_fact i = 0; i < TG_FACTS; i++)
            set(&facts, i, "small");
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            assert_int_equal(tg_facts_set(&facts, large, data, sizes[i]), TG_ERR_OK);
            for (enum tg_fact other = 0; other < TG_FACTS; other++)
                if (other != large)
                    expect(facts, other, "small");
            struct tg_blob blob = tg_facts_get(facts, large);
            assert_int_equal(blob.len, sizes[i]);
            if (blob.len > 0)
                assert_memory_equal(blob.data, data, blob.len);
        }
        tg_free(facts);
    }
}

/* What an idle client that echoes has: a chunk of 48 bytes (see also plain_test.c). */
static void a_user_with_a_short_name_is_small(void **state)
{
    struct tg_facts *facts = NULL;
    struct tg_blob identity = {.data = (const uint8_t *)"{user_id = 'bench'}...", .len = 22};
    (void)state;
    assert_int_equal(tg_facts_set_user(&facts, "bench", identity), TG_ERR_OK);
    assert_in_range(malloc_usable_size(facts), 1, 40);
    tg_free(facts);
}

static void no_memory_changes_nothing(void **state)
{
    (void)state;
    struct tg_facts *facts = NULL;
    set(&facts, TG_FACT_USER_ID, "ann");
    (void)tg_memory_fail_after(0, 1);
    enum tg_err err = tg_facts_set(&facts, TG_FACT_USER_ID, "bob", 3);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(err, TG_ERR_NOMEM);
    expect(facts, TG_FACT_USER_ID, "ann");
    assert_int_equal(tg_facts_set(&facts, TG_FACT_SESSION, "x", (size_t)UINT32_MAX), TG_ERR_NOMEM);
    expect(facts, TG_FACT_USER_ID, "ann");
    tg_free(facts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_part_is_what_was_stored_last),
        cmocka_unit_test(a_user_comes_with_its_identity),
        cmocka_unit_test(a_part_may_be_stored_from_itself),
        cmocka_unit_test(parts_of_any_size),
        cmocka_unit_test(a_user_with_a_short_name_is_small),
        cmocka_unit_test(no_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
