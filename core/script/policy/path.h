/* path.h - names of places inside a value, for error texts: context.users[3].name
 */
#ifndef TG_SCRIPT_PATH_H
#define TG_SCRIPT_PATH_H

#include <stddef.h>

struct lua_State;

#define TG_PATH_DEPTH_MAX 64

/* The keys that lead from a value to a place inside it, as stack indices of the state that is walked.
 * Borrowed keys: valid while they are on that stack. */
struct tg_path {
    const char *root; /* what the value itself is called; borrowed */
    int depth;
    int keys[TG_PATH_DEPTH_MAX];
};

/* The key alone, as text without control bytes, cut to `size`. Never raises, converts nothing in place. */
void tg_path_key_text(struct lua_State *L, int key_index, char *out, size_t size);
/* The key as it follows a value: .name, [3] or ["two words"]. */
void tg_path_append_key(struct lua_State *L, int key_index, char *out, size_t size);
/* The whole path; a long one keeps its beginning and its end. */
void tg_path_text(struct lua_State *L, const struct tg_path *path, char *out, size_t size);

#endif
