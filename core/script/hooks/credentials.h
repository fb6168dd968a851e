/* credentials.h - the upgrade request and what it says about who connects, as Lua tables.
 *
 * Never logged. Needs the JSON scratch of api/json.h in the state.
 */
#ifndef TG_SCRIPT_CREDENTIALS_H
#define TG_SCRIPT_CREDENTIALS_H

#include <stddef.h>

#include "connection/request.h"

struct lua_State;

/* The names of all that the two functions below may set; each list ends with NULL. */
extern const char *const tg_request_fields[];
extern const char *const tg_credentials_fields[];

/* Pushes { method, path, query, headers, remote_address, tls, via_proxy }. `remote` is the address. Repeated
 * headers are joined with ", " (cookies with "; "); of repeated query keys the first counts. tls is what
 * tg_stream_tls_describe says, true when a trusted proxy says that its client speaks TLS, or false. */
void tg_request_push(struct lua_State *L, const struct tg_request *request, const char *remote);

/* Pushes { bearer, basic, query, cookies, subprotocols, api_key, remote_address, client_certificate,
 * message }. message_json is a checked document or NULL. What is absent or malformed is nil. */
void tg_credentials_push(struct lua_State *L, const struct tg_request *request, const char *remote,
                         const char *message_json, size_t message_len);

#endif
