/* tampering.c - a script wrote what the core owns: said with both values, and the end of its connection.
 */
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"
#include "connection/connection_internal.h"
#include "connection/redact.h"

#define VALUE_SHOWN 64

void tg_conn_id_mismatch(struct tg_conn *conn, const char *offered, size_t offered_len,
                         const char *where)
{
    char id[TG_CONN_ID_SIZE];
    tg_conn_id_format(&conn->id, id);
    tg_counter_add(&tg__metrics(conn)->connection_id_mismatches, 1);
    tg_counter_add(&tg__metrics(conn)->script_tampering, 1);
    tg_log_about(conn, TG_LOG_ERROR, "conn.id_mismatch", tg_log_str("id", id),
                 tg_log_strn("offered", offered, tg_utf8_cut(offered, offered_len, VALUE_SHOWN)),
                 tg_log_str("where", where), tg_log_str("policy", tg_conn_policy_version(conn)));
    tg_conn_fail(conn, 1011, "a script offered another connection ID",
                 "policy tried to replace the connection ID");
}

void tg_conn_tampered(struct tg_conn *conn, const char *field, const char *actual,
                      const char *offered)
{
    char id[TG_CONN_ID_SIZE];
    tg_conn_id_format(&conn->id, id);
    actual = actual == NULL ? "" : actual;
    offered = offered == NULL ? "" : offered;
    tg_counter_add(&tg__metrics(conn)->script_tampering, 1);
    tg_log_about(
        conn, TG_LOG_ERROR, "conn.tampered", tg_log_str("id", id), tg_log_str("field", field),
        tg_log_strn("actual", actual, tg_utf8_cut(actual, strlen(actual), VALUE_SHOWN)),
        tg_log_strn("offered", offered, tg_utf8_cut(offered, strlen(offered), VALUE_SHOWN)),
        tg_log_str("policy", tg_conn_policy_version(conn)));
    tg_conn_fail(conn, 1011, "a script wrote what the core owns",
                 "policy wrote a field that the core owns");
}
