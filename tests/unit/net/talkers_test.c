/* talkers_test.c - a crowd that speaks every turn is asked by poll(2): who is of it, who leaves it, and that everybody
 * is heard, in order, wherever they are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/crowd.h"
#include "support/too_much.h"

/* --- who becomes one -------------------------------------------------------------------------------- */

static bool everybody_speaks(struct crowd *crowd)
{
    assert_all_heard(crowd);
    assert_int_equal(talking(crowd), CROWD);
    say_all(crowd, 0, crowd->count);
    return !passed(crowd, 300);
}

static void a_crowd_that_speaks_every_turn_is_heard_every_turn(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, NULL, everybody_speaks);
}

static bool seven_speak(struct crowd *crowd)
{
    assert_int_equal(talking(crowd), 0);
    say_all(crowd, 0, 7);
    return crowd->turns < 100;
}

static void few_who_speak_every_turn_stay_with_epoll(void **state)
{
    (void)state;
    crowd_play(CROWD, seven_speak);
}

static void speak_and_be_no_talkers(struct crowd *crowd, bool speak)
{
    assert_int_equal(talking(crowd), 0);
    assert_all_heard(crowd);
    if (speak)
        say_all(crowd, 0, crowd->count);
}

static bool everybody_speaks_at_times(struct crowd *crowd)
{
    speak_and_be_no_talkers(crowd, crowd->turns % 20 == 19);
    return crowd->turns < 200;
}

static void many_who_speak_at_times_stay_with_epoll(void **state)
{
    (void)state;
    crowd_play(CROWD, everybody_speaks_at_times);
}

static bool everybody_speaks_a_few_times(struct crowd *crowd)
{
    speak_and_be_no_talkers(crowd, crowd->turns % 40 < 8);
    return crowd->turns < 400;
}

static void who_says_a_few_words_in_a_row_stays_with_epoll(void **state)
{
    (void)state;
    crowd_play(CROWD, everybody_speaks_a_few_times);
}

/* Epoll tells of 256 in a turn, so that it takes some until all are heard. */
static bool too_many_speak(struct crowd *crowd)
{
    if (crowd->phase == 0 && talking(crowd) < TG_TALKERS_MAX) {
        assert_in_range(crowd->turns, 0, 100);
        say_all(crowd, 0, crowd->count);
    } else if (crowd->phase == 0) {
        next_phase(crowd);
    } else if (passed(crowd, 8)) {
        assert_all_heard(crowd);
        say_all(crowd, 0, crowd->count);
        next_phase(crowd);
    }
    return crowd->phase < 3;
}

static void who_finds_no_place_is_heard_all_the_same(void **state)
{
    struct rlimit limit;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < TG_TALKERS_MAX * 2 + 100) /* two for each */
        skip();
    struct rlimit most = {limit.rlim_max, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &most), 0);
    crowd_play(TG_TALKERS_MAX + 10, too_many_speak);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* --- whether they are asked --------------------------------------------------------------------------- */

static int guessed_turns;

static void speak_and_count_guesses(struct crowd *crowd, size_t speakers)
{
    if (crowd->net->talkers.guessed > 0)
        guessed_turns++;
    assert_all_heard(crowd);
    say_all(crowd, 0, speakers);
}

static void lose_all_credit(struct crowd *crowd)
{
    guessed_turns = 0;
    crowd->net->talkers.credit = 0;
    say_all(crowd, 0, CROWD);
}

static bool most_speak(struct crowd *crowd)
{
    speak_and_count_guesses(crowd, crowd->turns % 4 == 0 ? CROWD : CROWD - 4);
    if (passed(crowd, 17)) /* it pays, and that shows */
        assert_in_range(crowd->net->talkers.credit, 1000, 100000);
    return !passed(crowd, 170);
}

static void when_most_speak_they_are_read_and_not_asked(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, lose_all_credit, most_speak);
    assert_in_range(guessed_turns, 158, 162); /* 16 of 17 */
}

static bool all_speak_in_every_other_turn_and_then_in_each(struct crowd *crowd)
{
    bool speak = crowd->phase > 1 || crowd->turns % 2 == 0;

    speak_and_count_guesses(crowd, speak ? CROWD : 0);
    if (crowd->phase == 1 && passed(crowd, 1000)) {
        assert_in_range(guessed_turns, 5, 40);
        guessed_turns = 0;
        next_phase(crowd);
    }
    return crowd->phase == 1 || !passed(crowd, 170);
}

static void they_are_asked_while_guesses_are_wrong(void **state)
{
    (void)state;
    guessed_turns = 0;
    crowd_play_talkers(CROWD, NULL, all_speak_in_every_other_turn_and_then_in_each);
    assert_in_range(guessed_turns, 90, 162);
}

static bool all_are_silent_in_one_turn_of_40(struct crowd *crowd)
{
    speak_and_count_guesses(crowd, crowd->turns % 40 == 0 ? 0 : CROWD);
    return !passed(crowd, 400);
}

static void a_guess_that_was_wrong_once_in_a_while_does_not_count(void **state)
{
    (void)state;
    guessed_turns = 0;
    crowd_play_talkers(CROWD, NULL, all_are_silent_in_one_turn_of_40);
    assert_in_range(guessed_turns, 350, 380);
}

static void say_much_at_last(struct crowd *crowd)
{
    say(&crowd->ends[3], 3000); /* more than is read ahead: it comes in two turns */
    say_all(crowd, 4, CROWD);
}

static bool all_others_speak(struct crowd *crowd)
{
    if (passed(crowd, 3)) {
        assert_false(crowd->ends[3].stream->waits);
        assert_all_heard(crowd);
    }
    say_all(crowd, 4, CROWD);
    return !passed(crowd, 12);
}

static void who_has_said_all_waits_no_more(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, say_much_at_last, all_others_speak);
}

/* --- who leaves -------------------------------------------------------------------------------------- */

static bool one_third_falls_silent(struct crowd *crowd)
{
    if (crowd->phase == 1 && !passed(crowd, 80)) {
        say_all(crowd, 0, 16);
        return true;
    }
    if (crowd->phase == 1) {
        assert_int_equal(talking(crowd), 16);
        say_all(crowd, 16, CROWD);
        next_phase(crowd);
        return true;
    }
    assert_all_heard(crowd);
    return false;
}

static void who_falls_silent_is_watched_by_epoll_again(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, NULL, one_third_falls_silent);
}

/* By turns, so that no one is silent for long. */
static bool one_at_a_time_speaks(struct crowd *crowd)
{
    assert_all_heard(crowd);
    if (crowd->phase == 1 && talking(crowd) == 0) {
        assert_true(passed(crowd, 50));
        next_phase(crowd);
    }
    if (crowd->phase == 1)
        say(&crowd->ends[crowd->turns % CROWD], 5);
    else /* too soon to try again */
        say_all(crowd, 0, CROWD);
    if (crowd->phase == 2)
        assert_int_equal(talking(crowd), 0);
    return crowd->phase == 1 || !passed(crowd, 500);
}

static void asking_ends_when_it_does_not_pay_and_rests(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, NULL, one_at_a_time_speaks);
}

static void dismiss_all_and_one_that_was_silent(struct crowd *crowd)
{
    struct tg_talkers *talkers = &crowd->net->talkers;

    talkers->guesses = 0;
    talkers->credit = INT_MIN / 2;
    talkers->silent[talkers->count - 1] = UINT8_MAX - 1;
    for (size_t i = 0; i < CROWD; i++)
        if (crowd->ends[i].stream != talkers->streams[talkers->count - 1])
            say(&crowd->ends[i], 5);
}

static bool all_come_back(struct crowd *crowd)
{
    struct tg_talkers *talkers = &crowd->net->talkers;

    if (crowd->phase == 1) {
        assert_int_equal(talking(crowd), 0);
        assert_int_equal(talkers->rest, 1024);
        talkers->rest = 10; /* as if the others had passed */
        next_phase(crowd);
    } else if (crowd->phase == 2 && talking(crowd) == CROWD) {
        next_phase(crowd);
    }
    assert_in_range(talkers->rest, 0, crowd->phase == 2 && !passed(crowd, 10) ? 10 : 0);
    assert_int_equal(talkers->next_rest, 2048);
    say_all(crowd, 0, CROWD);
    return crowd->phase < 3 || !passed(crowd, 10);
}

static void a_crowd_that_was_dismissed_begins_anew(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, dismiss_all_and_one_that_was_silent, all_come_back);
}

static void stop_one(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3];

    tg_stream_read_stop(end->stream);
    assert_false(end->stream->talks);
    assert_int_equal(talking(crowd), CROWD - 1);
    say_all(crowd, 0, CROWD);
}

static bool one_stops_reading(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3];

    if (crowd->phase == 1 && passed(crowd, 3)) {
        assert_int_equal((uint8_t)(end->said - end->heard), 5);
        assert_int_equal(tg_stream_read_start(end->stream), TG_ERR_OK);
        next_phase(crowd);
    }
    if (crowd->phase == 2 && passed(crowd, 2))
        assert_all_heard(crowd);
    return crowd->phase == 1 || !passed(crowd, 2);
}

static void who_stops_reading_hears_later_what_was_said(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, stop_one, one_stops_reading);
}

static void end_one_peer(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3];

    say_all(crowd, 0, CROWD);
    assert_int_equal(shutdown(end->peer, SHUT_WR), 0);
}

static bool one_peer_ends(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3];

    if (!passed(crowd, 3))
        return true;
    assert_all_heard(crowd);
    assert_int_equal(end->ends, 1);
    assert_int_equal(end->err, TG_ERR_OK);
    assert_int_equal(talking(crowd), CROWD - 1);
    return false;
}

static void the_end_of_a_peer_is_told_once_and_after_its_words(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, end_one_peer, one_peer_ends);
}

static void pair_up_over_tcp(int pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    pair[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(pair[1], (struct sockaddr *)&address, size), 0);
    pair[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(pair[0] >= 0);
    close(listener);
}

/* Of one that is a talker, which epoll does not know. */
static void go_on_over_tcp(struct end *end)
{
    int pair[2];

    pair_up_over_tcp(pair);
    assert_int_equal(dup2(pair[0], end->stream->fd), end->stream->fd);
    close(pair[0]);
    close(end->peer);
    end->peer = pair[1];
}

/* Where it stands is news in every turn until it is read over. */
static void say_an_urgent_byte(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3];

    go_on_over_tcp(end);
    struct pollfd urgent = {.fd = end->stream->fd, .events = POLLPRI};
    assert_int_equal(send(end->peer, "!", 1, MSG_OOB), 1);
    assert_int_equal(poll(&urgent, 1, 5000), 1);
}

static bool one_says_an_urgent_byte(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3];

    say_all(crowd, 0, 3);
    if (crowd->phase == 1) {
        assert_false(end->stream->talks);
        say(end, 5);
        next_phase(crowd);
    }
    return end->heard != end->said;
}

static void who_has_more_to_tell_than_bytes_is_watched_by_epoll_again(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, say_an_urgent_byte, one_says_an_urgent_byte);
}

static void let_one_write_too_much(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3];

    write_too_much(end->stream);
    assert_int_equal(talking(crowd), CROWD - 1);
}

static bool one_writes_too_much(struct crowd *crowd)
{
    static uint8_t sink[1 << 16];
    struct end *end = &crowd->ends[3];

    say_all(crowd, 0, CROWD);
    while (recv(end->peer, sink, sizeof sink, 0) > 0) {
    }
    return end->writtens == 0;
}

static void what_a_talker_writes_goes_out_when_there_is_room(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, let_one_write_too_much, one_writes_too_much);
}

static void let_one_close_another(struct crowd *crowd)
{
    crowd->ends[2].acts = close_it;
    crowd->ends[2].on = &crowd->ends[3];
    crowd->ends[20].acts = close_it;
    crowd->ends[20].on = &crowd->ends[1];
    say_all(crowd, 0, CROWD);
}

static bool one_closes_another(struct crowd *crowd)
{
    if (passed(crowd, 2)) {
        assert_null(crowd->ends[1].stream);
        assert_null(crowd->ends[3].stream);
        crowd->ends[1].heard = crowd->ends[1].said;
        crowd->ends[3].heard = crowd->ends[3].said;
        assert_all_heard(crowd);
        assert_int_equal(talking(crowd), CROWD - 2);
        say_all(crowd, 4, CROWD);
    }
    return !passed(crowd, 20);
}

static void others_are_heard_when_one_closes_another_in_the_same_turn(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, let_one_close_another, one_closes_another);
}

/* Its descriptor leads to a file from here on, which epoll refuses as it does when watches are out. */
static void spoil_the_watch_of_one(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3];
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_int_equal(dup2(file, end->stream->fd), end->stream->fd);
    close(file);
    tg_stream_read_stop(end->stream);
    say_all(crowd, 4, CROWD);
}

static bool one_cannot_be_watched_again(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3];

    if (!passed(crowd, 2))
        return true;
    assert_int_equal(end->ends, 1);
    assert_int_equal(end->err, TG_ERR_SYS);
    assert_all_heard(crowd);
    return false;
}

static void who_cannot_be_watched_again_is_lost_and_told_so(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, spoil_the_watch_of_one, one_cannot_be_watched_again);
}

/* Epoll has news of another in that turn, and would have of this one if it were told to watch it so soon. */
static void let_one_stop_itself_when_all_are_dismissed(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3], *other = &crowd->ends[CROWD - 1];

    tg_stream_read_stop(other->stream);
    assert_int_equal(tg_stream_read_start(other->stream), TG_ERR_OK);
    say(other, 5);
    say_all(crowd, 0, 3);
    end->received = 0;
    say(end, 5000); /* more than is read ahead */
    end->acts = stop_it;
    end->on = end;
    crowd->net->talkers.credit = INT_MIN / 2;
}

static bool one_stops_itself_when_all_are_dismissed(struct crowd *crowd)
{
    struct end *end = &crowd->ends[3];

    assert_int_equal(talking(crowd), 0);
    assert_in_range(end->received, 1, 2048);
    return !passed(crowd, 3);
}

static void who_stops_in_the_turn_in_which_all_are_dismissed_hears_no_more(void **state)
{
    (void)state;
    crowd_play_talkers(CROWD, let_one_stop_itself_when_all_are_dismissed,
                       one_stops_itself_when_all_are_dismissed);
}

/* --- beside them ------------------------------------------------------------------------------------- */

static bool a_quiet_one_speaks(struct crowd *crowd)
{
    struct end *quiet = &crowd->ends[CROWD];

    say_all(crowd, 0, CROWD);
    if (crowd->turns == 30) {
        assert_int_equal(talking(crowd), CROWD);
        say(quiet, 5);
    } else if (crowd->turns == 31) {
        assert_int_equal(quiet->received, 5);
    }
    return crowd->turns < 40;
}

static void who_is_no_talker_is_heard_in_the_same_turn(void **state)
{
    (void)state;
    crowd_play(CROWD + 1, a_quiet_one_speaks);
}

static int credit_awake;

static bool sleep_before_wait(void *ctx)
{
    struct crowd *crowd = ctx;

    if (crowd->phase == 0) {
        crowd->turns++;
        become_talkers(crowd);
        return true;
    }
    if (crowd->phase == 1) {
        next_phase(crowd);
        crowd_end_in(crowd, 20);
        credit_awake = crowd->net->talkers.credit;
    }
    crowd->turns++;
    return false;
}

static void a_net_with_talkers_sleeps_until_its_timer_is_due(void **state)
{
    struct crowd *crowd = crowd_gather(CROWD);

    (void)state;
    tg_net_run(crowd->net, sleep_before_wait, crowd);
    assert_int_equal(crowd->phase, 2);
    /* A timer may be due a little later than the kernel wakes. */
    assert_in_range(crowd->turns - crowd->since, 1, 10);
    /* It has been counted what that costs: a place in the queue of each. */
    assert_true(crowd->net->talkers.credit < credit_awake - 5 * CROWD);
    crowd_go_home(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crowd_that_speaks_every_turn_is_heard_every_turn),
        cmocka_unit_test(few_who_speak_every_turn_stay_with_epoll),
        cmocka_unit_test(many_who_speak_at_times_stay_with_epoll),
        cmocka_unit_test(who_says_a_few_words_in_a_row_stays_with_epoll),
        cmocka_unit_test(who_finds_no_place_is_heard_all_the_same),
        cmocka_unit_test(when_most_speak_they_are_read_and_not_asked),
        cmocka_unit_test(they_are_asked_while_guesses_are_wrong),
        cmocka_unit_test(a_guess_that_was_wrong_once_in_a_while_does_not_count),
        cmocka_unit_test(who_has_said_all_waits_no_more),
        cmocka_unit_test(who_falls_silent_is_watched_by_epoll_again),
        cmocka_unit_test(asking_ends_when_it_does_not_pay_and_rests),
        cmocka_unit_test(a_crowd_that_was_dismissed_begins_anew),
        cmocka_unit_test(who_stops_reading_hears_later_what_was_said),
        cmocka_unit_test(the_end_of_a_peer_is_told_once_and_after_its_words),
        cmocka_unit_test(who_has_more_to_tell_than_bytes_is_watched_by_epoll_again),
        cmocka_unit_test(what_a_talker_writes_goes_out_when_there_is_room),
        cmocka_unit_test(others_are_heard_when_one_closes_another_in_the_same_turn),
        cmocka_unit_test(who_cannot_be_watched_again_is_lost_and_told_so),
        cmocka_unit_test(who_stops_in_the_turn_in_which_all_are_dismissed_hears_no_more),
        cmocka_unit_test(who_is_no_talker_is_heard_in_the_same_turn),
        cmocka_unit_test(a_net_with_talkers_sleeps_until_its_timer_is_due),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
