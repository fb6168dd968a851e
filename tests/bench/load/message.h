/* message.h - what a client says, and what the right answer is. */
#ifndef TG_TESTS_BENCH_LOAD_MESSAGE_H
#define TG_TESTS_BENCH_LOAD_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

/* ECHO: the same text comes back. ROUTE: an object whose `type` picks what answers, and whose `id` comes
 * back in an object. IDLE echoes, too. STREAM: an agent is run
 * that says numbered pieces, so that many events answer one message. */
enum work { WORK_ECHO, WORK_ROUTE, WORK_CONNECT, WORK_IDLE, WORK_STREAM };

struct client;

struct message {
    enum work work;
    uint8_t *text; /* owned */
    size_t len;
    const char *pause; /* borrowed; of a stream, seconds after each piece; NULL: none */
};

enum work work_named(const char *name); /* dies when there is none */
void message_init(struct message *message, enum work work, size_t size, enum text text,
                  const char *pause);
/* The message `number` of a client; valid until the next call. */
const uint8_t *message_write(struct message *message, uint32_t client, uint64_t number,
                             size_t *len);
/* Dies when this is not the answer to that message. */
void message_check(struct message *message, uint32_t client, uint64_t number, const uint8_t *answer,
                   size_t len);
/* The same for an event of a stream. True: it is the last one that answers the message. */
bool message_check_event(struct client *client, const uint8_t *event, size_t len);
/* What a server says on its own when a connection is ready. */
bool message_is_greeting(const struct message *message, const uint8_t *text, size_t len);

#endif
