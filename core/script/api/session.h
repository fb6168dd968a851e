/* session.h - conn.session: a plain Lua table for scripts, plain data in the core.
 *
 * Decoded once and kept with the conn object; written back when a call that read it waits or ends and
 * its content has changed. When two script states change it at the same time (a run that outlived a
 * reload), the one that is written last wins as a whole.
 */
#ifndef TG_SCRIPT_API_SESSION_H
#define TG_SCRIPT_API_SESSION_H

#include "base/error.h"

struct lua_State;
struct tg_call;
struct tg_conn;
struct tg_conn_ref;

void tg_session_open_type(struct lua_State *L);

/* Pushes conn.session of the conn object at `self` and remembers that the current call read it. */
void tg_session_push(struct lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn);
/* conn.session = value, with conn at 1 and the value at 3: stores it at once, or raises. */
int tg_session_replace(struct lua_State *L, struct tg_conn_ref *ref);

/* Writes back what the call may have changed. Where it waits: from inside Lua, raises at the script's
 * line when a session holds what cannot be kept. */
void tg_session_flush(struct lua_State *L, struct tg_call *call);
/* Where it ends: inside protected mode, and forgets the call. error names the place. */
TG_MUST enum tg_err tg_session_finish(struct lua_State *L, struct tg_call *call,
                                      struct tg_error *error);

#endif
