/* rebuild.h - a state that cannot be trusted any more is built anew. For call.c, hooks.c and host.c. */
#ifndef TG_SCRIPT_REBUILD_H
#define TG_SCRIPT_REBUILD_H

#include "base/metrics.h"

struct tg_generation;
struct tg_host;

/* After a call, from wherever it ended: the state may be broken or useless. Only the current generation of
 * a host is rebuilt, later, from the loop. */
void tg__rebuild_ask(struct tg_generation *generation, enum tg_rebuild why);
/* Before something begins on the current generation: rebuilds it at once when that is due and no script
 * runs on this thread. */
void tg__rebuild_if_due(struct tg_host *host);
/* The current generation is another one now. */
void tg__rebuild_forget(struct tg_host *host);

#endif
