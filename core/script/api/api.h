/* api.h - small things that every file of the script API uses. */
#ifndef TG_SCRIPT_API_API_H
#define TG_SCRIPT_API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct lua_State;
struct luaL_Reg;
struct tg_conn;
struct tg_script_env;

struct tg_script_env *tg_api_env(struct lua_State *L);
/* The connection of that serial on this worker; NULL when it is gone. */
struct tg_conn *tg_api_conn(struct lua_State *L, uint64_t serial);

/* For C functions that loop over what a script gave them: true when the script's CPU budget is used up
 * and they should stop. */
bool tg_api_out_of_time(struct lua_State *L);
/* Raises what ends a script whose budget is used up, having noted where it was. */
int tg_api_raise_out_of_time(struct lua_State *L);
/* For C functions that call Lua: raises, at the line of the `level`th caller, when there are too many of them
 * inside each other. */
void tg_api_check_nesting(struct lua_State *L, int level);

/* Pushes true, or nil and the reason: what functions that can fail in an expected way return. */
int tg_api_push_result(struct lua_State *L, enum tg_err err);
int tg_api_push_failure(struct lua_State *L, const char *why);

/* The arguments (code = 1000, reason = "") of a function `name` that closes, from `index` on; raises when
 * they are wrong. *reason is borrowed from the stack. */
int tg_api_check_close(struct lua_State *L, const char *name, int index, const char **reason);

/* Sets functions (a list that ends with a NULL name) as fields of the table on top. */
void tg_api_set_functions(struct lua_State *L, const struct luaL_Reg *rows);

/* Any value as short text for logs and errors; runs no metamethod and changes nothing. */
void tg_api_value_text(struct lua_State *L, int index, char *out, size_t size);
/* "nil", "table", … and what our own userdata are to people. */
const char *tg_api_type_name(struct lua_State *L, int index);

/* The name that `key` was probably meant to be: by spelling, or because it begins so; NULL: none. */
const char *tg_api_suggest(const char *key, const char *const *names, size_t count);

/* `key` (a static char's address) names a type's metatable in the registry. */
void tg_api_set_metatable(struct lua_State *L, char *key, const struct luaL_Reg *metamethods);
void tg_api_push_registry(struct lua_State *L, char *key);
/* Says that the type with this metatable is `name` of lua/meta ("tidegate.Conn"). Its members are the keys of
 * the registry's table at methods_key, then or later (NULL: none), and those of the table on top, which
 * is popped. For `check`, and for the test that compares annotations. */
void tg_api_declare_class(struct lua_State *L, const char *name, char *metatable_key,
                          char *methods_key);
/* The same for a type that has methods and no fields: its metatable, its methods and its class. */
void tg_api_open_methods(struct lua_State *L, const char *name, char *metatable_key,
                         const struct luaL_Reg *metamethods, char *methods_key,
                         const struct luaL_Reg *methods);
/* Its __index, once the object at 1 is known to be one: the method with the key at 2, or an error that says
 * what there is ("a timer", "timer:cancel()"). */
int tg_api_index_method(struct lua_State *L, char *methods_key, const char *what, const char *has);
/* Raises the text at 1 at the innermost line that is not of a file whose chunk name begins with `files`
 * ("@tidegate/_auth"). */
int tg_api_raise_outside(struct lua_State *L, const char *files);
/* Pushes a new table: name of each member -> true. Empty for a class that nobody declared. */
void tg_api_push_members(struct lua_State *L, const char *name);
/* Pushes name -> metatable of every class that was declared. */
void tg_api_push_classes(struct lua_State *L);
/* The userdata at `index` when its metatable is that of `key`, else NULL. Never raises. */
void *tg_api_test_userdata(struct lua_State *L, int index, char *key);
/* Pushes what *ref keeps alive and gives the reference up. *ref may be a member of that very object, which the
 * stack keeps from now on. */
void tg_api_push_kept(struct lua_State *L, int *ref);

#endif
