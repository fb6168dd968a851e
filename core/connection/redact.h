/* redact.h - what a client proves itself with stays out of every line and every answer about it.
 *
 * The core writes none of it on its own; but a policy's error message may quote a token, and so may a
 * reason that it gives. So every text of a policy or a peer that goes into a log line or an admin answer
 * passes through here, together with the request it may have taken the token from.
 */
#ifndef TG_CONNECTION_REDACT_H
#define TG_CONNECTION_REDACT_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "connection/request.h"

#define TG_REDACTED "[redacted]"
/* Shorter values are no secrets, and taking them out would make any text unreadable. */
#define TG_SECRET_MIN 6

/* Appends `text` with TG_REDACTED in place of every credential of the request: values of the query, raw and
 * decoded, of Authorization (of its parts, and the password in Basic), of cookies, of subprotocols
 * but tidegate.v1, and of headers whose names say that they hold one. request NULL: nothing is known. */
TG_MUST enum tg_err tg_redact(const struct tg_request *request, const char *text, size_t len,
                              struct tg_buffer *out);

/* tg_log_write with all texts redacted. */
void tg_redact_log(const struct tg_request *request, enum tg_log_level level, const char *event,
                   const struct tg_log_field *fields, size_t count);

/* tg_log for lines that carry a text of a policy or a peer; conn may be NULL. */
#define tg_log_about(conn, level, event, ...)                                                      \
    do {                                                                                           \
        if (tg_log_enabled(level)) {                                                               \
            const struct tg_log_field tg_log_fields_[] = {__VA_ARGS__};                            \
            tg_redact_log((conn) == NULL ? NULL : tg_conn_request(conn), level, event,             \
                          tg_log_fields_, sizeof tg_log_fields_ / sizeof tg_log_fields_[0]);       \
        }                                                                                          \
    } while (0)

#endif
