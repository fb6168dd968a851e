/* migrate.h - the step of a connection from the version of the policy that served it to the current one.
 *
 * The policy's hook `migrate` runs before the first hook or run of a connection under another version.
 * What it runs for waits here meanwhile, and is cancelled here when nobody wants it any more. For
 * hooks.c, agents.c and host.c.
 */
#ifndef TG_SCRIPT_MIGRATE_H
#define TG_SCRIPT_MIGRATE_H

#include <stdbool.h>

#include "connection/hooks.h"
#include "script/host.h"

struct tg_agent_job;
struct tg_conn;
struct tg_run_request;

/* Before a hook begins. True: it waits for a migration, has run behind one already, or was answered
 * because of it; its input is kept. False: begin now; the connection's policy version is set. */
bool tg__migrate_before_hook(struct tg_host *host, struct tg_conn *conn, enum tg_hook hook,
                             const struct tg_hook_input *input);
/* The same before a run. True: the job is taken and may be gone. */
bool tg__migrate_before_run(struct tg_host *host, struct tg_agent_job *job,
                            const struct tg_run_request *request);

/* The hook that waits is cancelled; false: none does. */
bool tg__migrate_cancel_hook(struct tg_host *host, struct tg_conn *conn);
/* The job, which waited, has been taken off its list. */
void tg__migrate_forsaken(struct tg_host *host, uint64_t serial);
/* At the end of the host, when its calls are gone: forgets what still waits. */
void tg__migrations_drop(struct tg_host *host);

#endif
