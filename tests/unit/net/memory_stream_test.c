/* memory_stream_test.c - a stream without a socket, seen from both of its ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/memory.h"
#include "net/memory_stream.h"
#include "net/tls.h"

struct fixture {
    uv_loop_t loop;
    struct tg_net *net;
    struct tg_stream *stream;
    struct tg_memory_peer *peer;
    char read[256];
    char why[64];
    size_t read_len;
    int reads, ends, writtens, closes;
    enum tg_err end_err;
    bool close_on_read;
};

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct fixture *fixture = ctx;
    fixture->reads++;
    size_t room = sizeof fixture->read - 1 - fixture->read_len;
    memcpy(fixture->read + fixture->read_len, data, len < room ? len : room);
    fixture->read_len += len < room ? len : room;
    if (fixture->close_on_read)
        tg_stream_close(fixture->stream);
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct fixture *fixture = ctx;
    fixture->ends++;
    fixture->end_err = err;
    (void)snprintf(fixture->why, sizeof fixture->why, "%s", why);
}

static void on_written(void *ctx)
{
    ((struct fixture *)ctx)->writtens++;
}

static void on_closed(void *ctx)
{
    ((struct fixture *)ctx)->closes++;
    ((struct fixture *)ctx)->stream = NULL;
}

static const struct tg_stream_callbacks callbacks = {on_read, on_end, on_written, on_closed};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    uint8_t address[4] = {192, 0, 2, 7};
    struct tg_memory_options from = {.address = tg_address_v4(address, 4711)};
    if (fixture == NULL || uv_loop_init(&fixture->loop) != 0 ||
        tg_net_create(&fixture->net, &fixture->loop) != TG_ERR_OK ||
        tg_memory_stream_create(&fixture->stream, &fixture->peer, fixture->net, &from) != TG_ERR_OK)
        return -1;
    tg_stream_bind(fixture->stream, &callbacks, fixture);
    *state = fixture;
    return 0;
}

static void close_stream(struct fixture *fixture)
{
    if (fixture->stream != NULL)
        tg_stream_close(fixture->stream);
    (void)uv_run(&fixture->loop, UV_RUN_DEFAULT);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    close_stream(fixture);
    tg_memory_peer_destroy(fixture->peer);
    tg_net_destroy(fixture->net);
    (void)uv_run(&fixture->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&fixture->loop);
    free(fixture);
    return status;
}

static void move_all(struct fixture *fixture)
{
    while (tg_memory_peer_move(fixture->peer)) {
        /* until nothing moves */
    }
}

static void write_text(struct fixture *fixture, const char *text)
{
    struct tg_buffer bytes = TG_BUFFER_INIT;
    assert_int_equal(tg_buffer_append_str(&bytes, text), TG_ERR_OK);
    assert_int_equal(tg_stream_write(fixture->stream, &bytes), TG_ERR_OK);
    assert_int_equal(bytes.len, 0);
}

static void assert_inbox(struct fixture *fixture, const char *text)
{
    struct tg_buffer *inbox = tg_memory_peer_inbox(fixture->peer);
    assert_int_equal(inbox->len, strlen(text));
    assert_memory_equal(tg_buffer_head(inbox), text, inbox->len);
}

static void has_no_descriptor_and_the_address_it_was_given(void **state)
{
    struct fixture *fixture = *state;
    char address[TG_ADDRESS_SIZE];
    int before = dup(0);
    assert_int_not_equal(before, -1);
    close(before);
    tg_stream_peer_address(fixture->stream, address);
    assert_string_equal(address, "192.0.2.7:4711");
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

static void bytes_reach_an_owner_that_reads_and_wait_for_one_that_does_not(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(tg_memory_peer_send(fixture->peer, "hello", 5), TG_ERR_OK);
    assert_int_equal(fixture->reads, 0);
    assert_false(tg_memory_peer_move(fixture->peer));
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(fixture->reads, 0); /* not from inside */
    assert_true(tg_memory_peer_move(fixture->peer));
    assert_string_equal(fixture->read, "hello");
    tg_stream_read_stop(fixture->stream);
    assert_int_equal(tg_memory_peer_send(fixture->peer, "!", 1), TG_ERR_OK);
    assert_false(tg_memory_peer_move(fixture->peer));
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    move_all(fixture);
    assert_string_equal(fixture->read, "hello!");
}

static void a_large_message_comes_in_pieces_as_from_a_socket(void **state)
{
    struct fixture *fixture = *state;
    static char many[3 * TG_NET_READ_SIZE];
    assert_int_equal(tg_memory_peer_send(fixture->peer, many, sizeof many), TG_ERR_OK);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    move_all(fixture);
    assert_int_equal(fixture->reads, 3);
}

static void what_is_written_at_once_is_not_waited_for(void **state)
{
    struct fixture *fixture = *state;
    write_text(fixture, "abc");
    assert_false(tg_stream_is_writing(fixture->stream));
    assert_inbox(fixture, "abc");
    move_all(fixture);
    assert_int_equal(fixture->writtens, 0);
}

static void a_peer_that_does_not_read_holds_the_writer_up(void **state)
{
    struct fixture *fixture = *state;
    tg_memory_peer_set_window(fixture->peer, 4);
    write_text(fixture, "abcdef");
    assert_true(tg_stream_is_writing(fixture->stream));
    assert_int_equal(tg_stream_unwritten(fixture->stream), 2);
    assert_inbox(fixture, "abcd");
    move_all(fixture);
    assert_int_equal(fixture->writtens, 0);
    tg_buffer_consume(tg_memory_peer_inbox(fixture->peer), 3, 0);
    move_all(fixture);
    assert_int_equal(fixture->writtens, 1);
    assert_false(tg_stream_is_writing(fixture->stream));
    assert_inbox(fixture, "def");
}

static void each_side_sees_the_end_of_the_other_after_the_last_byte(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(tg_memory_peer_send(fixture->peer, "x", 1), TG_ERR_OK);
    tg_memory_peer_fin(fixture->peer);
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    move_all(fixture);
    assert_string_equal(fixture->read, "x");
    assert_int_equal(fixture->ends, 1);
    assert_int_equal(fixture->end_err, TG_ERR_OK);
    tg_memory_peer_set_window(fixture->peer, 1);
    write_text(fixture, "yz");
    tg_stream_shutdown(fixture->stream);
    assert_false(tg_memory_peer_ended(fixture->peer));
    tg_memory_peer_set_window(fixture->peer, SIZE_MAX);
    move_all(fixture);
    assert_true(tg_memory_peer_ended(fixture->peer));
    assert_false(tg_memory_peer_closed(fixture->peer));
    assert_inbox(fixture, "yz");
}

static void a_reset_is_told_once_and_drops_what_was_under_way(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(tg_memory_peer_send(fixture->peer, "x", 1), TG_ERR_OK);
    tg_memory_peer_reset(fixture->peer);
    move_all(fixture);
    assert_int_equal(fixture->reads, 0);
    assert_int_equal(fixture->ends, 1);
    assert_int_equal(fixture->end_err, TG_ERR_SYS);
    assert_string_equal(fixture->why, "connection reset by peer");
}

static void what_is_written_to_a_peer_that_ended_its_side_may_still_be_lost(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    tg_memory_peer_fin(fixture->peer);
    move_all(fixture);
    assert_int_equal(fixture->ends, 1);
    write_text(fixture, "late");
    tg_memory_peer_reset(fixture->peer);
    move_all(fixture);
    assert_int_equal(fixture->ends, 2);
    assert_int_equal(fixture->end_err, TG_ERR_SYS);
}

static void an_owner_may_close_inside_its_callback(void **state)
{
    struct fixture *fixture = *state;
    fixture->close_on_read = true;
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    assert_int_equal(tg_memory_peer_send(fixture->peer, "x", 1), TG_ERR_OK);
    tg_memory_peer_fin(fixture->peer);
    move_all(fixture);
    assert_true(tg_memory_peer_closed(fixture->peer));
    assert_int_equal(fixture->ends, 0);
    assert_int_equal(tg_memory_peer_send(fixture->peer, "y", 1), TG_ERR_OK);
    assert_false(tg_memory_peer_move(fixture->peer));
    (void)uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(fixture->closes, 1);
}

static void either_end_may_be_let_go_of_first(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(tg_stream_read_start(fixture->stream), TG_ERR_OK);
    tg_memory_peer_destroy(fixture->peer); /* the owner is told of the loss */
    assert_int_equal(fixture->ends, 1);
    assert_int_equal(fixture->end_err, TG_ERR_SYS);
    close_stream(fixture);
    assert_int_equal(fixture->closes, 1);
    fixture->peer = NULL;
}

static void may_say_that_its_peer_has_proven_a_certificate(void **state)
{
    struct fixture *fixture = *state;
    struct tg_memory_options options = {.tls = true, .certificate = "{\"subject_cn\":\"ann\"}"};
    struct tg_buffer text = TG_BUFFER_INIT;
    assert_false(tg_stream_has_tls(fixture->stream));
    close_stream(fixture);
    tg_memory_peer_destroy(fixture->peer);
    assert_int_equal(
        tg_memory_stream_create(&fixture->stream, &fixture->peer, fixture->net, &options),
        TG_ERR_OK);
    tg_stream_bind(fixture->stream, &callbacks, fixture);
    assert_true(tg_stream_has_tls(fixture->stream));
    assert_false(tg_stream_is_handshaking(fixture->stream));
    assert_int_equal(tg_stream_tls_peer_certificate(fixture->stream, &text), TG_ERR_OK);
    assert_memory_equal(tg_buffer_head(&text), options.certificate, text.len);
    tg_buffer_fini(&text);
}

static void running_out_of_memory_loses_the_stream_and_nothing_else(void **state)
{
    struct fixture *fixture = *state;
    struct tg_memory_options nowhere = {.tls = true, .certificate = "{}"};
    for (int successes = 0; successes < 3; successes++) {
        struct tg_stream *stream;
        struct tg_memory_peer *peer;
        (void)tg_memory_fail_after(successes, 1);
        enum tg_err err = tg_memory_stream_create(&stream, &peer, fixture->net, &nowhere);
        (void)tg_memory_fail_after(-1, 0);
        assert_int_equal(err, TG_ERR_NOMEM);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(has_no_descriptor_and_the_address_it_was_given),
        TEST(bytes_reach_an_owner_that_reads_and_wait_for_one_that_does_not),
        TEST(a_large_message_comes_in_pieces_as_from_a_socket),
        TEST(what_is_written_at_once_is_not_waited_for),
        TEST(a_peer_that_does_not_read_holds_the_writer_up),
        TEST(each_side_sees_the_end_of_the_other_after_the_last_byte),
        TEST(a_reset_is_told_once_and_drops_what_was_under_way),
        TEST(what_is_written_to_a_peer_that_ended_its_side_may_still_be_lost),
        TEST(an_owner_may_close_inside_its_callback),
        TEST(either_end_may_be_let_go_of_first),
        TEST(may_say_that_its_peer_has_proven_a_certificate),
        TEST(running_out_of_memory_loses_the_stream_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
