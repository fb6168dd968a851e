/* conn_fields.h - what scripts read of a connection. Only for conn*.c. */
#ifndef TG_SCRIPT_API_CONN_FIELDS_H
#define TG_SCRIPT_API_CONN_FIELDS_H

#include <stdbool.h>

#include "script/api/conn.h"

struct lua_State;

#define TG__CONN_FIELDS 10

struct tg__conn_field {
    const char *name;
    bool outlives; /* also told of a connection that is over: `conn` is NULL then */
    /* Pushes one value; the userdata is at `self`. */
    void (*push)(struct lua_State *L, struct tg_conn_ref *ref, int self, struct tg_conn *conn);
};

extern const struct tg__conn_field tg__conn_fields[TG__CONN_FIELDS];

/* NULL: there is none of that name. */
const struct tg__conn_field *tg__conn_field_find(const char *name);

#endif
