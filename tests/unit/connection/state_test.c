/* state_test.c - the state machine against a second copy of its table, written as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "connection/state.h"
#include "support/log_capture.h"

/* As the design page has it, not as the code has it: "from: to to …". */
static const char *const table[] = {
    "connecting: accepted failed closed",
    "accepted: authenticated closing failed closed",
    "authenticated: services_ready degraded closing failed closed",
    "services_ready: processing_ready degraded closing failed closed",
    "processing_ready: processing idle degraded closing failed closed",
    "processing: processing_ready idle degraded closing failed closed",
    "idle: processing processing_ready degraded closing failed closed",
    "degraded: processing_ready processing idle reconnecting closing failed closed",
    "reconnecting: services_ready processing_ready degraded closing failed closed",
    "closing: closed failed",
    "closed:",
    "failed:",
};

static const struct tg_conn_id id = {1757500188434, 0x010000000a2f, 0x92a8758b5c1f77aa};
static const char id_text[] = "ws_1757500188434_010000000a2f_92a8758b5c1f77aa";

static bool table_allows(enum tg_state from, enum tg_state to)
{
    char begin[40], word[40], row[120];
    (void)snprintf(begin, sizeof begin, "%s:", tg_state_names[from]);
    (void)snprintf(word, sizeof word, " %s ", tg_state_names[to]);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strncmp(table[i], begin, strlen(begin)) != 0)
            continue;
        (void)snprintf(row, sizeof row, "%s ", table[i] + strlen(begin));
        return strstr(row, word) != NULL;
    }
    fail_msg("no row for %s", tg_state_names[from]);
    return false;
}

/* A machine that stands in `state`, on a legal way. */
static void walk_to(struct tg_lifecycle *lifecycle, enum tg_state state, struct tg_metrics *metrics)
{
    static const enum tg_state way[TG_STATES][7] = {
        [TG_ACCEPTED] = {TG_ACCEPTED},
        [TG_AUTHENTICATED] = {TG_ACCEPTED, TG_AUTHENTICATED},
        [TG_SERVICES_READY] = {TG_ACCEPTED, TG_AUTHENTICATED, TG_SERVICES_READY},
        [TG_PROCESSING_READY] = {TG_ACCEPTED, TG_AUTHENTICATED, TG_SERVICES_READY,
                                 TG_PROCESSING_READY},
        [TG_PROCESSING] = {TG_ACCEPTED, TG_AUTHENTICATED, TG_SERVICES_READY, TG_PROCESSING_READY,
                           TG_PROCESSING},
        [TG_IDLE] = {TG_ACCEPTED, TG_AUTHENTICATED, TG_SERVICES_READY, TG_PROCESSING_READY,
                     TG_IDLE},
        [TG_DEGRADED] = {TG_ACCEPTED, TG_AUTHENTICATED, TG_DEGRADED},
        [TG_RECONNECTING] = {TG_ACCEPTED, TG_AUTHENTICATED, TG_DEGRADED, TG_RECONNECTING},
        [TG_CLOSING] = {TG_ACCEPTED, TG_CLOSING},
        [TG_CLOSED] = {TG_CLOSED},
        [TG_FAILED] = {TG_FAILED},
    };
    tg_lifecycle_init(lifecycle, metrics);
    for (size_t i = 0; i < 7 && way[state][i] != TG_CONNECTING; i++)
        assert_int_equal(tg_lifecycle_move(lifecycle, way[state][i], "way", &id, metrics),
                         TG_ERR_OK);
    assert_int_equal(tg_lifecycle_state(lifecycle), state);
}

static void check_gauge(const struct tg_metrics *metrics, enum tg_state only)
{
    for (size_t i = 0; i < TG_STATES; i++)
        assert_int_equal(tg_counter_get(&metrics->states[i]), i == only);
}

static void check_move(enum tg_state from, enum tg_state to)
{
    struct tg_metrics metrics = {0};
    struct tg_lifecycle lifecycle;
    walk_to(&lifecycle, from, &metrics);
    struct tg_lifecycle before = lifecycle;
    uint64_t attempted = tg_counter_get(&metrics.transitions_attempted);
    uint64_t made = tg_counter_get(&metrics.transitions[from][to]);
    log_capture_clear();
    enum tg_err err = tg_lifecycle_move(&lifecycle, to, "why", &id, &metrics);
    bool allowed = table_allows(from, to);
    if (err != (allowed ? TG_ERR_OK : TG_ERR_ILLEGAL))
        fail_msg("%s -> %s: %s", tg_state_names[from], tg_state_names[to], tg_err_text(err));
    assert_int_equal(tg_state_allows(from, to), allowed);
    assert_int_equal(tg_counter_get(&metrics.transitions_attempted), attempted + 1);
    assert_int_equal(tg_counter_get(&metrics.transitions[from][to]), made + allowed);
    assert_int_equal(tg_counter_get(&metrics.invalid_transitions), !allowed);
    assert_int_equal(tg_hourly_last_day(&metrics.invalid_transitions_by_hour, tg_clock_wall_ms()),
                     !allowed);
    check_gauge(&metrics, allowed ? to : from);
    if (!allowed) {
        char fields[200];
        (void)snprintf(fields, sizeof fields, "conn.invalid_transition id=%s from=%s to=%s",
                       id_text, tg_state_names[from], tg_state_names[to]);
        assert_memory_equal(&lifecycle, &before, sizeof before);
        assert_int_equal(log_capture_count(), 1);
        assert_non_null(strstr(log_capture_last(), fields));
        assert_non_null(strstr(log_capture_last(), "error"));
        return;
    }
    assert_false(log_capture_has("invalid_transition"));
    struct tg_transition last;
    assert_true(tg_lifecycle_transition(&lifecycle, before.kept, &last));
    assert_int_equal(last.from, from);
    assert_int_equal(last.to, to);
    assert_string_equal(last.reason, "why");
    assert_true(last.at_ms <= tg_clock_wall_ms() && last.at_ms + 60000 > tg_clock_wall_ms());
}

static void every_pair_is_as_the_table_says(void **state)
{
    (void)state;
    log_capture_start();
    for (size_t from = 0; from < TG_STATES; from++)
        for (size_t to = 0; to < TG_STATES; to++)
            check_move((enum tg_state)from, (enum tg_state)to);
    log_capture_stop();
}

static void states_outside_of_the_table_are_refused(void **state)
{
    (void)state;
    struct tg_metrics metrics = {0};
    struct tg_lifecycle lifecycle;
    log_capture_start();
    tg_lifecycle_init(&lifecycle, &metrics);
    assert_int_equal(tg_lifecycle_move(&lifecycle, TG_STATES, "why", &id, &metrics),
                     TG_ERR_ILLEGAL);
    assert_int_equal(tg_lifecycle_move(&lifecycle, (enum tg_state)200, "why", &id, &metrics),
                     TG_ERR_ILLEGAL);
    assert_int_equal(tg_counter_get(&metrics.invalid_transitions), 2);
    assert_int_equal(tg_lifecycle_state(&lifecycle), TG_CONNECTING);
    log_capture_stop();
}

static void connecting_to_services_ready_is_refused(void **state)
{
    (void)state;
    log_capture_start();
    check_move(TG_CONNECTING, TG_SERVICES_READY);
    assert_false(table_allows(TG_CONNECTING, TG_SERVICES_READY));
    log_capture_stop();
}

static void kinds_of_states(void **state)
{
    (void)state;
    static const char setup[] = " connecting accepted authenticated services_ready ";
    static const char operational[] = " processing_ready processing idle degraded ";
    static const char final[] = " closed failed ";
    for (size_t i = 0; i < TG_STATES; i++) {
        char word[40];
        (void)snprintf(word, sizeof word, " %s ", tg_state_names[i]);
        enum tg_state s = (enum tg_state)i;
        assert_int_equal(tg_state_is_setup(s), strstr(setup, word) != NULL);
        assert_int_equal(tg_state_is_operational(s), strstr(operational, word) != NULL);
        assert_int_equal(tg_state_is_final(s), strstr(final, word) != NULL);
    }
}

/* Up and down between two states, so that the ring turns several times. */
static void the_ring_keeps_the_latest_in_order(void **state)
{
    (void)state;
    struct tg_metrics metrics = {0};
    struct tg_lifecycle lifecycle;
    walk_to(&lifecycle, TG_PROCESSING_READY, &metrics);
    struct tg_transition last, t;
    assert_false(tg_lifecycle_transition(&lifecycle, 4, &t));
    assert_true(tg_lifecycle_transition(&lifecycle, 0, &t));
    assert_int_equal(t.from, TG_CONNECTING);
    for (size_t made = 5; made < 45; made++) {
        bool up = tg_lifecycle_state(&lifecycle) == TG_PROCESSING_READY;
        assert_int_equal(tg_lifecycle_move(&lifecycle, up ? TG_PROCESSING : TG_PROCESSING_READY,
                                           up ? "up" : "down", &id, &metrics),
                         TG_ERR_OK);
        size_t kept = made < TG_TRANSITIONS_KEPT ? made : TG_TRANSITIONS_KEPT;
        assert_false(tg_lifecycle_transition(&lifecycle, kept, &last));
        for (size_t i = 0; i < kept; i++) {
            assert_true(tg_lifecycle_transition(&lifecycle, i, &t));
            assert_true(table_allows(t.from, t.to));
            if (i > 0)
                assert_int_equal(t.from, last.to);
            last = t;
        }
        assert_int_equal(last.to, tg_lifecycle_state(&lifecycle));
        assert_string_equal(last.reason, up ? "up" : "down");
    }
}

static void the_gauge_forgets_at_the_end(void **state)
{
    (void)state;
    struct tg_metrics metrics = {0};
    struct tg_lifecycle a, b;
    tg_lifecycle_init(&a, &metrics);
    walk_to(&b, TG_IDLE, &metrics);
    assert_int_equal(tg_counter_get(&metrics.states[TG_CONNECTING]), 1);
    assert_int_equal(tg_counter_get(&metrics.states[TG_IDLE]), 1);
    tg_lifecycle_fini(&a, &metrics);
    tg_lifecycle_fini(&b, &metrics);
    check_gauge(&metrics, TG_STATES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_is_as_the_table_says),
        cmocka_unit_test(states_outside_of_the_table_are_refused),
        cmocka_unit_test(connecting_to_services_ready_is_refused),
        cmocka_unit_test(kinds_of_states),
        cmocka_unit_test(the_ring_keeps_the_latest_in_order),
        cmocka_unit_test(the_gauge_forgets_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
