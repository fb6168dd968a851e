/* websocket.h - a WebSocket that a script has opened to another server, and what it waits for.
 *
 * websocket.c is what Lua sees of it, websocket_wait.c what the network does to it and how a script waits
 * for that. The object is made first and the link begun then, so that nothing can leak.
 *
 *     opening ─> open ─> over          open ─[rest]─> resting ─[wake]─> open
 *     any ─[closed by the script, its call ends, collected]─> over
 *
 * I1  `link` is there exactly until it is over.
 * I2  While a call waits, `ref` keeps the object; else a collection ends what is under way.
 * I3  Messages that wait here count as memory of the state.
 * I4  It ends with the call that opened or woke it, but for while it rests: then it is nobody's.
 */
#ifndef TG_SCRIPT_API_WEBSOCKET_H
#define TG_SCRIPT_API_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "client/ws_client.h"
#include "net/timer.h"
#include "script/call/call.h"

struct lua_State;

enum tg_websocket_wait {
    TG_WEBSOCKET_NO_WAIT,
    TG_WEBSOCKET_FOR_OPEN,
    TG_WEBSOCKET_FOR_MESSAGE,
    TG_WEBSOCKET_FOR_ROOM
};

struct tg_websocket {
    struct tg_call_held held;
    struct tg_generation *generation; /* borrowed; its state owns this */
    struct tg_ws_link *link;          /* borrowed until it is over */
    struct tg_call *waiter;           /* borrowed; NULL: nobody waits */
    enum tg_websocket_wait wait;
    int ref; /* in the registry; LUA_NOREF: nobody waits */
    bool open, over, paused, resting;
    enum tg_fetch_outcome outcome; /* when it is over */
    int status;                    /* of an answer that was no upgrade */
    int code;                      /* of the server's close frame */
    char text[320];                /* why it is over */
    char host[TG_FETCH_HOST_SIZE];
    struct tg_buffer inbox;    /* messages: struct tg_websocket_head and the bytes, each */
    struct tg_buffer farewell; /* sent when it ends because its call did; empty: nothing */
    struct tg_timer rest_timer;
    uint64_t idle_timeout_ms; /* while it does not rest */
    size_t charged;           /* to the memory of the state */
};

struct tg_websocket_head {
    uint64_t len;
    bool text;
};

/* --- websocket.c -------------------------------------------------------------------------------- */
void tg_websocket_open_type(struct lua_State *L);
/* The module tidegate._websocket. */
int tg_websocket_open(struct lua_State *L);

/* --- websocket_wait.c --------------------------------------------------------------------------- */
/* Each that waits returns what the C function returns: `return tg_websocket_…(…)`. */
int tg_websocket_begin(struct lua_State *L, int index, const struct tg_ws_request *request);
int tg_websocket_send(struct lua_State *L, int index, const char *text, size_t len);
int tg_websocket_receive(struct lua_State *L, int index);
/* Ends it, if it is under way. Nobody is woken. */
void tg_websocket_end(struct tg_websocket *socket, int code, const char *reason);
/* False: it is over, or something has come that nobody asked for. */
bool tg_websocket_rest(struct tg_websocket *socket, uint64_t ms);
bool tg_websocket_wake(struct tg_websocket *socket, struct tg_call *call);
/* Counts what the object holds; false: the state has no room for it. */
bool tg_websocket_charge(struct tg_websocket *socket);
/* Everything that it holds. */
void tg_websocket_free(struct tg_websocket *socket);
/* nil, a text for the log, how it ended, and its status or close code. */
int tg_websocket_push_failure(struct lua_State *L, const struct tg_websocket *socket);

#endif
