/* server.h - the process: main thread, workers, admin listener, reloads, signals.
 */
#ifndef TG_APP_SERVER_H
#define TG_APP_SERVER_H

#include "base/error.h"
#include "ops/config.h"

struct tg_server;

/* Binds every address, starts the workers and the first load of the policy. config is borrowed until
 * destroy. On error nothing is left running. */
TG_MUST enum tg_err tg_server_create(struct tg_server **out, const struct tg_config *config,
                                     struct tg_error *error);
/* Serves until a signal or POST /drain has ended it. 0: drained in order; 1: the policy did not load (the
 * reason is on standard error) or something was left at the deadline. */
TG_MUST int tg_server_run(struct tg_server *server);
void tg_server_destroy(struct tg_server *server); /* NULL is allowed */

/* Begins the drain; a second call ends what is left at once. Main thread. */
void tg_server_drain(struct tg_server *server, const char *why);

#endif
