/* session.h - conn.session: a plain Lua table for scripts, plain data in the core.
 *
 * Decoded once and kept with the conn object; written back when a call that read it waits or ends and
 * its content has changed. When two script states change it at the same time (a run that outlived a
 * reload), the one that is written last wins as a whole.
 */
#ifndef TG_SCRIPT_API_SESSION_H
#define TG_SCRIPT_API_SESSION_H

#include <stdbool.h>

#include "base/error.h"

struct lua_State;
struct tg_call;
struct tg_conn;
struct tg_conn_ref;

void tg_session_open_type(struct lua_State *L);

/* Pushes conn.session of the conn object at `self` and remembers that the current call read it. */
void tg_session_push(struct lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn);
/* Pushes conn.session for a call that has not begun, as an argument. */
void tg_session_give(struct lua_State *L, struct tg_call *call, struct tg_conn *conn);
/* conn.session = value, with conn at 1 and the value at 3: stores it at once, or raises. */
int tg_session_replace(struct lua_State *L, struct tg_conn_ref *ref);

/* After each resume of a call that has read a session (call->sessions_read): writes back what changed.
 * ended: forgets the call as well. Any error: something was not kept, `error` names the place. */
TG_MUST enum tg_err tg_session_keep(struct tg_call *call, bool ended, struct tg_error *error);

#endif
