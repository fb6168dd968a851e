/* credentials.c - the upgrade request and what it says about who connects, as Lua tables.
 *
 * Every part is read leniently and refused silently: a malformed one is absent, and absent means no.
 * Decoded bytes are put together in the state's scratch buffer, so an error leaks nothing.
 */
#include "script/hooks/credentials.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/base64.h"
#include "base/utf8.h"
#include "proto/http.h"
#include "script/api/json.h"
#include "script/api/json_marks.h"

const char *const tg_request_fields[] = {"method", "path",           "query",     "headers",
                                         "tls",    "remote_address", "via_proxy", NULL};
const char *const tg_credentials_fields[] = {
    "bearer",       "basic",   "query",          "cookies",
    "subprotocols", "api_key", "remote_address", "client_certificate",
    "message",      NULL};

/* A piece of a text. */
struct span {
    const char *data;
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct span trim(struct span s)
{
    while (s.len > 0 && is_blank(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

/* Takes the part of *rest before `separator` (or all of it). false when nothing is left. */
static bool next_part(struct span *rest, char separator, struct span *part)
{
    if (rest->data == NULL)
        return false;
    const char *end = memchr(rest->data, separator, rest->len);
    if (end == NULL) {
        *part = *rest;
        rest->data = NULL;
        return true;
    }
    part->data = rest->data;
    part->len = (size_t)(end - rest->data);
    rest->data = end + 1;
    rest->len -= part->len + 1;
    return true;
}

/* "name=value" -> its halves; no '=': an empty value. */
static struct span split_pair(struct span *pair)
{
    struct span value = {"", 0};
    const char *equals = memchr(pair->data, '=', pair->len);
    if (equals != NULL) {
        size_t name_len = (size_t)(equals - pair->data);
        value = (struct span){equals + 1, pair->len - name_len - 1};
        pair->len = name_len;
    }
    return value;
}

static void push_span(lua_State *L, struct span s)
{
    lua_pushlstring(L, s.data, s.len);
}

/* Percent-decoded; as it was sent when that is malformed. */
static void push_decoded(lua_State *L, struct span s)
{
    struct tg_buffer *scratch = tg_lua_json_scratch(L);
    struct tg_http_text text = {s.data, s.len};
    if (tg_http_percent_decode(text, true, scratch) != TG_ERR_OK)
        push_span(L, s);
    else
        push_span(L, (struct span){scratch->len == 0 ? "" : (char *)tg_buffer_head(scratch),
                                   scratch->len});
}

/* The name is below the top, the value on top, the table below both; the first of a name stays. */
static void set_first(lua_State *L)
{
    lua_pushvalue(L, -2);
    lua_rawget(L, -4);
    bool taken = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (taken)
        lua_pop(L, 2);
    else
        lua_rawset(L, -3);
}

static void push_query(lua_State *L, const char *query)
{
    struct span rest = {query, strlen(query)};
    struct span pair;
    lua_newtable(L);
    while (next_part(&rest, '&', &pair)) {
        if (pair.len == 0)
            continue;
        struct span value = split_pair(&pair);
        push_decoded(L, pair);
        push_decoded(L, value);
        set_first(L);
    }
}

static void push_headers(lua_State *L, const struct tg_request *request)
{
    struct tg_request_header header;
    lua_createtable(L, 0, (int)tg_request_header_count(request));
    for (size_t cursor = 0; tg_request_next_header(request, &cursor, &header);) {
        lua_getfield(L, -1, header.name);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushlstring(L, header.value, header.value_len);
        } else {
            lua_pushstring(L, header.number == TG_HEADER_COOKIE ? "; " : ", ");
            lua_pushlstring(L, header.value, header.value_len);
            lua_concat(L, 3);
        }
        lua_setfield(L, -2, header.name);
    }
}

/* What the core has written itself. False, and nothing pushed, when there is none. */
static bool push_json(lua_State *L, const char *json)
{
    if (json != NULL)
        tg_lua_json_push(L, json, strlen(json));
    return json != NULL;
}

void tg_request_push(lua_State *L, const struct tg_request *request, const char *remote)
{
    luaL_checkstack(L, 10, "request");
    lua_createtable(L, 0, 7);
    lua_pushstring(L, tg_request_method(request));
    lua_setfield(L, -2, "method");
    lua_pushstring(L, tg_request_path(request));
    lua_setfield(L, -2, "path");
    push_query(L, tg_request_query(request));
    lua_setfield(L, -2, "query");
    push_headers(L, request);
    lua_setfield(L, -2, "headers");
    lua_pushstring(L, remote);
    lua_setfield(L, -2, "remote_address");
    if (!push_json(L, tg_request_tls_info(request)))
        lua_pushboolean(L, tg_request_is_secure(request));
    lua_setfield(L, -2, "tls");
    lua_pushboolean(L, tg_request_is_via_proxy(request));
    lua_setfield(L, -2, "via_proxy");
}

/* The headers that credentials are in, from one walk over all of them. */
struct proofs {
    struct span authorization; /* data NULL: none, or several */
    struct span api_key;       /* the same */
    size_t authorizations;
    size_t api_keys;
    bool has_cookies;
    bool has_subprotocols;
};

/* One that is there twice proves nothing: whoever stands in front may have looked at the other one. */
static void keep_single(struct span *kept, size_t *times, const struct tg_request_header *header)
{
    *kept = (*times)++ == 0 ? (struct span){header->value, header->value_len} : (struct span){0};
}

static struct proofs find_proofs(const struct tg_request *request)
{
    struct proofs proofs = {0};
    struct tg_request_header header;
    for (size_t cursor = 0; tg_request_next_header(request, &cursor, &header);) {
        if (header.number == TG_HEADER_AUTHORIZATION)
            keep_single(&proofs.authorization, &proofs.authorizations, &header);
        else if (header.number == TG_HEADER_X_API_KEY)
            keep_single(&proofs.api_key, &proofs.api_keys, &header);
        else if (header.number == TG_HEADER_COOKIE)
            proofs.has_cookies = true;
        else if (header.number == TG_HEADER_SEC_WEBSOCKET_PROTOCOL)
            proofs.has_subprotocols = true;
    }
    return proofs;
}

/* What follows `scheme` in an Authorization header; data NULL when it is another scheme. */
static struct span authorization(const struct proofs *proofs, const char *scheme)
{
    struct span value = proofs->authorization;
    size_t len = strlen(scheme);
    if (value.len <= len || strncasecmp(value.data, scheme, len) != 0 || !is_blank(value.data[len]))
        return (struct span){NULL, 0};
    return trim((struct span){value.data + len, value.len - len});
}

/* Calls fn for every item of every Sec-WebSocket-Protocol header. */
static void each_subprotocol(lua_State *L, const struct tg_request *request,
                             void (*fn)(lua_State *L, struct span item))
{
    struct tg_request_header header;
    for (size_t cursor = 0; tg_request_next_header(request, &cursor, &header);) {
        struct span rest = {header.value, header.value_len};
        struct span item;
        if (header.number != TG_HEADER_SEC_WEBSOCKET_PROTOCOL)
            continue;
        while (next_part(&rest, ',', &item)) {
            item = trim(item);
            if (item.len > 0)
                fn(L, item);
        }
    }
}

static void append_item(lua_State *L, struct span item)
{
    push_span(L, item);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* Browsers cannot set headers, so a token may come as the subprotocol "bearer.<token>". */
static void take_bearer(lua_State *L, struct span item)
{
    static const char prefix[] = "bearer.";
    size_t len = sizeof prefix - 1;
    if (item.len <= len || strncmp(item.data, prefix, len) != 0)
        return;
    lua_getfield(L, -1, "bearer");
    bool taken = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (taken)
        return;
    push_span(L, (struct span){item.data + len, item.len - len});
    lua_setfield(L, -2, "bearer");
}

static void set_bearer(lua_State *L, const struct tg_request *request, const struct proofs *proofs)
{
    struct span token = authorization(proofs, "bearer");
    if (token.data != NULL && token.len > 0) {
        push_span(L, token);
        lua_setfield(L, -2, "bearer");
    }
    if (proofs->has_subprotocols)
        each_subprotocol(L, request, take_bearer);
}

static void set_basic(lua_State *L, const struct proofs *proofs)
{
    struct span text = authorization(proofs, "basic");
    struct tg_buffer *scratch = tg_lua_json_scratch(L);
    if (text.data == NULL || text.len == 0 ||
        tg_base64_decode(text.data, text.len, scratch) != TG_ERR_OK || scratch->len == 0)
        return;
    const char *pair = (const char *)tg_buffer_head(scratch);
    const char *colon = memchr(pair, ':', scratch->len);
    if (colon == NULL || !tg_utf8_valid(pair, scratch->len))
        return;
    size_t name_len = (size_t)(colon - pair);
    lua_createtable(L, 0, 2);
    push_span(L, (struct span){pair, name_len});
    lua_setfield(L, -2, "username");
    push_span(L, (struct span){colon + 1, scratch->len - name_len - 1});
    lua_setfield(L, -2, "password");
    lua_setfield(L, -2, "basic");
}

static void set_cookies(lua_State *L, const struct tg_request *request)
{
    struct tg_request_header header;
    for (size_t cursor = 0; tg_request_next_header(request, &cursor, &header);) {
        struct span rest = {header.value, header.value_len};
        struct span pair;
        if (header.number != TG_HEADER_COOKIE)
            continue;
        while (next_part(&rest, ';', &pair)) {
            pair = trim(pair);
            struct span value = trim(split_pair(&pair));
            if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
                value = (struct span){value.data + 1, value.len - 2};
            push_span(L, trim(pair));
            push_span(L, value);
            set_first(L);
        }
    }
}

static void set_api_key(lua_State *L, const struct tg_request *request, const struct proofs *proofs)
{
    if (proofs->api_key.len > 0) {
        push_span(L, proofs->api_key);
    } else if (tg_request_query(request)[0] == '\0') {
        return;
    } else {
        lua_getfield(L, -1, "query");
        lua_getfield(L, -1, "api_key");
        lua_remove(L, -2);
    }
    lua_setfield(L, -2, "api_key");
}

void tg_credentials_push(lua_State *L, const struct tg_request *request, const char *remote,
                         const char *message_json, size_t message_len)
{
    struct proofs proofs = find_proofs(request);
    luaL_checkstack(L, 12, "credentials");
    lua_createtable(L, 0, 8);
    push_query(L, tg_request_query(request));
    lua_setfield(L, -2, "query");
    lua_newtable(L);
    if (proofs.has_cookies)
        set_cookies(L, request);
    lua_setfield(L, -2, "cookies");
    lua_newtable(L);
    if (proofs.has_subprotocols)
        each_subprotocol(L, request, append_item);
    tg_json_mark(L, -1, TG_JSON_MARKED_ARRAY);
    lua_setfield(L, -2, "subprotocols");
    set_bearer(L, request, &proofs);
    set_basic(L, &proofs);
    set_api_key(L, request, &proofs);
    lua_pushstring(L, remote);
    lua_setfield(L, -2, "remote_address");
    if (push_json(L, tg_request_client_certificate(request)))
        lua_setfield(L, -2, "client_certificate");
    if (message_json != NULL) {
        tg_lua_json_push(L, message_json, message_len);
        lua_setfield(L, -2, "message");
    }
}
