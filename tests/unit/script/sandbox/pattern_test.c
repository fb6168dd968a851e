/* pattern.c against LuaJIT's own functions: the same captures and the same errors, over a table of
 * patterns and over random ones; and that no pattern runs for ever.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "script/sandbox/pattern.h"

struct outcome {
    char text[4096];
};

static lua_State *open_lua(void)
{
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    luaL_openlibs(L);
    return L;
}

static void add(struct outcome *o, const char *bytes, size_t len)
{
    size_t used = strlen(o->text);
    for (size_t i = 0; i < len && used + 5 < sizeof o->text; i++)
        used += (size_t)snprintf(o->text + used, sizeof o->text - used, "%02x",
                                 (unsigned char)bytes[i]);
}

static void add_number(struct outcome *o, long number)
{
    size_t used = strlen(o->text);
    snprintf(o->text + used, sizeof o->text - used, "#%ld", number);
}

static void add_text(struct outcome *o, const char *text)
{
    size_t used = strlen(o->text);
    snprintf(o->text + used, sizeof o->text - used, "%s", text);
}

/* string.find(s, p, init) by LuaJIT: every result in order, or the error. */
static void find_by_luajit(lua_State *L, const char *s, size_t len, const char *p, size_t p_len,
                           size_t at, struct outcome *o)
{
    o->text[0] = '\0';
    lua_settop(L, 0);
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "find");
    lua_replace(L, 1);
    lua_settop(L, 1);
    lua_pushlstring(L, s, len);
    lua_pushlstring(L, p, p_len);
    lua_pushinteger(L, (lua_Integer)at + 1);
    if (lua_pcall(L, 3, LUA_MULTRET, 0) != 0) {
        add_text(o, "error: ");
        add_text(o, lua_tostring(L, -1));
        return;
    }
    for (int i = 1; i <= lua_gettop(L); i++) {
        size_t n;
        const char *bytes;
        add_text(o, ";");
        if (lua_isnil(L, i)) {
            add_text(o, "nil");
        } else if (lua_type(L, i) == LUA_TNUMBER) {
            add_number(o, (long)lua_tointeger(L, i));
        } else {
            bytes = lua_tolstring(L, i, &n);
            add(o, bytes, n);
        }
    }
}

static void add_captures(const struct tg_pattern *m, struct outcome *o)
{
    for (int i = 0; i < m->captures; i++) {
        const char *at;
        size_t n;
        const char *wrong = tg_pattern_capture(m, i, &at, &n);
        if (wrong != NULL) {
            o->text[0] = '\0';
            add_text(o, "error: ");
            add_text(o, wrong);
            return;
        }
        add_text(o, ";");
        if (n == TG_PATTERN_POSITION)
            add_number(o, at - m->text + 1);
        else
            add(o, at, n);
    }
}

static void find_by_ours(const char *s, size_t len, const char *p, size_t p_len, size_t at,
                         struct outcome *o)
{
    struct tg_pattern m;

    o->text[0] = '\0';
    if (!tg_pattern_is_special(p, p_len)) {
        const char *found = memmem(s + at, len - at, p, p_len);
        if (found == NULL) {
            add_text(o, ";nil");
            return;
        }
        add_text(o, ";");
        add_number(o, found - s + 1);
        add_text(o, ";");
        add_number(o, found - s + (long)p_len);
        return;
    }
    tg_pattern_init(&m, s, len, p, true);
    switch (tg_pattern_search(&m, at)) {
    case TG_PATTERN_NONE:
        add_text(o, ";nil");
        return;
    case TG_PATTERN_WRONG:
        add_text(o, "error: ");
        add_text(o, m.error);
        return;
    case TG_PATTERN_EXPIRED:
        fail_msg("expired without a budget");
        return;
    case TG_PATTERN_FOUND:
        add_text(o, ";");
        add_number(o, m.from - s + 1);
        add_text(o, ";");
        add_number(o, m.to - s);
        add_captures(&m, o);
        return;
    }
}

static void compare(lua_State *L, const char *s, size_t len, const char *p, size_t p_len, size_t at)
{
    struct outcome theirs, ours;

    find_by_luajit(L, s, len, p, p_len, at, &theirs);
    find_by_ours(s, len, p, p_len, at, &ours);
    if (strcmp(theirs.text, ours.text) != 0)
        fail_msg("text \"%s\", pattern \"%s\", from %zu:\nLuaJIT %s\nours   %s", s, p, at,
                 theirs.text, ours.text);
}

static const char *const texts[] = {
    "",
    "a",
    "hello world from Lua",
    "key = value",
    "aaaa",
    "THE (quick) fox",
    "((a)(b))((",
    "x=1, y=2,z = 33",
    "  trim  ",
    "2026-11-22T07:05:00Z",
    "a.b-c_d%e",
    "f(g(h(i)))j)",
    "\"quoted\" and 'single'",
    "\xc3\xa4\xf6\xff tail",
    "]^-[",
    "abcabcabc",
    "0x1F 077 1e5",
    "\t\n\r\v\f end",
};

static const char *const patterns[] = {
    "",
    "a",
    ".",
    ".*",
    ".-",
    ".+",
    ".?",
    "a*",
    "a+",
    "a-",
    "a?",
    "^",
    "$",
    "^$",
    "^a",
    "a$",
    "^.*$",
    "%a",
    "%A",
    "%c",
    "%C",
    "%d",
    "%D",
    "%g",
    "%G",
    "%l",
    "%L",
    "%p",
    "%P",
    "%s",
    "%S",
    "%u",
    "%U",
    "%w",
    "%W",
    "%x",
    "%X",
    "%z",
    "%Z",
    "%a+",
    "%d+",
    "%s*",
    "%w+%s*=%s*%w+",
    "(%w+)%s*=%s*(%w+)",
    "(%a+) (%a+)",
    "()",
    "()a()",
    "(a)(a)",
    "((a)(a))",
    "(.)(.)(.)",
    "(a*)(a*)",
    "(.-)%s*$",
    "^%s*(.-)%s*$",
    "(%d+)-(%d+)",
    "(.)%1",
    "(%w+).-%1",
    "(()%1)",
    "()%1",
    "%1",
    "%0",
    "(a)%2",
    "(a%1)",
    "%b()",
    "%b[]",
    "%b",
    "%b(",
    "%baa",
    "%b''",
    "%b\"\"",
    "%f[%w]%w+",
    "%f[%W]",
    "%f",
    "%fa",
    "%f[a",
    "%f[^%z]",
    "%f[%z]",
    "[abc]",
    "[^abc]",
    "[a-z]+",
    "[^a-z]+",
    "[a-]",
    "[-a]",
    "[]]",
    "[^]]",
    "[]a]+",
    "[^]a]+",
    "[%]]",
    "[%a_][%w_]*",
    "[a-c-e]",
    "[%d%-]+",
    "[",
    "[a",
    "[^",
    "[]",
    "[^]",
    "[%",
    "[%]",
    "[a-%]",
    "[%a-z]",
    "%",
    "a%",
    "(",
    ")",
    "(a",
    "a)",
    "(()",
    "())",
    "((((((((((",
    "a-b",
    "a*b",
    "a+b",
    "a?b?c?",
    "-",
    "*",
    "+",
    "?",
    "**",
    "a**",
    "^*",
    "^^a",
    "a^",
    "a$b",
    "$a",
    "%$",
    "%^",
    "%%",
    "%.",
    "%-",
    "(%$)",
    "^(.)(.-)$",
    "%w+$",
    "(.*)(.*)(.*)",
    "[%s%p]+",
    "\xc3",
    "[\x80-\xff]+",
    "%a-%d",
    ".-b",
    ".-$",
    "(a-)$",
    "(((a)))",
    "[a-a]",
    "[z-a]",
    "%a%d?",
    "%i",
    "%@",
    "[%i]",
    "(%f[%a]%a+)",
    "%d%d%d%d%-%d%d",
    "([^,]*),?",
    "[^,%s]+",
    "(%d*)%.?(%d*)",
    "x.-y.-z",
    "e()d",
    "%b()()",
    "(%b())",
    "(%b())%1",
    "a?a?a?a?aaaa",
    "%x%x+",
    "[[]",
    "[[%]]",
    "%[",
    "%]",
    "^%(",
    "%)$",
};

static void known_patterns_match_as_in_luajit(void **state)
{
    (void)state;
    lua_State *L = open_lua();
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size_t len = strlen(texts[i]);
        for (size_t j = 0; j < sizeof patterns / sizeof patterns[0]; j++) {
            for (size_t at = 0; at <= len; at += len / 3 + 1)
                compare(L, texts[i], len, patterns[j], strlen(patterns[j]), at);
        }
    }
    lua_close(L);
}

static void zero_bytes_are_text_but_end_a_pattern(void **state)
{
    (void)state;
    static const char text[] = "a\0b\0\0c";
    static const struct {
        const char *pattern;
        size_t len;
    } rows[] = {{"%z", 2},     {"%z+", 3},    {"[%z]", 4},   {"a.b", 3},     {".*", 2},
                {"(.)\0b", 5}, {"[a\0", 3},   {"%\0a", 3},   {"[^%z]+$", 7}, {"b\0", 2},
                {"%b\0a", 4},  {"%f[%z]", 6}, {"a[\0]b", 5}, {".-(%z+)", 7}, {"\0", 1}};
    lua_State *L = open_lua();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t at = 0; at < sizeof text; at++)
            compare(L, text, sizeof text - 1, rows[i].pattern, rows[i].len, at);
    }
    lua_close(L);
}

static uint32_t seed;

static unsigned pick(unsigned below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static size_t make_pattern(char *out, size_t size)
{
    static const char *const pieces[] = {
        "a", "b", "c",  ".",    "%a",   "%d",    "%s",     "%w",    "%A", "[ab]", "[^a]", "[a-c]",
        "(", ")", "()", "%1",   "%2",   "%b()",  "%bab",   "%f[a]", "^",  "$",    "[",    "]",
        "%", "-", "%z", "[%a]", "[]b]", "[^%d]", "[a-%%]", "(a",    "b)", "\xe4", " ",    "%f[%W]",
    };
    static const char *const repeats[] = {"", "", "", "", "*", "+", "-", "?"};
    size_t len = 0;
    unsigned count = 1 + pick(7);
    for (unsigned i = 0; i < count && len + 16 < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s",
                                pieces[pick(sizeof pieces / sizeof pieces[0])],
                                repeats[pick(sizeof repeats / sizeof repeats[0])]);
    return len;
}

static void random_patterns_match_as_in_luajit(void **state)
{
    (void)state;
    static const char letters[] = "aaabbbcc()ab1 \xe4\0%]";
    lua_State *L = open_lua();
    seed = 20261122;
    for (int round = 0; round < 60000; round++) {
        char pattern[160];
        char text[24];
        size_t len = pick(sizeof text - 1);
        for (size_t i = 0; i < len; i++)
            text[i] = letters[pick(sizeof letters - 1)];
        text[len] = '\0';
        size_t pattern_len = make_pattern(pattern, sizeof pattern);
        compare(L, text, len, pattern, pattern_len, pick((unsigned)len + 1));
    }
    lua_close(L);
}

static void what_nests_too_deeply_is_too_complex(void **state)
{
    (void)state;
    char pattern[1024] = "";
    lua_State *L = open_lua();
    for (int count = 190; count < 210; count++) {
        pattern[0] = '\0';
        for (int i = 0; i < count; i++)
            strcat(pattern, "a?");
        char text[256];
        memset(text, 'a', sizeof text);
        compare(L, text, sizeof text, pattern, strlen(pattern), 0);
    }
    pattern[0] = '\0';
    for (int i = 0; i < 40; i++)
        strcat(pattern, "()");
    compare(L, "a", 1, pattern, strlen(pattern), 0);
    lua_close(L);
}

/* --- the budget --------------------------------------------------------------------------------- */

static int looks;

static bool after_ten_looks(void *ud)
{
    (void)ud;
    return ++looks > 10;
}

static void endless_patterns_ask_and_stop(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        char letter;
    } rows[] = {
        {"a*a*a*a*a*a*a*b", 'a'},
        {".-.-.-.-.-.-b", 'a'},
        {"(a*)*(a*)*(a*)*b", 'a'},
        {"%b()", '('},
        {"[^b]*[^b]*[^b]*b", 'a'},
        {"(.+)(.+)%1%2b", 'a'},
        {"a?a?a?a?a?a?.*.*.*b", 'a'},
        {"%f[b]", 'a'},
        {".-b", 'a'},
        {"a-a-a-a-b", 'a'},
        {"^.*.*.*.*b", 'a'},
        {"[a-b][a-b]-[a-b]-c", 'a'},
    };
    size_t len = 300000;
    char *text = malloc(len);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_pattern m;
        memset(text, rows[i].letter, len);
        tg_pattern_init(&m, text, len, rows[i].pattern, true);
        m.expired = after_ten_looks;
        looks = 0;
        if (tg_pattern_search(&m, 0) != TG_PATTERN_EXPIRED)
            fail_msg("%s was not stopped", rows[i].pattern);
        assert_int_equal(looks, 11);
    }
    free(text);
}

static void a_huge_set_asks_at_every_byte(void **state)
{
    (void)state;
    size_t len = 100000;
    char *pattern = malloc(len + 4);
    struct tg_pattern m;
    assert_non_null(pattern);
    memset(pattern, 'a', len + 3);
    pattern[0] = '[';
    memcpy(pattern + len, "]*b", sizeof "]*b");
    tg_pattern_init(&m, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 36, pattern, true);
    m.expired = after_ten_looks;
    looks = 0;
    assert_int_equal(tg_pattern_search(&m, 0), TG_PATTERN_EXPIRED);
    free(pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_patterns_match_as_in_luajit),
        cmocka_unit_test(zero_bytes_are_text_but_end_a_pattern),
        cmocka_unit_test(random_patterns_match_as_in_luajit),
        cmocka_unit_test(what_nests_too_deeply_is_too_complex),
        cmocka_unit_test(endless_patterns_ask_and_stop),
        cmocka_unit_test(a_huge_set_asks_at_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
