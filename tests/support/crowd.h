/* crowd.h - many streams of a net that leads, whose other ends are plain sockets, and a test that acts before each turn.
 */
#ifndef TG_TESTS_SUPPORT_CROWD_H
#define TG_TESTS_SUPPORT_CROWD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <uv.h>

#include "net/net_internal.h"

#define CROWD 24

struct end {
    struct tg_stream *stream; /* NULL once closed */
    int peer;
    uint8_t said, heard; /* the next byte of each */
    size_t received;
    int ends, writtens;
    enum tg_err err;
    void (*acts)(struct end *on); /* when it reads next; once */
    struct end *on;
};

struct crowd {
    uv_loop_t loop;
    uv_timer_t timer; /* the loop has to have something; when it fires, all ends */
    struct tg_net *net;
    struct end *ends;
    size_t count;
    bool talk_first; /* all are talkers before the first step, in phase 0 */
    void (*begin)(struct crowd *crowd);
    bool (*step)(struct crowd *crowd);
    int turns;
    int phase, since; /* of a step: what it does, and from which turn on */
};

struct crowd *crowd_gather(size_t count);
void crowd_go_home(struct crowd *crowd);
void crowd_end_in(struct crowd *crowd, uint64_t ms);
/* A crowd from its gathering to its end. `step` comes before every turn, and false is the end. */
void crowd_play(size_t count, bool (*step)(struct crowd *crowd));
/* The same of one that becomes talkers first: `begin` (NULL: nothing) comes as soon as they are, and the steps after it. */
void crowd_play_talkers(size_t count, void (*begin)(struct crowd *crowd),
                        bool (*step)(struct crowd *crowd));

/* What each says goes on where it stopped, so that what is lost, doubled or out of order shows when it is heard. */
void say(struct end *end, size_t len);
void say_all(struct crowd *crowd, size_t from, size_t to);
void assert_all_heard(const struct crowd *crowd);

/* For `acts`. */
void close_it(struct end *on);
void stop_it(struct end *on);

/* How many are talkers. */
size_t talking(const struct crowd *crowd);
/* Everybody speaks until all are talkers; then the phase is 1. */
void become_talkers(struct crowd *crowd);
void next_phase(struct crowd *crowd);
/* So many turns since the phase began. */
bool passed(const struct crowd *crowd, int turns);

#endif
