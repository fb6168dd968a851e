/* layers.h - how the configuration becomes the options of hub, runs and scripts, how these three are tied
 * together, and what metrics they have: the same for workers that serve and for a simulation.
 */
#ifndef TG_APP_LAYERS_H
#define TG_APP_LAYERS_H

#include <stddef.h>

#include "agent/quota.h"
#include "agent/run.h"
#include "base/cidr.h"
#include "connection/admission.h"
#include "connection/hub.h"
#include "net/http_client.h"
#include "ops/config.h"
#include "ops/metrics_text.h"
#include "script/host.h"

struct tg_kv;
struct tg_passes;

/* All borrowed from tg_layers_connect until the hub is gone. */
struct tg_layers {
    struct tg_hub *hub;
    struct tg_runs *runs;
    struct tg_host *host;
    /* See tg_conn_upper; NULL: nobody looks. */
    void (*conn_over)(void *ctx, const struct tg_conn *conn);
    void *over_ctx;
};

/* index: of the worker, from 0. What is of the process and not of the configuration (admission, trusted
 * proxies) is left to the caller; texts are borrowed from config. */
struct tg_hub_options tg_layers_hub_options(const struct tg_config *config, size_t index);
/* What the hubs of a process share. *list is freed with tg_free, also on an error. */
TG_MUST enum tg_err tg_layers_trusted_proxies(const struct tg_config *config, struct tg_cidr **list,
                                              size_t *count, struct tg_error *error);
TG_MUST enum tg_err tg_layers_admission(const struct tg_config *config, struct tg_admission **out,
                                        struct tg_error *error);
/* On an error *kv may be there already. */
TG_MUST enum tg_err tg_layers_stores(const struct tg_config *config, struct tg_kv **kv,
                                     struct tg_passes **passes, struct tg_error *error);
TG_MUST enum tg_err tg_layers_quota(struct tg_quota **out, struct tg_error *error);
/* Without the quota, which is the process's. */
struct tg_runs_options tg_layers_runs_options(const struct tg_config *config);
struct tg_http_client_options tg_layers_http_options(const struct tg_config *config);
/* Without env: what it holds besides the budgets belongs to the worker. */
struct tg_host_options tg_layers_host_options(const struct tg_config *config);
/* Texts are borrowed from config. Of a server that listens: where none does, client_auth is to be NULL. */
struct tg_script_server tg_layers_script_server(const struct tg_config *config);
struct tg_script_programs tg_layers_script_programs(const struct tg_config *config);

/* What a connection asks goes to the scripts or to the runs; what a run asks, to the scripts. */
void tg_layers_connect(struct tg_layers *layers);

/* The text of these shards. Of the facts, version, build, kv and passes are filled in here. */
TG_MUST enum tg_err tg_layers_write_metrics(struct tg_buffer *out,
                                            const struct tg_metrics *const *shards, size_t count,
                                            struct tg_kv *kv, const struct tg_passes *passes,
                                            const struct tg_metrics_facts *facts);

#endif
