/* plain.h - plain data: Lua values as bytes that belong to the core and outlive any state.
 *
 * nil, booleans, numbers, strings, json.null and tables of these, to a depth of 32, without cycles or
 * shared identity; no functions, userdata (views are unwrapped), threads; metatables ignored but for
 * the marks of json.array and json.object. The encoding is private to the process.
 */
#ifndef TG_SCRIPT_PLAIN_H
#define TG_SCRIPT_PLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

struct lua_State;

/* Appends the value at `index`. Never raises and runs no metamethod. TG_ERR_INVALID: error names the
 * path of what cannot be kept ("context.db is a function"), `root` being the name of the value itself;
 * TG_ERR_LIMIT over max_bytes or depth. */
TG_MUST enum tg_err tg_plain_encode(struct lua_State *L, int index, const char *root,
                                    size_t max_bytes, struct tg_buffer *out,
                                    struct tg_error *error);
/* Pushes the value (nil for no bytes). May raise out of memory; bytes must come from encode. */
void tg_plain_push(struct lua_State *L, const void *data, size_t len);

/* The text of a string field of an encoded table, borrowed from data; NULL: it has none of that name. */
const char *tg_plain_find_string(const void *data, size_t len, const char *field, size_t *text_len);

/* A number as encode writes it, for those who count without a state. read: false: it is no number. */
#define TG_PLAIN_NUMBER_SIZE 9
bool tg_plain_read_number(const void *data, size_t len, double *number);
void tg_plain_write_number(void *data, double number);

#endif
