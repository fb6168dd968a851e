/* tide.h - the module `tidegate`: answers that only it can make, and connections by ID. */
#ifndef TG_SCRIPT_API_TIDE_H
#define TG_SCRIPT_API_TIDE_H

#include <stddef.h>

struct lua_State;

#define TG_REASON_SIZE 121 /* what a peer gets to see of a reason, and a NUL */

enum tg_marker_kind { TG_MARKER_REJECT, TG_MARKER_NEED_MESSAGE, TG_MARKER_DEGRADED };

/* An answer of a hook that is no plain value; scripts cannot make one but through the module. */
struct tg_marker {
    enum tg_marker_kind kind;
    int status;                  /* REJECT: HTTP status */
    char reason[TG_REASON_SIZE]; /* "" when none */
};

void tg_tide_open_types(struct lua_State *L);
int tg_tide_open(struct lua_State *L);

/* NULL when the value at `index` is no marker. Never raises. */
const struct tg_marker *tg_marker_at(struct lua_State *L, int index);

void tg_marker_push(struct lua_State *L, const struct tg_marker *marker);

/* Copies a reason, cut to what may be shown, without control characters. */
void tg_reason_copy(char out[TG_REASON_SIZE], const char *text, size_t len);

#endif
