/* json.h - JSON for scripts (tidegate.json), and for the C functions that send what scripts give them.
 *
 * Our own over base/json_reader's strict check, so that the core and scripts never disagree about a
 * document, every size and depth is bounded, and an encoding error can name the place.
 */
#ifndef TG_SCRIPT_API_JSON_H
#define TG_SCRIPT_API_JSON_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

struct lua_State;

/* Longest text that scripts may make or read. */
#define TG_LUA_JSON_MAX ((size_t)8 << 20)

/* Marks, the scratch buffer: once per state. */
void tg_lua_json_open_types(struct lua_State *L);
int tg_lua_json_open(struct lua_State *L); /* the module tidegate.json */

/* Appends the value at `index` as JSON. Runs no metamethod; raises only when the stack cannot grow,
 * before `out` is touched. TG_ERR_INVALID, TG_ERR_LIMIT, TG_ERR_BUDGET (out of CPU time): error says what and where, `root` being the
 * name of the value ("message.data.fn is a function"). `out` is as it was on error. */
TG_MUST enum tg_err tg_lua_json_encode(struct lua_State *L, int index, const char *root,
                                       struct tg_buffer *out, struct tg_error *error);
/* Pushes the value of a document that tg_json_parse accepted. Raises out of memory or CPU time. */
void tg_lua_json_push(struct lua_State *L, const char *text, size_t len);

/* A buffer that belongs to the state, emptied: bytes in it survive an error without leaking. The next
 * taker empties it again, so it must not be held across a call into Lua. */
struct tg_buffer *tg_lua_json_scratch(struct lua_State *L);

#endif
