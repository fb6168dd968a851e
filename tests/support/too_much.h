/* too_much.h - a write of which the kernel takes only some.
 */
#ifndef TG_TESTS_SUPPORT_TOO_MUCH_H
#define TG_TESTS_SUPPORT_TOO_MUCH_H

#include "net/stream.h"

#define TOO_MUCH ((size_t)8 << 20)

/* Asserts that the stream goes on writing. */
void write_too_much(struct tg_stream *stream);

#endif
