/* message.c - what a client says, and what the right answer is.
 *
 * A message begins with a stamp, client and number in hex, so that an answer of another client, an old
 * one or one out of order is noticed. The digits that change most stand in front: LuaJIT finds a string
 * by its first and last four bytes and eight between, and when those are the same in every message, which
 * hardly happens to people's texts, it hashes all bytes of each.
 */
#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

#define STAMP 16 /* "ccnn-ccccnnnnnnn", the lowest digits first */
#define ROUTE_SIZE 120
#define STREAM_SIZE 120
#define PIECES 100 /* as peers/stream.lua says */

static const char greeting[] = "{\"type\":\"connection_ready\"";

enum work work_named(const char *name)
{
    static const char *const names[] = {"echo", "route", "connect", "idle", "stream"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum work)i;
    die("there is no work %s; there are echo, route, connect, idle and stream", name);
}

static void write_stamp(char out[STAMP + 1], uint32_t client, uint64_t number)
{
    (void)snprintf(out, STAMP + 1, "%02x%02x-%04x%07x", client & 0xff, (unsigned)(number & 0xff),
                   client >> 8 & 0xffff, (unsigned)(number >> 8 & 0xfffffff));
}

static void write_echo(struct message *message, size_t size, enum text text)
{
    message->len = size < STAMP ? STAMP : size;
    message->text = malloc(message->len + 1);
    if (message->text == NULL)
        die("out of memory");
    text_write(text, message->text + STAMP, message->len - STAMP);
}

static void write_object(struct message *message, size_t size)
{
    message->text = malloc(size + 1);
    if (message->text == NULL)
        die("out of memory");
    message->len = size;
}

void message_init(struct message *message, enum work work, size_t size, enum text text,
                  const char *pause)
{
    message->work = work;
    message->pause = pause;
    if (work == WORK_ROUTE)
        write_object(message, ROUTE_SIZE);
    else if (work == WORK_STREAM)
        write_object(message, STREAM_SIZE);
    else
        write_echo(message, size, text);
}

const uint8_t *message_write(struct message *message, uint32_t client, uint64_t number, size_t *len)
{
    char stamp[STAMP + 1];

    write_stamp(stamp, client, number);
    if (message->work == WORK_ROUTE) {
        int head = snprintf((char *)message->text, ROUTE_SIZE + 1,
                            "{\"type\":\"get_price\",\"id\":\"%s\",\"data\":{\"symbol\":\"ACME\","
                            "\"quantity\":%u,\"note\":\"",
                            stamp, (unsigned)(number % 900 + 100));
        memset(message->text + head, 'x', ROUTE_SIZE - 3 - (size_t)head);
        memcpy(message->text + ROUTE_SIZE - 3, "\"}}", 3);
    } else if (message->work == WORK_STREAM) {
        message->len = (size_t)snprintf(
            (char *)message->text, STREAM_SIZE,
            "{\"type\":\"agent_execution\",\"id\":\"%s\",\"data\":{\"message\":\"go\"%s%s}}", stamp,
            message->pause == NULL ? "" : ",\"pause\":",
            message->pause == NULL ? "" : message->pause);
    } else {
        memcpy(message->text, stamp, STAMP);
    }
    *len = message->len;
    return message->text;
}

void message_check(struct message *message, uint32_t client, uint64_t number, const uint8_t *answer,
                   size_t len)
{
    char stamp[STAMP + 1];
    bool right;

    write_stamp(stamp, client, number);
    if (message->work == WORK_ROUTE) {
        right = memmem(answer, len, stamp, STAMP) != NULL && memmem(answer, len, "\"price\"", 7);
    } else {
        memcpy(message->text, stamp, STAMP);
        right = len == message->len && memcmp(answer, message->text, len) == 0;
    }
    if (!right)
        die("client %u, message %llu: a wrong answer of %zu bytes: %.*s", client,
            (unsigned long long)number, len, (int)(len < 200 ? len : 200), answer);
}

static bool holds(const uint8_t *event, size_t len, const char *text)
{
    return memmem(event, len, text, strlen(text)) != NULL;
}

/* The kind of event that has to come now. */
static void write_expected(const struct client *client, char *out, size_t size, char *more)
{
    write_stamp(more, client->number, client->answered);
    if (client->pieces == 0) {
        (void)snprintf(out, size, "{\"type\":\"agent_started\",");
    } else if (client->pieces <= PIECES) {
        (void)snprintf(out, size, "{\"type\":\"agent_delta\",");
        (void)snprintf(more, STAMP + 1, "\"piece %u\"", (unsigned)client->pieces);
    } else {
        (void)snprintf(out, size, "{\"type\":\"agent_completed\",");
        (void)snprintf(more, STAMP + 1, "\"done\"");
    }
}

bool message_check_event(struct client *client, const uint8_t *event, size_t len)
{
    char kind[32], seq[32], more[STAMP + 1];

    write_expected(client, kind, sizeof kind, more);
    (void)snprintf(seq, sizeof seq, "\"seq\":%llu,", (unsigned long long)(client->seq + 1));
    if (len < strlen(kind) || memcmp(event, kind, strlen(kind)) != 0 || !holds(event, len, seq) ||
        !holds(event, len, more))
        die("client %u: %s with %s and %s was to come, not %.*s", client->number, kind, seq, more,
            (int)(len < 300 ? len : 300), event);
    client->seq++;
    client->pieces = client->pieces > PIECES ? 0 : client->pieces + 1;
    return client->pieces == 0;
}

bool message_is_greeting(const struct message *message, const uint8_t *text, size_t len)
{
    return (message->work == WORK_ROUTE || message->work == WORK_STREAM) &&
           len >= sizeof greeting - 1 && memcmp(text, greeting, sizeof greeting - 1) == 0;
}
