/* admin_routes.h - finds the row of the route table that a request means.
 */
#ifndef TG_OPS_ADMIN_ROUTES_H
#define TG_OPS_ADMIN_ROUTES_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "ops/admin.h"
#include "proto/http.h"

/* Finds the route for method and (undecoded) path; HEAD takes the row of GET. The ":name" segment, decoded
 * and NUL-terminated, is put into `param`. TG_ERR_NOT_FOUND: no row has the path. TG_ERR_ILLEGAL: a row has
 * it, but not with this method. TG_ERR_INVALID: the segment is no valid text. */
TG_MUST enum tg_err tg_admin_route_find(const struct tg_admin_route *routes, size_t count,
                                        struct tg_http_text method, struct tg_http_text path,
                                        const struct tg_admin_route **out, struct tg_buffer *param);

/* "GET, HEAD, POST": the methods that `path` has. */
TG_MUST enum tg_err tg_admin_route_allow(const struct tg_admin_route *routes, size_t count,
                                         struct tg_http_text path, struct tg_buffer *out);

/* Splits and decodes a query into name NUL value NUL … TG_ERR_INVALID: malformed. */
TG_MUST enum tg_err tg_admin_query_parse(struct tg_http_text query, struct tg_buffer *out);
/* The value of a name in what tg_admin_query_parse wrote, or NULL. The first of equal names wins. */
const char *tg_admin_query_find(const struct tg_buffer *parsed, const char *name);

#endif
