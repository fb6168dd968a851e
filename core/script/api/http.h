/* http.h - the module tidegate.http: HTTP requests of scripts, which wait for the answer and the worker does
 * not.
 */
#ifndef TG_SCRIPT_API_HTTP_H
#define TG_SCRIPT_API_HTTP_H

struct lua_State;

int tg_http_open(struct lua_State *L);

#endif
