/* crowd.c - see crowd.h. */
#include "support/crowd.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS_MAX 4000 /* a test that needs more hangs */

static void on_read(void *ctx, uint8_t *data, size_t len)
{
    struct end *end = ctx;

    for (size_t i = 0; i < len; i++)
        assert_int_equal(data[i], end->heard++);
    end->received += len;
    if (end->acts != NULL)
        end->acts(end->on);
    end->acts = NULL;
}

static void on_end(void *ctx, enum tg_err err, const char *why)
{
    struct end *end = ctx;

    (void)why;
    end->ends++;
    end->err = err;
}

static void on_written(void *ctx)
{
    ((struct end *)ctx)->writtens++;
}

static void on_closed(void *ctx)
{
    ((struct end *)ctx)->stream = NULL;
}

static const struct tg_stream_callbacks callbacks = {on_read, on_end, on_written, on_closed};

static void on_timer(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

void crowd_end_in(struct crowd *crowd, uint64_t ms)
{
    assert_int_equal(uv_timer_start(&crowd->timer, on_timer, ms, 0), 0);
}

struct crowd *crowd_gather(size_t count)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);

    assert_int_equal(uv_loop_init(&crowd->loop), 0);
    assert_int_equal(tg_net_create_leading(&crowd->net, &crowd->loop), TG_ERR_OK);
    assert_int_equal(uv_timer_init(&crowd->loop, &crowd->timer), 0);
    crowd_end_in(crowd, 60000);
    crowd->ends = calloc(count, sizeof *crowd->ends);
    crowd->count = count;
    for (size_t i = 0; i < count; i++) {
        struct end *end = &crowd->ends[i];
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
                         0);
        assert_int_equal(tg__stream_adopt(&end->stream, crowd->net, pair[0]), TG_ERR_OK);
        end->peer = pair[1];
        tg_stream_bind(end->stream, &callbacks, end);
        assert_int_equal(tg_stream_read_start(end->stream), TG_ERR_OK);
    }
    return crowd;
}

void crowd_go_home(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++) {
        if (crowd->ends[i].stream != NULL)
            tg_stream_close(crowd->ends[i].stream);
        close(crowd->ends[i].peer);
    }
    tg_net_destroy(crowd->net);
    assert_int_equal(uv_run(&crowd->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&crowd->loop), 0);
    free(crowd->ends);
    free(crowd);
}

static bool act(struct crowd *crowd)
{
    if (!crowd->talk_first || crowd->phase > 0)
        return crowd->step(crowd);
    become_talkers(crowd);
    if (crowd->phase > 0 && crowd->begin != NULL)
        crowd->begin(crowd);
    return true;
}

static bool before_wait(void *ctx)
{
    struct crowd *crowd = ctx;

    assert_in_range(++crowd->turns, 1, TURNS_MAX);
    if (uv_is_closing((uv_handle_t *)&crowd->timer))
        return true;
    if (!act(crowd))
        uv_close((uv_handle_t *)&crowd->timer, NULL);
    return true;
}

static void play(struct crowd *crowd, bool (*step)(struct crowd *crowd))
{
    crowd->step = step;
    tg_net_run(crowd->net, before_wait, crowd);
    crowd_go_home(crowd);
}

void crowd_play(size_t count, bool (*step)(struct crowd *crowd))
{
    play(crowd_gather(count), step);
}

void crowd_play_talkers(size_t count, void (*begin)(struct crowd *crowd),
                        bool (*step)(struct crowd *crowd))
{
    struct crowd *crowd = crowd_gather(count);

    crowd->talk_first = true;
    crowd->begin = begin;
    play(crowd, step);
}

void say(struct end *end, size_t len)
{
    uint8_t bytes[8192];

    for (size_t i = 0; i < len; i++)
        bytes[i] = end->said++;
    assert_int_equal(send(end->peer, bytes, len, MSG_NOSIGNAL), len);
}

void say_all(struct crowd *crowd, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        say(&crowd->ends[i], 5);
}

void close_it(struct end *on)
{
    tg_stream_close(on->stream);
}

void stop_it(struct end *on)
{
    tg_stream_read_stop(on->stream);
}

size_t talking(const struct crowd *crowd)
{
    size_t count = 0;

    for (size_t i = 0; i < crowd->count; i++)
        if (crowd->ends[i].stream != NULL && crowd->ends[i].stream->talks)
            count++;
    assert_int_equal(count, crowd->net->talkers.count);
    return count;
}

void assert_all_heard(const struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++)
        assert_int_equal(crowd->ends[i].heard, crowd->ends[i].said);
}

void become_talkers(struct crowd *crowd)
{
    if (talking(crowd) == crowd->count) {
        assert_all_heard(crowd);
        crowd->phase = 1;
        crowd->since = crowd->turns;
    } else {
        assert_in_range(crowd->turns, 0, 20);
        say_all(crowd, 0, crowd->count);
    }
}

bool passed(const struct crowd *crowd, int turns)
{
    return crowd->turns - crowd->since >= turns;
}

void next_phase(struct crowd *crowd)
{
    crowd->phase++;
    crowd->since = crowd->turns;
}
