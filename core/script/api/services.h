/* services.h - what a policy's connections need: checks that run in `prepare`, and conn.services. */
#ifndef TG_SCRIPT_API_SERVICES_H
#define TG_SCRIPT_API_SERVICES_H

struct lua_State;
struct tg_conn;
struct tg_conn_ref;

/* A reference to what runs in place of `prepare`: the policy's own (prepare_ref, or LUA_NOREF), and when that
 * says yes the checks in the table at `services`. May raise. */
int tg_services_build(struct lua_State *L, int services, int prepare_ref);
/* A field of conn (api/conn.c): a view of name -> true or why not, as they were found last. */
void tg_services_push(struct lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn);

#endif
