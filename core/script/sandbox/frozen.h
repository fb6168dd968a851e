/* frozen.h - library tables that scripts read and cannot change.
 *
 * A frozen table is an empty one in front of the real one: reading goes through __index, writing raises.
 * Cheaper to read than a view, and a table to every function that asks; used for what never changes.
 */
#ifndef TG_SCRIPT_FROZEN_H
#define TG_SCRIPT_FROZEN_H

#include <stdbool.h>

struct lua_State;

/* Before the first freeze in a new state. */
void tg_frozen_open(struct lua_State *L);
/* Replaces the table on top by its frozen one (always the same for the same table). Tables inside it that
 * have no metatable come out frozen, too. `name` is used in errors. */
void tg_frozen_wrap(struct lua_State *L, const char *name);
/* As wrap with one level, with a function for writes in place of our own: pops it from the top, the table
 * to read is below it. */
void tg_frozen_wrap_with(struct lua_State *L, const char *name);

bool tg_frozen_is(struct lua_State *L, int index);
/* Pushes the table behind; only where no script gets it. */
void tg_frozen_unwrap(struct lua_State *L, int index);
/* Raises, at the line of whoever called the running C function. */
int tg_frozen_refuse_write(struct lua_State *L, int index);

#endif
