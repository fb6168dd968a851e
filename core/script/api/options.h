/* options.h - the configuration's `options` as scripts see them: tide.options. */
#ifndef TG_SCRIPT_API_OPTIONS_H
#define TG_SCRIPT_API_OPTIONS_H

struct lua_State;
struct tg_script_env;

/* Pushes a view: { upstream = { url = "…" } } for the option upstream.url. What came from a flag or the
 * environment stays text: guessing would turn the key "0012" into a number. */
void tg_options_push(struct lua_State *L, const struct tg_script_env *env);
/* Pushes tide.server. */
void tg_options_push_server(struct lua_State *L, const struct tg_script_env *env);

#endif
