/* view.h - read-only tables: a userdata in front of a table that scripts cannot reach.
 *
 * Reading works as on a table (index, #, and the sandbox's pairs, ipairs, next, type, unpack,
 * table.concat, json.encode see through it); nested tables come out as views. Writing raises, and for
 * what belongs to a connection also fails that connection.
 */
#ifndef TG_SCRIPT_VIEW_H
#define TG_SCRIPT_VIEW_H

#include <stdbool.h>
#include <stdint.h>

struct lua_State;

/* Registers the metatable in a new state. */
void tg_view_open(struct lua_State *L);
/* Replaces the table on top by a view of it. `name` ("conn.identity") is static and used in errors;
 * conn_serial, when not 0, is the connection that a write fails (tg_conn_tampered). */
void tg_view_wrap(struct lua_State *L, const char *name, uint64_t conn_serial);
bool tg_view_is(struct lua_State *L, int index);
/* Pushes the table behind the view at `index` (for host code only; never hand it to a script). */
void tg_view_unwrap(struct lua_State *L, int index);
/* As lua_next on a table, with nested tables as views: pops a key, pushes the next key and value, or
 * nothing and returns 0 at the end. */
int tg_view_next(struct lua_State *L, int index);
/* As lua_rawget on a table, with nested tables as views: replaces the key on top by its value. */
void tg_view_get(struct lua_State *L, int index);
/* The write attempt itself, for the sandbox's rawset and setmetatable: raises. key NULL: the metatable.
 * The offered value is on top of the stack. */
int tg_view_refuse_write(struct lua_State *L, int index, const char *key);

#endif
