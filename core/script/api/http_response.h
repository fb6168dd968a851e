/* http_response.h - an answer to a script's HTTP request, and the request itself while it is under way.
 *
 * http_response.c is what a script sees of it, http_wait.c what the network does to it and how the script
 * waits for that. The object is made first and the request begun then, so that nothing can leak.
 *
 *     waiting ─> has a head ─> over        [closed by the script, its call ends, collected] ─> over
 *
 * I1  `fetch` is there exactly until it is over.
 * I2  While a call waits, `ref` keeps the object; else a collection ends what is under way.
 * I3  Bytes that wait here count as memory of the state.
 */
#ifndef TG_SCRIPT_API_HTTP_RESPONSE_H
#define TG_SCRIPT_API_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/line_splitter.h"
#include "net/http_client.h"
#include "proto/event_stream.h"
#include "script/call/call.h"

struct lua_State;

/* How a stream is read: decided by the first way that is used. */
enum tg_http_reading { TG_HTTP_UNREAD, TG_HTTP_BYTES, TG_HTTP_LINES, TG_HTTP_EVENTS };

struct tg_http_response {
    struct tg_call_held held;         /* of a stream */
    struct tg_generation *generation; /* borrowed; its state owns this */
    struct tg_fetch *fetch;           /* borrowed until it is over */
    struct tg_call *waiter;           /* borrowed; NULL: nobody waits */
    int ref;                          /* in the registry; LUA_NOREF: nobody waits */
    bool stream;
    bool has_head;
    bool over;
    bool paused;
    bool want_all; /* the script reads all that comes, up to response_max */
    enum tg_http_reading reading;
    enum tg_fetch_outcome outcome; /* when it is over */
    int status;
    char version[4];
    char method[16];
    char text[256]; /* why it failed */
    uint64_t response_max;
    uint64_t started_ns;
    struct tg_buffer head; /* "url\0name\0value\0…" */
    size_t header_count;
    struct tg_buffer body; /* what the script has not taken */
    struct tg_line_splitter lines;
    struct tg_event_stream events;
    size_t charged; /* to the memory of the state */
};

/* --- http_response.c ---------------------------------------------------------------------------- */
void tg_http_response_open_type(struct lua_State *L);
/* Adds the methods that are written in Lua; the table with them is on top, and is popped. */
void tg_http_response_add_methods(struct lua_State *L);
/* Pushes a new one. */
struct tg_http_response *tg_http_response_push(struct lua_State *L);
/* NULL unless it is one. */
struct tg_http_response *tg_http_response_test(struct lua_State *L, int index);
/* Raises unless it is one. */
struct tg_http_response *tg_http_response_check(struct lua_State *L, int index);

/* --- http_wait.c -------------------------------------------------------------------------------- */
/* Begins the request of the object at `index` and suspends the call: `return tg_http_begin(…)`. */
int tg_http_begin(struct lua_State *L, int index, const struct tg_fetch_request *request);
/* Suspends until more has come, or returns at once when nothing can. */
int tg_http_wait(struct lua_State *L, int index);
/* Bytes were taken from the body: more may come. */
void tg_http_taken(struct tg_http_response *response, size_t len);
/* Ends it, if it is under way. The waiter is not woken. */
void tg_http_end(struct tg_http_response *response, enum tg_fetch_outcome outcome,
                 const char *text);
/* The same for what the script makes of the bytes: also when the answer was well. What is left of them is
 * dropped. */
void tg_http_spoil(struct tg_http_response *response, enum tg_fetch_outcome outcome,
                   const char *text);
/* Counts what the object holds; false: the state has no room for it. */
bool tg_http_charge(struct tg_http_response *response);
/* Everything that it holds. */
void tg_http_free(struct tg_http_response *response);

#endif
