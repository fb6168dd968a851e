/* conn.h - what scripts see of a connection: the type `conn`. */
#ifndef TG_SCRIPT_API_CONN_H
#define TG_SCRIPT_API_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "connection/id.h"

struct lua_State;
struct tg_conn;

/* Registers the metatable and the table of objects in a new state. */
void tg_conn_open_type(struct lua_State *L);
/* Pushes the object of this connection: always the same one while a script holds it. */
void tg_conn_push(struct lua_State *L, struct tg_conn *conn);
bool tg_conn_is(struct lua_State *L, int index);
/* Pushes conn.identity, conn.context: a view, or nil when there is none. */
void tg_conn_push_identity(struct lua_State *L, struct tg_conn *conn);
void tg_conn_push_context(struct lua_State *L, struct tg_conn *conn);

/* A write that is not allowed, for the sandbox's rawset and setmetatable: fails the connection (when it
 * still exists) and raises at the caller's line. key NULL: the metatable. The offered value is on top
 * of the stack. */
int tg_conn_refuse_write(struct lua_State *L, int index, const char *key);

/* Behind the userdata, for api/session.c. Slots of its environment table: */
enum tg_conn_slot {
    TG_CONN_IDENTITY = 1,
    TG_CONN_IDENTITY_BYTES, /* what the view was decoded from */
    TG_CONN_CONTEXT,
    TG_CONN_CONTEXT_BYTES,
    TG_CONN_REQUEST,
    TG_CONN_SESSION,
    TG_CONN_SESSION_BYTES,
    TG_CONN_SLOTS = TG_CONN_SESSION_BYTES
};
struct tg_conn_ref {
    struct tg_conn_id id;
    char text[TG_CONN_ID_SIZE]; /* "" until tg_conn_ref_text: few scripts ask for it */
    uint32_t session_revision;  /* that slot SESSION was decoded from, or stored as */
};
/* Raises when the value at `index` is no conn. */
struct tg_conn_ref *tg_conn_check(struct lua_State *L, int index);
const char *tg_conn_ref_text(struct tg_conn_ref *ref); /* its ID */

#endif
