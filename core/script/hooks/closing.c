/* closing.c - see closing.h. Ending a connection may add or remove others: what fits is noted down first. */
#include "script/hooks/closing.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "connection/connection.h"
#include "connection/hub.h"
#include "script/plain.h"

static bool has_text(struct tg_blob identity, const char *field, const char *text)
{
    size_t len = 0;
    const char *found = tg_plain_find_string(identity.data, identity.len, field, &len);

    return found != NULL && len == strlen(text) && memcmp(found, text, len) == 0;
}

static bool fits(const struct tg_conn *conn, const struct tg_closing *what)
{
    const char *user = tg_conn_user_id(conn);

    if (user == NULL || !tg_conn_is_open(conn))
        return false;
    if (what->by == TG_CLOSING_USER)
        return strcmp(user, what->key) == 0;
    return has_text(tg_conn_identity(conn), "token_id", what->key) ||
           has_text(tg_conn_identity(conn), "jti", what->key);
}

size_t tg_closing_carry_out(struct tg_hub *hub, const struct tg_closing *what)
{
    uint64_t *serials = tg_xcalloc(tg_hub_count(hub) + 1, sizeof *serials);
    size_t noted = 0;
    size_t closed = 0;
    size_t cursor = 0;

    for (struct tg_conn *conn = tg_hub_next(hub, &cursor); conn != NULL;
         conn = tg_hub_next(hub, &cursor))
        if (fits(conn, what))
            serials[noted++] = tg_conn_get_id(conn)->serial;
    for (size_t i = 0; i < noted; i++) {
        struct tg_conn *conn = tg_hub_find_serial(hub, serials[i]);
        if (conn != NULL && tg_conn_is_open(conn) &&
            tg_conn_close(conn, what->code, what->reason) == TG_ERR_OK)
            closed++;
    }
    tg_free(serials);
    return closed;
}
