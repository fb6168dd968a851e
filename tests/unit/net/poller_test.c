/* poller_test.c - many streams on one loop: news of several at once, news that come while nobody wants them, and
 * the end of streams when the loop has no more turns. The other ends are plain sockets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "net/net_internal.h"
#include "support/too_much.h"

#define ENDS 4

struct end {
    struct fixture *fixture;
    struct tg_stream *stream; /* NULL once closed */
    int peer;
    size_t received;
    int reads, ends, writtens, closeds;
    int again; /* how often on_written writes */
    bool close_when_written;
};

struct fixture {
    uv_loop_t loop;
    struct tg_net *net;
    struct end ends[ENDS];
    bool first_closes_others;
    bool destroyed;
};

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct end *end = ctx;

    assert_int_equal(end->closeds, 0);
    (void)data;
    end->received += len;
    end->reads++;
    if (!end->fixture->first_closes_others)
        return;
    end->fixture->first_closes_others = false;
    for (size_t i = 0; i < ENDS; i++)
        if (&end->fixture->ends[i] != end)
            tg_stream_close(end->fixture->ends[i].stream);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct end *end = ctx;

    (void)err;
    (void)why;
    end->ends++;
}

static void on_written(void *ctx)
{
    struct end *end = ctx;

    assert_false(tg_stream_is_writing(end->stream));
    end->writtens++;
    if (end->again-- > 0)
        write_too_much(end->stream);
    else if (end->close_when_written)
        tg_stream_close(end->stream);
}

static void on_closed(void *ctx)
{
    struct end *end = ctx;

    end->closeds++;
    end->stream = NULL;
}

static const struct tg_stream_callbacks callbacks = {on_read, on_end, on_written, on_closed};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    if (fixture == NULL || uv_loop_init(&fixture->loop) != 0 ||
        tg_net_create(&fixture->net, &fixture->loop) != TG_ERR_OK)
        return -1;
    for (size_t i = 0; i < ENDS; i++) {
        struct end *end = &fixture->ends[i];
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0 ||
            tg__stream_adopt(&end->stream, fixture->net, pair[0]) != TG_ERR_OK)
            return -1;
        end->fixture = fixture;
        end->peer = pair[1];
        tg_stream_bind(end->stream, &callbacks, end);
    }
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ENDS; i++) {
        if (fixture->ends[i].stream != NULL)
            tg_stream_close(fixture->ends[i].stream);
        close(fixture->ends[i].peer);
    }
    if (!fixture->destroyed)
        tg_net_destroy(fixture->net);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&fixture->loop);
    free(fixture);
    return status;
}

static void turn(struct fixture *fixture)
{
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

static void read_all(struct fixture *fixture)
{
    for (size_t i = 0; i < ENDS; i++)
        assert_int_equal(tg_stream_read_start(fixture->ends[i].stream), TG_ERR_OK);
}

static void say(const struct end *end)
{
    assert_int_equal(send(end->peer, "hello", 5, MSG_NOSIGNAL), 5);
}

/* All of them are in one batch of events, and two of them are closed before their turn in it. */
static void a_stream_that_another_closes_hears_no_news_of_before(void **state)
{
    struct fixture *fixture = *state;
    int reads = 0, closeds = 0;

    read_all(fixture);
    fixture->first_closes_others = true;
    for (size_t i = 0; i < ENDS; i++)
        say(&fixture->ends[i]);
    turn(fixture);
    turn(fixture);
    for (size_t i = 0; i < ENDS; i++) {
        reads += fixture->ends[i].reads;
        closeds += fixture->ends[i].closeds;
    }
    assert_int_equal(reads, 1);
    assert_int_equal(closeds, ENDS - 1);
}

/* The kernel tells of them once; it is the stream that remembers. */
static void bytes_and_the_end_that_came_while_nobody_read_are_there_later(void **state)
{
    struct fixture *fixture = *state;
    struct end *end = &fixture->ends[0];

    read_all(fixture);
    tg_stream_read_stop(end->stream);
    say(end);
    turn(fixture);
    say(end);
    assert_int_equal(shutdown(end->peer, SHUT_WR), 0);
    turn(fixture);
    turn(fixture);
    assert_int_equal(end->reads + end->ends, 0);
    assert_int_equal(tg_stream_read_start(end->stream), TG_ERR_OK);
    assert_int_equal(end->reads, 0); /* from the loop, never from inside */
    for (int i = 0; i < 4; i++)
        turn(fixture);
    assert_int_equal(end->received, 10);
    assert_int_equal(end->ends, 1);
}

/* A Unix socket tells by other rules than TCP when there is room again. */
static void what_a_full_unix_socket_did_not_take_goes_out_when_it_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct end *end = &fixture->ends[0];
    static uint8_t chunk[65536];
    size_t got = 0;

    write_too_much(end->stream);
    for (int turns = 0; got < TOO_MUCH; turns++) {
        assert_true(turns < 100000);
        ssize_t n = recv(end->peer, chunk, sizeof chunk, 0);
        got += n > 0 ? (size_t)n : 0;
        turn(fixture);
    }
    assert_int_equal(got, TOO_MUCH);
    assert_int_equal(end->writtens, 1);
    assert_false(end->stream->room_asked); /* there is enough again */
}

/* While the stream is being told that nothing is pending any more. */
static void what_is_written_in_on_written_goes_out_as_well_and_so_does_a_close(void **state)
{
    struct fixture *fixture = *state;
    struct end *end = &fixture->ends[0];
    static uint8_t chunk[65536];
    size_t got = 0;

    end->again = 2;
    end->close_when_written = true;
    write_too_much(end->stream);
    for (int turns = 0; got < 3 * TOO_MUCH; turns++) {
        assert_true(turns < 100000);
        ssize_t n = recv(end->peer, chunk, sizeof chunk, 0);
        got += n > 0 ? (size_t)n : 0;
        turn(fixture);
    }
    turn(fixture);
    assert_int_equal(end->writtens, 3);
    assert_int_equal(end->closeds, 1);
    assert_int_equal(recv(end->peer, chunk, sizeof chunk, 0), 0);
}

/* More than one read of it. */
static void a_failed_write_waits_for_all_that_the_peer_said_before(void **state)
{
    struct fixture *fixture = *state;
    struct end *end = &fixture->ends[0];
    static uint8_t said[TG_NET_READ_SIZE + 4096];

    read_all(fixture);
    write_too_much(end->stream);
    assert_int_equal(send(end->peer, said, sizeof said, MSG_NOSIGNAL), sizeof said);
    close(end->peer);
    end->peer = -1;
    for (int i = 0; i < 6; i++)
        turn(fixture);
    assert_int_equal(end->received, sizeof said);
    assert_int_equal(end->ends, 1);
    assert_int_equal(end->writtens, 0);
    assert_false(tg_stream_is_writing(end->stream));
}

/* It would wake the loop once more for each message. */
static void a_peer_that_reads_what_was_written_is_no_news(void **state)
{
    struct fixture *fixture = *state;
    struct end *end = &fixture->ends[0];
    struct tg_buffer bytes = TG_BUFFER_INIT;
    struct epoll_event event;
    char got[5];

    read_all(fixture);
    assert_int_equal(tg_buffer_append(&bytes, "hello", 5), TG_ERR_OK);
    assert_int_equal(tg_stream_write(end->stream, &bytes), TG_ERR_OK);
    assert_int_equal(recv(end->peer, got, sizeof got, 0), 5);
    assert_int_equal(epoll_wait(fixture->net->epoll_fd, &event, 1, 0), 0);
    tg_buffer_fini(&bytes);
}

static void closed_streams_go_without_a_turn_of_the_loop_and_others_stay(void **state)
{
    struct fixture *fixture = *state;

    read_all(fixture);
    tg_stream_close(fixture->ends[0].stream);
    tg_stream_close(fixture->ends[2].stream);
    assert_int_equal(fixture->ends[0].closeds, 0);
    tg_net_settle(fixture->net);
    assert_int_equal(fixture->ends[0].closeds, 1);
    assert_int_equal(fixture->ends[1].closeds, 0);
    assert_int_equal(fixture->ends[2].closeds, 1);
    say(&fixture->ends[1]);
    turn(fixture);
    assert_int_equal(fixture->ends[1].received, 5);
}

/* It has another turn after that, and the other has none. */
static void who_stood_behind_a_stream_that_goes_on_reading_may_be_gone(void **state)
{
    struct fixture *fixture = *state;
    struct end *reader = &fixture->ends[0], *closed = &fixture->ends[1];
    static uint8_t said[TG_NET_READ_SIZE + 4096];

    assert_int_equal(send(reader->peer, said, sizeof said, MSG_NOSIGNAL), sizeof said);
    turn(fixture); /* nobody reads yet */
    assert_int_equal(tg_stream_read_start(reader->stream), TG_ERR_OK);
    tg_stream_close(closed->stream);
    turn(fixture);
    assert_int_equal(reader->received, TG_NET_READ_SIZE);
    assert_int_equal(closed->closeds, 1);
    turn(fixture);
    assert_int_equal(reader->received, sizeof said);
    assert_int_equal(closed->closeds, 1);
}

/* It is news of the kernel's, and not the stream's turn. */
static void take_all_that_is_written(const struct end *end)
{
    static uint8_t chunk[65536];

    while (tg_stream_is_writing(end->stream)) {
        while (recv(end->peer, chunk, sizeof chunk, 0) > 0) {
        }
        tg__socket_ready(end->stream, EPOLLOUT);
    }
}

/* One that begins to write, and one that is done, keeps its place in the list elsewhere. */
static void streams_have_their_turns_whatever_becomes_of_their_writes_before(void **state)
{
    struct fixture *fixture = *state;
    struct end *first = &fixture->ends[0], *second = &fixture->ends[1], *third = &fixture->ends[2];

    say(first);
    say(second);
    say(third);
    turn(fixture); /* nobody reads yet */
    assert_int_equal(tg_stream_read_start(first->stream), TG_ERR_OK);
    assert_int_equal(tg_stream_read_start(second->stream), TG_ERR_OK);
    write_too_much(second->stream); /* as the last in the list */
    assert_int_equal(tg_stream_read_start(third->stream), TG_ERR_OK);
    write_too_much(first->stream);
    take_all_that_is_written(second);
    take_all_that_is_written(first);
    write_too_much(third->stream);
    assert_int_equal(first->reads + second->reads + third->reads, 0);
    turn(fixture);
    assert_int_equal(first->received, 5);
    assert_int_equal(second->received, 5);
    assert_int_equal(third->received, 5);
    assert_int_equal(first->writtens + second->writtens, 2);
    assert_int_equal(third->writtens, 0);
    take_all_that_is_written(third);
    assert_int_equal(third->writtens, 1);
}

static void closed_streams_go_from_between_others_that_write(void **state)
{
    struct fixture *fixture = *state;
    struct end *kept = &fixture->ends[1], *later = &fixture->ends[3];

    say(kept);
    say(later);
    turn(fixture);
    tg_stream_close(fixture->ends[0].stream);
    assert_int_equal(tg_stream_read_start(kept->stream), TG_ERR_OK);
    write_too_much(kept->stream);
    write_too_much(fixture->ends[2].stream);
    tg_stream_close(fixture->ends[2].stream);
    tg_net_settle(fixture->net);
    assert_int_equal(fixture->ends[0].closeds, 1);
    assert_int_equal(fixture->ends[2].closeds, 1);
    assert_int_equal(kept->closeds + kept->reads, 0);
    assert_int_equal(tg_stream_read_start(later->stream), TG_ERR_OK);
    turn(fixture);
    assert_int_equal(kept->received, 5);
    assert_int_equal(later->received, 5);
}

/* As when there are no more watches; epoll takes no files. */
static void a_descriptor_that_cannot_be_watched_is_let_go(void **state)
{
    struct fixture *fixture = *state;
    struct tg_stream *stream;
    int fd = memfd_create("file", MFD_CLOEXEC);

    assert_int_not_equal(fd, -1);
    assert_int_equal(tg__stream_adopt(&stream, fixture->net, fd), TG_ERR_SYS);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    turn(fixture);
    assert_int_equal(fixture->net->streams, ENDS);
}

/* Whoever has the loop runs it until it has nothing more to do. */
static void the_loop_lives_as_long_as_streams_and_the_net_goes_after_the_last(void **state)
{
    struct fixture *fixture = *state;

    turn(fixture);
    assert_true(uv_loop_alive(&fixture->loop));
    tg_net_destroy(fixture->net);
    fixture->destroyed = true;
    say(&fixture->ends[0]);
    assert_int_equal(tg_stream_read_start(fixture->ends[0].stream), TG_ERR_OK);
    turn(fixture);
    assert_int_equal(fixture->ends[0].received, 5);
    for (size_t i = 0; i < ENDS; i++)
        tg_stream_close(fixture->ends[i].stream);
    assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(fixture->ends[0].closeds, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stream_that_another_closes_hears_no_news_of_before),
        TEST(bytes_and_the_end_that_came_while_nobody_read_are_there_later),
        TEST(what_a_full_unix_socket_did_not_take_goes_out_when_it_is_read),
        TEST(what_is_written_in_on_written_goes_out_as_well_and_so_does_a_close),
        TEST(a_failed_write_waits_for_all_that_the_peer_said_before),
        TEST(a_peer_that_reads_what_was_written_is_no_news),
        TEST(closed_streams_go_without_a_turn_of_the_loop_and_others_stay),
        TEST(who_stood_behind_a_stream_that_goes_on_reading_may_be_gone),
        TEST(streams_have_their_turns_whatever_becomes_of_their_writes_before),
        TEST(closed_streams_go_from_between_others_that_write),
        TEST(a_descriptor_that_cannot_be_watched_is_let_go),
        TEST(the_loop_lives_as_long_as_streams_and_the_net_goes_after_the_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
