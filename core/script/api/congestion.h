/* congestion.h - a script that sends to a client which reads slowly waits for it. */
#ifndef TG_SCRIPT_API_CONGESTION_H
#define TG_SCRIPT_API_CONGESTION_H

#include "base/error.h"

struct lua_State;
struct tg_conn;

/* For the end of a function that sent on `conn`: pushes what it returns (true, or nil and why) at once,
 * or, when the call works for this connection, its outbox is congested and the script may wait here,
 * suspends first. A wait for the client does not use up the hook's wall budget. */
int tg_api_return_sent(struct lua_State *L, struct tg_conn *conn, enum tg_err err);

#endif
