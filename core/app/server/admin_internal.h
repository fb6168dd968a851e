/* admin_internal.h - what the files of the admin API share: the handlers, and how they answer. */
#ifndef TG_APP_ADMIN_INTERNAL_H
#define TG_APP_ADMIN_INTERNAL_H

#include <stdbool.h>

#include "app/server/server_internal.h"
#include "base/buffer.h"
#include "ops/admin.h"
#include "proto/websocket.h"

/* Answers with the body, or with 503 when it could not be written (`failed`). Frees the body. */
void tg__admin_reply(struct tg_admin_request *request, int status, const char *content_type,
                     struct tg_buffer *body, bool failed);

/* admin_gather.c: the answers of all asked workers, gathered on the main thread. */
struct tg_gather {
    struct tg_server *server;
    uint64_t ticket;
    size_t awaited; /* workers that have not answered; set by the asker */
    size_t matched;
    size_t limit;
    struct tg_buffer rows; /* comma-separated objects */
    void (*finish)(struct tg_gather *gather, struct tg_admin_request *request);
};
/* finish runs once, unless the one who asked is gone by then; the gather is freed after. */
struct tg_gather *tg__gather_create(struct tg_server *server, struct tg_admin_request *request,
                                    void (*finish)(struct tg_gather *, struct tg_admin_request *));
/* A tg_rows_fn; ctx is the gather. On a worker's thread. */
void tg__gather_rows(void *ctx, struct tg_buffer *rows, size_t matched);

/* admin_facts.c: from the shards, at once. ctx is the struct tg_server. */
void tg__admin_get_health(void *ctx, struct tg_admin_request *request);
void tg__admin_get_ready(void *ctx, struct tg_admin_request *request);
void tg__admin_get_metrics(void *ctx, struct tg_admin_request *request);
void tg__admin_get_version(void *ctx, struct tg_admin_request *request);

/* admin_policy.c */
void tg__admin_get_policy(void *ctx, struct tg_admin_request *request);
void tg__admin_post_reload(void *ctx, struct tg_admin_request *request);
void tg__admin_post_rollback(void *ctx, struct tg_admin_request *request);
void tg__admin_post_drain(void *ctx, struct tg_admin_request *request);

/* admin_connections.c: asks the workers and answers later. */
void tg__admin_get_connections(void *ctx, struct tg_admin_request *request);
void tg__admin_get_connection(void *ctx, struct tg_admin_request *request);
void tg__admin_post_close(void *ctx, struct tg_admin_request *request);
/* {"code": 4000, "reason": "…"}, both optional; no body is fine. False after answering that it is wrong. */
bool tg__admin_read_close(struct tg_admin_request *request, int *code,
                          char reason[TG_WS_REASON_MAX + 1]);

/* admin_passes.c */
void tg__admin_post_ticket(void *ctx, struct tg_admin_request *request);
void tg__admin_post_close_user(void *ctx, struct tg_admin_request *request);
void tg__admin_post_revoke(void *ctx, struct tg_admin_request *request);

#endif
