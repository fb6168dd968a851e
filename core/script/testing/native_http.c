/* native_http.c - what a policy asks of upstreams, and the pieces of their answers. */
#include <string.h>

#include "script/testing/native_internal.h"

static void set_milliseconds(lua_State *L, const char *name, uint64_t ms)
{
    if (ms == 0)
        return;
    lua_pushnumber(L, (lua_Number)ms / 1000);
    lua_setfield(L, -2, name);
}

static void push_request(lua_State *L, const struct tg_fetch_request *request)
{
    lua_createtable(L, 0, 6);
    lua_pushstring(L, request->method);
    lua_setfield(L, -2, "method");
    lua_pushstring(L, request->url);
    lua_setfield(L, -2, "url");
    if (request->body != NULL) {
        lua_pushlstring(L, request->body, request->body_len);
        lua_setfield(L, -2, "body");
    }
    set_milliseconds(L, "timeout", request->timeout_ms);
    lua_pushnumber(L, (lua_Number)request->redirects_max);
    lua_setfield(L, -2, "redirects");
    lua_createtable(L, 0, (int)request->header_count);
    for (size_t i = 0; i < request->header_count; i++) {
        lua_pushstring(L, request->headers[i].value);
        lua_setfield(L, -2, request->headers[i].name);
    }
    lua_setfield(L, -2, "headers");
}

/* next_fetch(host) -> number, request | nil */
static int l_next_fetch(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    const struct tg_fetch_request *request;
    size_t number = host->backend->next_fetch(host->sim, &request);

    if (number == 0)
        return 0;
    lua_pushinteger(L, (lua_Integer)number);
    push_request(L, request);
    return 2;
}

/* next_websocket(host) -> number, "opened", request | "sent", message, is text | "closed", code; or nil */
static int l_next_websocket(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    struct tg_sim_ws_news news;

    if (!host->backend->next_websocket(host->sim, &news))
        return 0;
    lua_pushinteger(L, (lua_Integer)news.number);
    switch (news.kind) {
    case TG_SIM_WS_OPENED:
        lua_pushliteral(L, "opened");
        push_request(L, news.request);
        return 3;
    case TG_SIM_WS_SENT:
        lua_pushliteral(L, "sent");
        lua_pushlstring(L, news.data, news.len);
        lua_pushboolean(L, news.text);
        return 4;
    case TG_SIM_WS_CLOSED:
        lua_pushliteral(L, "closed");
        lua_pushinteger(L, news.code);
        return 3;
    }
    return 0;
}

static enum tg_fetch_outcome check_outcome(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);

    for (int i = 0; i < TG_FETCH_OUTCOMES; i++) {
        if (strcmp(tg_fetch_outcome_names[i], name) == 0)
            return (enum tg_fetch_outcome)i;
    }
    return (enum tg_fetch_outcome)luaL_error(L, "\"%s\" is no way in which a request can end",
                                             name);
}

/* The list of { name, value } at `index`. */
static void read_headers(lua_State *L, int index, struct tg_sim_piece *piece)
{
    size_t count = lua_objlen(L, index);
    struct tg_fetch_header *headers = lua_newuserdata(L, (count + 1) * sizeof *headers);

    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        headers[i].name = luaL_checkstring(L, -2); /* both stay: they are in the list */
        headers[i].value = luaL_checkstring(L, -1);
        lua_pop(L, 3);
    }
    piece->headers = headers;
    piece->header_count = count;
}

/* From index 3 on; of a list of headers it borrows what is on the stack. */
static struct tg_sim_piece read_piece(lua_State *L)
{
    const char *kind = luaL_checkstring(L, 4);
    struct tg_sim_piece piece = {.delay_ms = (uint64_t)luaL_checknumber(L, 3)};

    if (strcmp(kind, "head") == 0) {
        piece.kind = TG_SIM_HEAD;
        piece.status = (int)luaL_checkinteger(L, 5);
        luaL_checktype(L, 6, LUA_TTABLE);
        read_headers(L, 6, &piece);
    } else if (strcmp(kind, "data") == 0) {
        piece.kind = TG_SIM_DATA;
        piece.data = luaL_checklstring(L, 5, &piece.len);
        piece.binary = lua_toboolean(L, 6) != 0;
    } else {
        piece.kind = TG_SIM_DONE;
        piece.outcome = check_outcome(L, 5);
        piece.code = (int)luaL_optinteger(L, 6, 0);
    }
    return piece;
}

/* answer(host, number, delay ms, "head", status, headers | "data", bytes | "done", outcome) */
static int l_answer(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    struct tg_sim_piece piece = read_piece(L);

    if (host->backend->answer(host->sim, (size_t)luaL_checkinteger(L, 2), &piece) != TG_ERR_OK)
        return luaL_error(L, "out of memory");
    return 0;
}

/* answer_websocket(host, number, delay ms, "head", status, {} | "data", bytes, is binary |
 * "done", outcome, code) */
static int l_answer_websocket(lua_State *L)
{
    struct tg_testing_host *host = tg__testing_check(L);
    struct tg_sim_piece piece = read_piece(L);
    size_t number = (size_t)luaL_checkinteger(L, 2);

    if (host->backend->answer_websocket(host->sim, number, &piece) != TG_ERR_OK)
        return luaL_error(L, "out of memory");
    return 0;
}

const luaL_Reg tg__testing_http_functions[] = {
    {"next_fetch", l_next_fetch},
    {"answer", l_answer},
    {"next_websocket", l_next_websocket},
    {"answer_websocket", l_answer_websocket},
    {NULL, NULL},
};
