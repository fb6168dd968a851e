/* registry_test.c - one machine per ID, found by the whole ID only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/memory.h"
#include "connection/connection_internal.h"
#include "support/log_capture.h"

#define MANY 700

struct fixture {
    struct tg_registry registry;
    struct tg_metrics metrics;
    struct tg_conn *first, *second; /* owned */
};

static int setup(void **state)
{
    struct fixture *f = tg_xcalloc(1, sizeof *f);
    f->first = tg_xcalloc(1, sizeof *f->first);
    f->second = tg_xcalloc(1, sizeof *f->second);
    f->first->id = (struct tg_conn_id){1757500188434, 0x010000000a2f, 0x92a8758b5c1f77aa};
    tg_lifecycle_init(&f->first->lifecycle, &f->metrics);
    f->second->id = f->first->id;
    log_capture_start();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    log_capture_stop();
    tg_registry_fini(&f->registry);
    tg_free(f->first);
    tg_free(f->second);
    tg_free(f);
    return 0;
}

static void a_second_registration_is_refused_and_the_first_machine_stays(void **state)
{
    struct fixture *f = *state;
    struct tg_conn_id *id = &f->first->id;
    assert_int_equal(tg_registry_add(&f->registry, f->first, &f->metrics), TG_ERR_OK);
    assert_int_equal(
        tg_lifecycle_move(&f->first->lifecycle, TG_ACCEPTED, "upgrade", id, &f->metrics),
        TG_ERR_OK);
    assert_int_equal(tg_registry_add(&f->registry, f->second, &f->metrics), TG_ERR_EXISTS);
    assert_ptr_equal(tg_registry_find(&f->registry, id), f->first);
    assert_int_equal(tg_conn_state(tg_registry_find(&f->registry, id)), TG_ACCEPTED);
    assert_int_equal(tg_registry_count(&f->registry), 1);
    assert_int_equal(tg_counter_get(&f->metrics.duplicate_registrations), 1);
    assert_true(log_capture_has(
        "conn.duplicate_registration id=ws_1757500188434_010000000a2f_92a8758b5c1f77aa"));
    /* Also the same machine again, and an ID that only shares the serial. */
    assert_int_equal(tg_registry_add(&f->registry, f->first, &f->metrics), TG_ERR_EXISTS);
    f->second->id.random++;
    assert_int_equal(tg_registry_add(&f->registry, f->second, &f->metrics), TG_ERR_EXISTS);
    assert_int_equal(tg_counter_get(&f->metrics.duplicate_registrations), 3);
}

static void finding_by_id_needs_all_parts(void **state)
{
    struct fixture *f = *state;
    struct tg_conn_id other = f->first->id;
    assert_null(tg_registry_find(&f->registry, &other));
    assert_int_equal(tg_registry_add(&f->registry, f->first, &f->metrics), TG_ERR_OK);
    assert_ptr_equal(tg_registry_find(&f->registry, &other), f->first);
    assert_ptr_equal(tg_registry_find_serial(&f->registry, other.serial), f->first);
    other.random ^= 1;
    assert_null(tg_registry_find(&f->registry, &other));
    other = f->first->id;
    other.time_ms++;
    assert_null(tg_registry_find(&f->registry, &other));
    other = f->first->id;
    other.serial++;
    assert_null(tg_registry_find(&f->registry, &other));
    assert_null(tg_registry_find_serial(&f->registry, other.serial));
}

static void what_is_removed_is_not_found(void **state)
{
    struct fixture *f = *state;
    size_t cursor = 0;
    f->second->id.serial++;
    assert_int_equal(tg_registry_add(&f->registry, f->first, &f->metrics), TG_ERR_OK);
    assert_int_equal(tg_registry_add(&f->registry, f->second, &f->metrics), TG_ERR_OK);
    tg_registry_remove(&f->registry, &f->first->id);
    tg_registry_remove(&f->registry, &f->first->id);
    assert_null(tg_registry_find(&f->registry, &f->first->id));
    assert_int_equal(tg_registry_count(&f->registry), 1);
    assert_ptr_equal(tg_registry_next(&f->registry, &cursor), f->second);
    assert_null(tg_registry_next(&f->registry, &cursor));
}

static void no_memory_registers_nothing(void **state)
{
    struct fixture *f = *state;
    (void)tg_memory_fail_after(0, 1);
    enum tg_err err = tg_registry_add(&f->registry, f->first, &f->metrics);
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(err, TG_ERR_NOMEM);
    assert_int_equal(tg_registry_count(&f->registry), 0);
    assert_int_equal(tg_counter_get(&f->metrics.duplicate_registrations), 0);
}

/* As accept gives them, from `from` on: one sort of row that a worker's serials make. */
static void fill(struct tg_conn *conns, uint64_t from, uint64_t step)
{
    for (size_t i = 0; i < MANY; i++)
        conns[i].id = (struct tg_conn_id){1757500188434, from + i * step, i};
}

static void check_against_model(const struct tg_registry *registry, struct tg_conn *conns,
                                const bool *present)
{
    size_t count = 0;
    size_t seen = 0;
    size_t cursor = 0;
    for (size_t i = 0; i < MANY; i++) {
        assert_ptr_equal(tg_registry_find_serial(registry, conns[i].id.serial),
                         present[i] ? &conns[i] : NULL);
        count += present[i];
    }
    assert_int_equal(tg_registry_count(registry), count);
    for (struct tg_conn *conn = tg_registry_next(registry, &cursor); conn != NULL;
         conn = tg_registry_next(registry, &cursor)) {
        assert_true(present[conn - conns]);
        seen++;
    }
    assert_int_equal(seen, count);
}

static void behaves_like_an_array(struct fixture *f, uint64_t from, uint64_t step)
{
    struct tg_conn *conns = tg_xcalloc(MANY, sizeof *conns);
    bool present[MANY] = {false};
    fill(conns, from, step);
    srand(13);
    for (int round = 0; round < 30000; round++) {
        size_t i = (size_t)rand() % MANY;
        /* Times of coming and times of going, so that rows of every length come up. */
        int coming = round / 3000 % 2 == 0 ? 8 : 2;
        if (rand() % 10 >= coming) {
            tg_registry_remove(&f->registry, &conns[i].id);
            present[i] = false;
        } else if (!present[i]) {
            assert_int_equal(tg_registry_add(&f->registry, &conns[i], &f->metrics), TG_ERR_OK);
            present[i] = true;
        }
        if (round % 500 == 0)
            check_against_model(&f->registry, conns, present);
    }
    check_against_model(&f->registry, conns, present);
    tg_registry_fini(&f->registry);
    tg_free(conns);
}

static void all_are_found_who_came_in_any_order_and_did_not_go(void **state)
{
    behaves_like_an_array(*state, 0x010000000001, 1);
    behaves_like_an_array(*state, 0xff0000000000 - 100, 1);
    behaves_like_an_array(*state, 0, 4096); /* most have gone, by a rule */
}

static void a_table_that_cannot_grow_keeps_those_it_has(void **state)
{
    struct fixture *f = *state;
    struct tg_conn *conns = tg_xcalloc(MANY, sizeof *conns);
    bool present[MANY] = {false};
    size_t count = 0;
    fill(conns, 1, 1);
    (void)tg_memory_fail_after(2, 1);
    while (tg_registry_add(&f->registry, &conns[count], &f->metrics) == TG_ERR_OK)
        present[count++] = true;
    (void)tg_memory_fail_after(-1, 0);
    assert_int_equal(count, 24); /* of 32 */
    check_against_model(&f->registry, conns, present);
    assert_int_equal(tg_registry_add(&f->registry, &conns[0], &f->metrics), TG_ERR_EXISTS);
    assert_int_equal(tg_registry_add(&f->registry, &conns[count], &f->metrics), TG_ERR_OK);
    present[count] = true;
    check_against_model(&f->registry, conns, present);
    tg_registry_fini(&f->registry);
    tg_free(conns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_second_registration_is_refused_and_the_first_machine_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(finding_by_id_needs_all_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_removed_is_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(no_memory_registers_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(all_are_found_who_came_in_any_order_and_did_not_go, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_table_that_cannot_grow_keeps_those_it_has, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
