/* message.c - what a client says, and what the right answer is.
 *
 * A message begins with a stamp, client and number in hex, so that an answer of another client, an old
 * one or one out of order is noticed.
 */
#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

#define STAMP 16 /* "cccccc-nnnnnnnnn" */
#define ROUTE_SIZE 120

static const char greeting[] = "{\"type\":\"connection_ready\"";

enum work work_named(const char *name)
{
    static const char *const names[] = {"echo", "route", "connect", "idle", "raw"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum work)i;
    die("there is no work %s; there are echo, route, connect, idle and raw", name);
}

static void write_stamp(char out[STAMP + 1], uint32_t client, uint64_t number)
{
    (void)snprintf(out, STAMP + 1, "%06x-%09llx", client & 0xffffff,
                   (unsigned long long)(number & 0xfffffffffull));
}

static void write_echo(struct message *message, size_t size, bool utf8)
{
    static const char *const ascii = "the quick brown fox jumps over the lazy dog; ";
    static const char *const wide = "déjà vu — 日本語のテキスト — привет мир 😀 ";
    const char *filler = utf8 ? wide : ascii;
    size_t step = strlen(filler), at = STAMP;

    message->len = size < STAMP ? STAMP : size;
    message->text = malloc(message->len + 1);
    if (message->text == NULL)
        die("out of memory");
    memset(message->text, ' ', message->len);
    for (; at + step <= message->len; at += step)
        memcpy(message->text + at, filler, step);
}

static void write_route(struct message *message)
{
    message->text = malloc(ROUTE_SIZE + 1);
    if (message->text == NULL)
        die("out of memory");
    message->len = ROUTE_SIZE;
}

void message_init(struct message *message, enum work work, size_t size, bool utf8)
{
    message->work = work;
    if (work == WORK_ROUTE)
        write_route(message);
    else
        write_echo(message, size, utf8);
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

bool message_is_greeting(const struct message *message, const uint8_t *text, size_t len)
{
    return message->work == WORK_ROUTE && len >= sizeof greeting - 1 &&
           memcmp(text, greeting, sizeof greeting - 1) == 0;
}
