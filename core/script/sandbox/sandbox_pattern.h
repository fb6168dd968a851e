/* sandbox_pattern.h - the matcher as functions for Lua use it. */
#ifndef TG_SCRIPT_SANDBOX_PATTERN_H
#define TG_SCRIPT_SANDBOX_PATTERN_H

#include "script/sandbox/pattern.h"

struct lua_State;

/* tg_pattern_init, on the budget of the running script. */
void tg__pattern_open(struct lua_State *L, struct tg_pattern *m, const char *text, size_t len,
                      const char *pattern, bool anchors);
/* True for FOUND; raises what is wrong with the pattern, at the line of the `level`th caller, and the end of
 * the budget. */
bool tg__pattern_found(struct lua_State *L, const struct tg_pattern *m, int level,
                       enum tg_pattern_result result);
int tg__pattern_raise(struct lua_State *L, int level, const char *why);

/* Pushes one capture, or all (the whole match when there are none and `whole`); returns how many. */
void tg__pattern_push(struct lua_State *L, const struct tg_pattern *m, int index, int level);
int tg__pattern_push_all(struct lua_State *L, const struct tg_pattern *m, bool whole, int level);

#endif
