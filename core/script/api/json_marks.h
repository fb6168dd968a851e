/* json_marks.h - which tables are arrays or objects for JSON, when their content alone cannot say (an
 * empty table). The mark is a shared metatable with no metamethods.
 */
#ifndef TG_SCRIPT_API_JSON_MARKS_H
#define TG_SCRIPT_API_JSON_MARKS_H

struct lua_State;

enum tg_json_mark { TG_JSON_UNMARKED, TG_JSON_MARKED_ARRAY, TG_JSON_MARKED_OBJECT };

/* Once per state, before any other. */
void tg_json_marks_open(struct lua_State *L);
/* Marks the table at `index` (a metatable of its own is replaced); may raise out of memory. */
void tg_json_mark(struct lua_State *L, int index, enum tg_json_mark mark);
/* Never raises; needs two stack slots. */
enum tg_json_mark tg_json_mark_of(struct lua_State *L, int index);

#endif
