/* stream_io_test.c - sockets that are read one after the other before the first of their owners hears of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "support/crowd.h"

static bool everybody_says_more_than_is_read_ahead(struct crowd *crowd)
{
    for (size_t i = 0; crowd->turns % 3 == 0 && i < crowd->count; i++)
        say(&crowd->ends[i], 7000 + i);
    if (crowd->turns % 3 == 2)
        assert_all_heard(crowd);
    if (crowd->turns == 5)
        assert_true(crowd->net->ahead_rest > 0);
    return crowd->turns < 300;
}

static void long_words_arrive_whole_and_in_order(void **state)
{
    (void)state;
    crowd_play(CROWD, everybody_says_more_than_is_read_ahead);
}

/* The second has been read when the first stops it: it hears that, and no more until it reads again. */
static bool one_stops_another(struct crowd *crowd)
{
    struct end *stopped = &crowd->ends[1];

    if (crowd->turns == 1) {
        crowd->ends[0].acts = stop_it;
        crowd->ends[0].on = stopped;
        say_all(crowd, 0, 2);
        return true;
    }
    if (crowd->turns == 2) {
        assert_all_heard(crowd);
        say(stopped, 5);
    } else if (crowd->turns == 4) {
        assert_int_equal(stopped->received, 5);
        assert_int_equal(tg_stream_read_start(stopped->stream), TG_ERR_OK);
    } else if (crowd->turns == 6) {
        assert_int_equal(stopped->received, 10);
    }
    return crowd->turns < 6;
}

static void what_was_read_ahead_is_heard_by_one_that_another_has_stopped(void **state)
{
    (void)state;
    crowd_play(2, one_stops_another);
}

/* Was read in vain, speaks, goes, and is then written to, all in one turn. */
static void say_the_last_words(struct end *on)
{
    struct tg_buffer bytes = TG_BUFFER_INIT;

    assert_int_equal(on->heard, on->said);
    say(on, 5);
    assert_int_equal(close(on->peer), 0);
    on->peer = -1;
    assert_int_equal(tg_buffer_append(&bytes, "x", 1), TG_ERR_OK);
    assert_int_equal(tg_stream_write(on->stream, &bytes), TG_ERR_OK);
    tg_buffer_fini(&bytes);
}

static bool one_says_the_last_words(struct crowd *crowd)
{
    struct end *last_speaker = &crowd->ends[3];

    if (crowd->phase == 1 && crowd->net->talkers.guessed == 0) {
        say_all(crowd, 0, CROWD); /* until the next turn is a guess */
        return true;
    }
    if (crowd->phase == 1) {
        crowd->ends[0].acts = say_the_last_words;
        crowd->ends[0].on = last_speaker;
        say_all(crowd, 0, 3);
        next_phase(crowd);
    } else if (passed(crowd, 3)) {
        assert_null(crowd->ends[0].acts);
        assert_int_equal(last_speaker->ends, 1);
        assert_int_equal(last_speaker->err, TG_ERR_SYS);
        assert_all_heard(crowd);
    }
    return !passed(crowd, 3);
}

static void last_words_are_heard_before_a_write_that_failed(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, NULL, one_says_the_last_words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_words_arrive_whole_and_in_order),
        cmocka_unit_test(what_was_read_ahead_is_heard_by_one_that_another_has_stopped),
        cmocka_unit_test(last_words_are_heard_before_a_write_that_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
