/* path.c - names of places inside a value, for error texts.
 *
 * Used while a table is walked with lua_next, so keys are only looked at: lua_tolstring on a number
 * key would change it in place and break the walk.
 */
#include "script/policy/path.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <lua.h>

#include "base/utf8.h"

static bool is_identifier(const char *text, size_t len)
{
    if (len == 0 || len > 40 || (text[0] >= '0' && text[0] <= '9'))
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_'))
            return false;
    }
    return true;
}

void tg_path_key_text(lua_State *L, int key_index, char *out, size_t size)
{
    int type = lua_type(L, key_index);
    if (type == LUA_TNUMBER) {
        snprintf(out, size, "%.14g", lua_tonumber(L, key_index));
    } else if (type == LUA_TBOOLEAN) {
        snprintf(out, size, "%s", lua_toboolean(L, key_index) ? "true" : "false");
    } else if (type == LUA_TSTRING) {
        size_t len = 0;
        const char *text = lua_tolstring(L, key_index, &len);
        size_t n = tg_utf8_cut(text, len, size - 1);
        for (size_t i = 0; i < n; i++)
            out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
        out[n] = '\0';
        if (!tg_utf8_valid(out, n))
            snprintf(out, size, "(bytes)");
    } else {
        snprintf(out, size, "(%s)", lua_typename(L, type));
    }
}

void tg_path_append_key(lua_State *L, int key_index, char *out, size_t size)
{
    char text[36];
    size_t len = 0;
    tg_path_key_text(L, key_index, text, sizeof text);
    if (lua_type(L, key_index) != LUA_TSTRING)
        snprintf(out, size, "[%s]", text);
    else if (lua_tolstring(L, key_index, &len), is_identifier(text, strlen(text)))
        snprintf(out, size, ".%s%s", text, len > strlen(text) ? "..." : "");
    else
        snprintf(out, size, "[\"%s%s\"]", text, len > strlen(text) ? "..." : "");
}

void tg_path_text(lua_State *L, const struct tg_path *path, char *out, size_t size)
{
    int shown = 6;
    int skipped = path->depth > 2 * shown ? path->depth - 2 * shown : 0;
    int used = snprintf(out, size, "%s", path->root);
    for (int i = 0; i < path->depth && used >= 0 && (size_t)used < size; i++) {
        if (skipped > 0 && i == shown) {
            used += snprintf(out + used, size - (size_t)used, "...");
            i += skipped - 1;
            continue;
        }
        tg_path_append_key(L, path->keys[i], out + used, size - (size_t)used);
        used += (int)strlen(out + used);
        if ((size_t)used + 1 >= size)
            return;
    }
}
