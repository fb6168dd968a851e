/* admin_access.h - who may ask the admin listener: a judgement over one request head.
 */
#ifndef TG_OPS_ADMIN_ACCESS_H
#define TG_OPS_ADMIN_ACCESS_H

#include <stdbool.h>

#include "base/error.h"
#include "proto/http.h"

struct tg_admin_access {
    const char *address; /* borrowed; as bound, "127.0.0.1:9180" */
    const char *token;   /* borrowed; NULL: none is asked for */
};

struct tg_admin_refusal {
    int status;          /* 400, 401 or 403 */
    const char *code;    /* "host_not_allowed" */
    const char *message; /* what was wrong and what to do; static */
};

/* false: refuse as *refusal says. Host comes first, then Origin, then the token, so that a page in a
 * browser learns nothing about the token. */
bool tg_admin_access_check(const struct tg_admin_access *access, const struct tg_http *http,
                           struct tg_admin_refusal *refusal);

#endif
