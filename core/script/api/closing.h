/* closing.h - what scripts that end connections on all workers share (tide.close_user, passes.revoke). */
#ifndef TG_SCRIPT_API_CLOSING_H
#define TG_SCRIPT_API_CLOSING_H

struct lua_State;
struct tg_closing;

/* For a C function to return: carries it out on all workers; the script gets the number of connections, or
 * nil and why. Suspends when there is more than this worker. */
int tg_api_close_matching(struct lua_State *L, const struct tg_closing *what);

/* tide.close_user(user_id [, code [, reason]]) */
int tg_api_close_user(struct lua_State *L);

#endif
