/* loader.h - what `require` finds: the library under tidegate, and the policy's own files.
 *
 * Nothing else: no search path, no C modules. The policy's files come from the snapshot (source.h) and
 * only while the policy is loaded, so that its version covers every line that can run.
 */
#ifndef TG_SCRIPT_LOADER_H
#define TG_SCRIPT_LOADER_H

struct lua_State;

/* In a new state, before the sandbox. */
void tg_loader_open(struct lua_State *L);
/* Pushes `require` for policy code, or for the library (which sees its own tables unfrozen, and files
 * whose name begins with '_'). */
void tg_loader_push_require(struct lua_State *L, int for_library);
/* Pushes the policy's entry file as a function; raises its syntax errors. */
void tg_loader_push_entry(struct lua_State *L);
/* Pushes a file of lua/ as a function without an environment: for what the sandbox itself is made of. */
void tg_loader_push_private(struct lua_State *L, const char *file);
/* Pushes what the library module is to the library; raises when there is none. */
void tg_loader_push_library(struct lua_State *L, const char *module);

#endif
