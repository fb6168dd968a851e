/* watch.h - tells when something about the policy's files may have changed (`run --watch`). Main thread.
 *
 * It watches folders, not files: an editor that replaces a file by renaming, a module that is new, a
 * folder that is removed and made again all show there. Whether anything is really different is for whoever
 * is told to find out.
 */
#ifndef TG_APP_WATCH_H
#define TG_APP_WATCH_H

#include "base/error.h"

struct tg_timers;
struct tg_watch;
struct uv_loop_s;

typedef void (*tg_watch_fn)(void *ctx);

/* policy: the path as it was given; need not exist now. `changed` runs from the loop, a moment after the last
 * of a series of changes. */
TG_MUST enum tg_err tg_watch_create(struct tg_watch **out, struct uv_loop_s *loop,
                                    struct tg_timers *timers, const char *policy,
                                    tg_watch_fn changed, void *ctx);
/* Nothing is told any more; the loop must run once for the last handles. NULL is allowed. */
void tg_watch_destroy(struct tg_watch *watch);

#endif
