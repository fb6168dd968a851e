/* options.h - what a policy says about the options that it takes, and the values it gets.
 *
 *     policy.options = {
 *       api_key = { type = "string", required = true, secret = true },
 *       upstream = { url = { type = "string", default = "http://127.0.0.1:9000" } },
 *       ["upstream.timeout"] = { type = "number", default = 10, description = "seconds" },
 *     }
 *
 * A table with a text in `type` declares an option; any other table is a group, and dots in a name make
 * groups, too. Types: string, number, boolean, and table, whose members are named by who gives them
 * (options.keys.ada=…). Values that nobody declared pass as they were given.
 *
 * While the policy's files run for the first time, tide.options holds what was given, as it was given:
 * text where it came from a flag or the environment. Right after, before any hook, the same table is
 * completed: values get their declared types and defaults.
 */
#ifndef TG_SCRIPT_OPTIONS_H
#define TG_SCRIPT_OPTIONS_H

struct lua_State;
struct tg_mistakes;

/* Reads the declarations at `index` (nil: none) and completes tide.options. May raise out of memory. */
void tg_options_declare(struct lua_State *L, int index, struct tg_mistakes *mistakes);
/* Pushes a table: path -> name of its type ("": none that exists) for every option that was declared so far. May raise out of memory. */
void tg_options_push_declared(struct lua_State *L);

#endif
