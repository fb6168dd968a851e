/* lines.h - on which line of a Lua text a key gets its value, for errors about values whose place Lua
 * does not remember.
 *
 * Reads the text's own form only (table constructors, assignments, function definitions); what a program
 * computes is not found.
 */
#ifndef TG_SCRIPT_LINES_H
#define TG_SCRIPT_LINES_H

#include <stddef.h>

/* `key` is a dotted path inside the table that the text returns: "limits.max_message". The name of the
 * variable that holds the table does not count: limits = { max_message = 1 } in a constructor,
 * config.limits.max_message = 1 and function policy.authenticate() are all found. The last place, which
 * is the one that counts; 0 when there is none. */
int tg_lines_of_key(const char *text, size_t len, const char *key);

#endif
