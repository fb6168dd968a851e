/* map_test.c - the map against an array that is indexed by key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/memory.h"

#define KEYS 700

/* Keys as handles have them: a slot below, a generation far above; key 0 is one of them. */
static uint64_t key_of(size_t i)
{
    return i % 2 == 0 ? (uint64_t)i : (uint64_t)i << 40;
}

static void check_against_model(const struct tg_map *map, char *const model[KEYS])
{
    size_t present = 0;
    for (size_t i = 0; i < KEYS; i++) {
        assert_ptr_equal(tg_map_find(map, key_of(i)), model[i]);
        present += model[i] != NULL;
    }
    assert_int_equal(map->count, present);
    size_t cursor = 0;
    size_t seen = 0;
    while (tg_map_next(map, &cursor) != NULL)
        seen++;
    assert_int_equal(seen, present);
}

static void behaves_like_an_array(void **state)
{
    (void)state;
    static char objects[KEYS];
    char *model[KEYS] = {NULL};
    struct tg_map map = TG_MAP_INIT;
    srand(11);
    for (int round = 0; round < 60000; round++) {
        size_t i = (size_t)rand() % KEYS;
        /* Phases that fill and phases that empty, so that runs of every length come up. */
        int fill = round / 3000 % 2 == 0 ? 7 : 3;
        if (rand() % 10 < fill) {
            enum tg_err err = tg_map_put(&map, key_of(i), &objects[i]);
            assert_int_equal(err, model[i] == NULL ? TG_ERR_OK : TG_ERR_EXISTS);
            model[i] = &objects[i];
        } else {
            assert_ptr_equal(tg_map_remove(&map, key_of(i)), model[i]);
            model[i] = NULL;
        }
        if (round % 500 == 0)
            check_against_model(&map, model);
    }
    check_against_model(&map, model);
    tg_map_fini(&map);
}

static void put_keeps_the_first_value(void **state)
{
    (void)state;
    struct tg_map map = TG_MAP_INIT;
    int first, second;
    assert_null(tg_map_find(&map, 5));
    assert_null(tg_map_remove(&map, 5));
    assert_int_equal(tg_map_put(&map, 5, &first), TG_ERR_OK);
    assert_int_equal(tg_map_put(&map, 5, &second), TG_ERR_EXISTS);
    assert_ptr_equal(tg_map_find(&map, 5), &first);
    assert_int_equal(map.count, 1);
    tg_map_fini(&map);
    tg_map_fini(&map);
    assert_null(tg_map_find(&map, 5));
}

static void failing_memory_loses_nothing(void **state)
{
    (void)state;
    struct tg_map map = TG_MAP_INIT;
    int value;
    tg_memory_fail_after(0, 0);
    assert_int_equal(tg_map_put(&map, 1, &value), TG_ERR_NOMEM);
    uint64_t held = 0;
    tg_memory_fail_after(2, 1);
    while (tg_map_put(&map, held, &value) == TG_ERR_OK)
        held++;
    tg_memory_fail_after(-1, 0);
    assert_true(held >= 16);
    assert_int_equal(map.count, held);
    for (uint64_t key = 0; key < held; key++)
        assert_ptr_equal(tg_map_find(&map, key), &value);
    assert_int_equal(tg_map_put(&map, held, &value), TG_ERR_OK);
    tg_map_fini(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_an_array),
        cmocka_unit_test(put_keeps_the_first_value),
        cmocka_unit_test(failing_memory_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
