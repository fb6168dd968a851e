/* too_much.c - see too_much.h. */
#include "support/too_much.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

void write_too_much(struct tg_stream *stream)
{
    struct tg_buffer bytes = TG_BUFFER_INIT;

    memset(tg_buffer_reserve(&bytes, TOO_MUCH), 'x', TOO_MUCH);
    tg_buffer_commit(&bytes, TOO_MUCH);
    assert_int_equal(tg_stream_write(stream, &bytes), TG_ERR_OK);
    assert_true(tg_stream_is_writing(stream));
}
