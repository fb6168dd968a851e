/* hook_results.c - what a hook returned, read strictly: only a clear yes is one.
 *
 * Each hook has one reader. What no reader recognises is BAD_RESULT, which for a hook that decides
 * means no; a result too many is as wrong as a missing one, so that `return true, "but no"` cannot let
 * anybody in.
 *
 * I1  Tables are looked at raw: a policy's metatables take no part in a decision.
 * I2  Nothing that a peer gets to see holds a path, a line number or a traceback.
 */
#include "script/hooks/hook_results.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/utf8.h"
#include "script/api/api.h"
#include "script/hooks/view.h"
#include "script/plain.h"

#define RESULTS_MAX 2

static void set_outcome(struct tg_hook_reading *r, enum tg_hook_outcome outcome)
{
    r->result.outcome = outcome;
}

/* What a peer is told about each fault. */
static const char *const peer_texts[TG_HOOK_OUTCOMES] = {
    [TG_HOOK_DENIED_OUTCOME] = "refused",
    [TG_HOOK_ERROR_OUTCOME] = "policy error",
    [TG_HOOK_CPU_BUDGET_OUTCOME] = "policy computed too long",
    [TG_HOOK_WALL_BUDGET_OUTCOME] = "policy took too long",
    [TG_HOOK_MEMORY_OUTCOME] = "policy out of memory",
    [TG_HOOK_BAD_RESULT_OUTCOME] = "policy gave a wrong answer",
};

void tg_hook_reading_fail(struct tg_hook_reading *out, enum tg_hook_outcome outcome)
{
    memset(out, 0, sizeof *out);
    set_outcome(out, outcome);
    out->result.reason = peer_texts[outcome];
}

static void read_bad(lua_State *L, enum tg_hook hook, struct tg_hook_reading *r, const char *wanted)
{
    const struct tg_marker *marker = tg_marker_at(L, 1);
    static const char *const markers[] = {
        [TG_MARKER_REJECT] = "tide.reject(…)",
        [TG_MARKER_NEED_MESSAGE] = "tide.need_message()",
        [TG_MARKER_DEGRADED] = "tide.degraded(…)",
    };
    const char *first = marker != NULL ? markers[marker->kind] : tg_api_type_name(L, 1);
    tg_buffer_clear(&r->kept);
    set_outcome(r, TG_HOOK_BAD_RESULT_OUTCOME);
    r->result.reason = peer_texts[TG_HOOK_BAD_RESULT_OUTCOME];
    bool one = lua_isnil(L, 2);
    (void)tg_error_set(&r->wrong, TG_ERR_SCRIPT, "%s must return %s; it returned %s%s%s",
                       tg_hook_names[hook], wanted, first, one ? "" : " and ",
                       one ? "" : tg_api_type_name(L, 2));
}

/* A wrong part of something of the right shape. */
static void read_wrong(enum tg_hook hook, struct tg_hook_reading *r, const char *what)
{
    tg_buffer_clear(&r->kept);
    set_outcome(r, TG_HOOK_BAD_RESULT_OUTCOME);
    r->result.reason = peer_texts[TG_HOOK_BAD_RESULT_OUTCOME];
    (void)tg_error_set(&r->wrong, TG_ERR_SCRIPT, "%s: %s", tg_hook_names[hook], what);
}

static void deny(struct tg_hook_reading *r, const char *text, size_t len)
{
    set_outcome(r, TG_HOOK_DENIED_OUTCOME);
    tg_reason_copy(r->reason, text, len);
    r->result.reason = r->reason[0] != '\0' ? r->reason : peer_texts[TG_HOOK_DENIED_OUTCOME];
}

/* nil, "why" - the second result says it. */
static bool read_denied(lua_State *L, struct tg_hook_reading *r)
{
    size_t len = 0;
    if (!lua_isnil(L, 1) || lua_type(L, 2) != LUA_TSTRING)
        return false;
    const char *text = lua_tolstring(L, 2, &len);
    deny(r, text, len);
    return true;
}

/* tide.reject(status, why); in hooks after the upgrade its status becomes a close code. */
static bool read_reject(lua_State *L, struct tg_hook_reading *r, int code_offset)
{
    const struct tg_marker *marker = tg_marker_at(L, 1);
    if (marker == NULL || marker->kind != TG_MARKER_REJECT || !lua_isnil(L, 2))
        return false;
    deny(r, marker->reason, strlen(marker->reason));
    r->result.status = marker->status + code_offset;
    return true;
}

static bool is_marker(lua_State *L, enum tg_marker_kind kind)
{
    const struct tg_marker *marker = tg_marker_at(L, 1);
    return marker != NULL && marker->kind == kind && lua_isnil(L, 2);
}

/* A table, or a view, which is replaced by its table. */
static bool is_table_alone(lua_State *L)
{
    if (tg_view_is(L, 1)) {
        tg_view_unwrap(L, 1);
        lua_replace(L, 1);
    }
    return lua_istable(L, 1) && lua_isnil(L, 2);
}

static void push_field(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, 1);
}

/* connection_id in what a hook returns is compared with the real one by the connection. */
static void read_offered_id(lua_State *L, struct tg_hook_reading *r)
{
    push_field(L, "connection_id");
    if (!lua_isnil(L, -1)) {
        tg_api_value_text(L, lua_gettop(L), r->offered_id, sizeof r->offered_id);
        r->result.offered_id = r->offered_id;
    }
    lua_pop(L, 1);
}

static bool keep(lua_State *L, int index, enum tg_hook hook, const char *root, size_t max,
                 struct tg_hook_reading *r, struct tg_blob *blob)
{
    struct tg_error error;
    enum tg_err err = tg_plain_encode(L, index, root, max, &r->kept, &error);
    if (err != TG_ERR_OK) {
        read_wrong(hook, r, error.text);
        return false;
    }
    *blob = (struct tg_blob){tg_buffer_head(&r->kept), r->kept.len};
    return true;
}

/* NULL, or what is wrong with the user_id on top of the stack, which goes to `out`. */
static const char *read_user_id(lua_State *L, char out[TG_USER_ID_BYTES_MAX + 1])
{
    size_t len = 0;
    if (lua_type(L, -1) == LUA_TNUMBER)
        return "user_id is a number; write it as text (tostring) so that it compares as one";
    if (lua_type(L, -1) != LUA_TSTRING)
        return "user_id is missing or no text";
    const char *text = lua_tolstring(L, -1, &len);
    if (len == 0)
        return "user_id is empty";
    if (len > TG_USER_ID_BYTES_MAX)
        return "user_id is longer than 256 bytes";
    if (!tg_utf8_valid(text, len))
        return "user_id is not UTF-8 text";
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return "user_id holds a control character";
    }
    memcpy(out, text, len);
    out[len] = '\0';
    return NULL;
}

static const char *read_expires_at(lua_State *L, double *out)
{
    if (lua_isnil(L, -1))
        return NULL;
    if (lua_type(L, -1) != LUA_TNUMBER)
        return "expires_at must be a number (unix seconds) or left out";
    double at = lua_tonumber(L, -1);
    if (!isfinite(at) || at <= 0)
        return "expires_at must be a positive number of unix seconds; leave it out for never";
    *out = at;
    return NULL;
}

static void read_identity(lua_State *L, enum tg_hook hook, struct tg_hook_reading *r)
{
    read_offered_id(L, r);
    push_field(L, "user_id");
    const char *wrong = read_user_id(L, r->user_id);
    push_field(L, "expires_at");
    if (wrong == NULL)
        wrong = read_expires_at(L, &r->result.expires_at);
    lua_pop(L, 2);
    if (wrong != NULL) {
        read_wrong(hook, r, wrong);
        return;
    }
    if (keep(L, 1, hook, "identity", TG_KEPT_BYTES_MAX, r, &r->result.identity))
        r->result.user_id = r->user_id;
}

static void read_authenticate(lua_State *L, enum tg_hook hook, struct tg_hook_reading *r)
{
    if (is_table_alone(L))
        read_identity(L, hook, r);
    else if (is_marker(L, TG_MARKER_NEED_MESSAGE))
        r->result.verdict = TG_VERDICT_NEED_MESSAGE;
    else if (!read_denied(L, r) && !read_reject(L, r, 4000))
        read_bad(L, hook, r, "a table with user_id, or nil and a reason, or tide.need_message()");
}

static void read_upgrade(lua_State *L, enum tg_hook hook, struct tg_hook_reading *r)
{
    if (lua_isnil(L, 1) && lua_isnil(L, 2))
        return;
    if (!read_reject(L, r, 0))
        read_bad(L, hook, r, "nothing, or tide.reject(status, reason)");
}

static void read_context(lua_State *L, enum tg_hook hook, struct tg_hook_reading *r)
{
    if (is_table_alone(L)) {
        read_offered_id(L, r);
        (void)keep(L, 1, hook, "context", TG_KEPT_BYTES_MAX, r, &r->result.context);
    } else if (!read_denied(L, r) && !read_reject(L, r, 4000)) {
        read_bad(L, hook, r, "a table, or nil and a reason");
    }
}

static void read_prepare(lua_State *L, enum tg_hook hook, struct tg_hook_reading *r)
{
    size_t len = 0;
    if (lua_type(L, 1) == LUA_TBOOLEAN && lua_toboolean(L, 1) && lua_isnil(L, 2))
        return;
    if (lua_type(L, 1) == LUA_TBOOLEAN && !lua_toboolean(L, 1) &&
        (lua_isnil(L, 2) || lua_type(L, 2) == LUA_TSTRING)) {
        const char *why = lua_tolstring(L, 2, &len);
        deny(r, why == NULL ? "" : why, len);
    } else if (is_marker(L, TG_MARKER_DEGRADED)) {
        r->result.verdict = TG_VERDICT_DEGRADED;
        tg_reason_copy(r->reason, tg_marker_at(L, 1)->reason, strlen(tg_marker_at(L, 1)->reason));
        r->result.reason = r->reason;
    } else if (!read_denied(L, r) && !read_reject(L, r, 4000)) {
        read_bad(L, hook, r, "true, tide.degraded(why), or nil and a reason");
    }
}

/* nil and json.null (a client's "agent_type": null, handed on) leave the choice to the core. */
static bool is_nothing(lua_State *L, int index)
{
    return lua_isnil(L, index) ||
           (lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL);
}

static void read_route(lua_State *L, enum tg_hook hook, struct tg_hook_reading *r)
{
    size_t len = 0;
    if (is_nothing(L, 1) && lua_isnil(L, 2))
        return;
    if (lua_type(L, 1) != LUA_TSTRING) {
        if (!read_denied(L, r))
            read_bad(L, hook, r, "an agent's name (and its input), or nil and a reason");
        return;
    }
    const char *name = lua_tolstring(L, 1, &len);
    if (len == 0 || len > TG_AGENT_NAME_BYTES_MAX || strlen(name) != len) {
        read_wrong(hook, r, "the agent's name must be text of 1 to 63 bytes");
        return;
    }
    memcpy(r->agent, name, len + 1);
    if (lua_isnil(L, 2) || keep(L, 2, hook, "input", TG_INPUT_BYTES_MAX, r, &r->result.input))
        r->result.agent = r->agent;
}

/* What an HTTP status says, in one word. */
static const char *status_name(int status)
{
    switch (status) {
    case 401:
        return "unauthenticated";
    case 403:
        return "forbidden";
    case 408:
        return "timeout";
    case 429:
        return "rate_limited";
    case 503:
        return "unavailable";
    default:
        return "other";
    }
}

/* The code of a denial, beside nil and a reason: an HTTP status, which becomes a close code as that of
 * tide.reject does, or a word. False: none, or something else. */
static bool read_denial_code(lua_State *L, int *status, char word[TG_DENIAL_REASON_SIZE])
{
    size_t len = 0;
    if (!lua_isnil(L, 1) || lua_type(L, 2) != LUA_TSTRING)
        return false;
    if (lua_type(L, 3) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, 3, &len);
        bool valid = tg_denial_reason_valid(text, len);
        (void)snprintf(word, TG_DENIAL_REASON_SIZE, "%s", valid ? text : "other");
        *status = strcmp(word, "unavailable") == 0 ? 503 : 0;
        return true;
    }
    lua_Number code = lua_type(L, 3) == LUA_TNUMBER ? lua_tonumber(L, 3) : 0;
    if (!(code >= 400 && code <= 599) || code != (int)code)
        return false;
    *status = (int)code;
    return true;
}

typedef void (*reader_fn)(lua_State *L, enum tg_hook hook, struct tg_hook_reading *r);

/* NULL: what the hook returns does not matter. */
static const reader_fn readers[TG_HOOKS] = {
    [TG_HOOK_UPGRADE] = read_upgrade,
    [TG_HOOK_AUTHENTICATE] = read_authenticate,
    [TG_HOOK_REAUTHENTICATE] = read_authenticate,
    [TG_HOOK_CREATE_CONTEXT] = read_context,
    [TG_HOOK_PREPARE] = read_prepare,
    [TG_HOOK_ROUTE] = read_route,
};

/* Only who is asked for an identity says why not in a word, too: those denials are counted by it. */
static void set_code(struct tg_hook_reading *r, int status, const char *word)
{
    if (status != 0)
        r->result.status = status + 4000;
    if (word[0] == '\0' && r->result.status != 0)
        word = status_name(r->result.status - 4000);
    (void)snprintf(r->code, sizeof r->code, "%s", word);
    r->result.code = r->code[0] != '\0' ? r->code : NULL;
}

bool tg_hook_results_matter(enum tg_hook hook)
{
    return readers[hook] != NULL;
}

void tg_hook_results_read(lua_State *L, enum tg_hook hook, struct tg_hook_reading *out)
{
    memset(out, 0, sizeof *out);
    if (readers[hook] != NULL) {
        int count = lua_gettop(L);
        luaL_checkstack(L, 8, "results");
        int status = 0;
        char word[TG_DENIAL_REASON_SIZE] = "";
        bool authenticates = readers[hook] == read_authenticate;
        bool coded = authenticates && read_denial_code(L, &status, word);
        bool surplus = false;
        for (int i = RESULTS_MAX + (coded ? 2 : 1); i <= count; i++)
            surplus = surplus || !lua_isnil(L, i);
        lua_settop(L, RESULTS_MAX);
        if (surplus)
            read_wrong(hook, out, "returned more than two values");
        else
            readers[hook](L, hook, out);
        if (authenticates && out->result.outcome == TG_HOOK_DENIED_OUTCOME)
            set_code(out, status, word);
    }
    lua_settop(L, 0);
}

void tg_hook_reading_fini(struct tg_hook_reading *reading)
{
    tg_buffer_fini(&reading->kept);
}
