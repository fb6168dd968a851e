#include "support/outgoing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void on_tick(uv_timer_t *tick)
{
    (void)tick;
}

void outgoing_open(struct outgoing *out)
{
    assert_int_equal(uv_loop_init(&out->loop), 0);
    assert_int_equal(tg_net_create(&out->net, &out->loop), TG_ERR_OK);
    assert_int_equal(tg_timers_create(&out->timers, &out->loop), TG_ERR_OK);
    upstream_open(&out->up, &out->loop);
    (void)uv_timer_init(&out->loop, &out->tick);
    (void)uv_timer_start(&out->tick, on_tick, 5, 5);
}

void outgoing_close(struct outgoing *out)
{
    upstream_close(&out->up);
    uv_close((uv_handle_t *)&out->tick, NULL);
    tg_timers_destroy(out->timers);
    tg_net_destroy(out->net);
    (void)uv_run(&out->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&out->loop), 0);
}

void outgoing_turn(struct outgoing *out)
{
    (void)uv_run(&out->loop, UV_RUN_ONCE);
}

void outgoing_wait_ms(struct outgoing *out, uint64_t ms)
{
    uint64_t until = uv_now(&out->loop) + ms;

    while (uv_now(&out->loop) < until)
        outgoing_turn(out);
}
