/* config_file_test.c - configuration files: their leaves, their lines, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/config_file.h"
#include "script/policy/lines.h"
#include "support/script_fixture.h"

static struct script_fixture fx;
static char all[4096];

/* "key[index]=value@line " for each leaf. */
static enum tg_err note(void *ctx, const struct tg_config_leaf *leaf, struct tg_error *error)
{
    size_t used = strlen(all);
    const char *line = strrchr(leaf->where, ':');
    char value[64];

    if (leaf->kind == TG_LEAF_STRING)
        (void)snprintf(value, sizeof value, "'%s'", leaf->string);
    else if (leaf->kind == TG_LEAF_NUMBER)
        (void)snprintf(value, sizeof value, "%g", leaf->number);
    else
        (void)snprintf(value, sizeof value, "%s",
                       leaf->kind == TG_LEAF_TABLE ? "{}"
                       : leaf->flag                ? "true"
                                                   : "false");
    (void)snprintf(all + used, sizeof all - used, "%s[%zu]=%s@%s ", leaf->key, leaf->index, value,
                   line != NULL ? line + 1 : "?");
    if (ctx != NULL && strcmp(leaf->key, ctx) == 0)
        return tg_error_set(error, TG_ERR_INVALID, "%s: no %s", leaf->where, leaf->key);
    return TG_ERR_OK;
}

static enum tg_err read_text(const char *text, const char *refuse)
{
    char key[64] = "";

    all[0] = '\0';
    if (refuse != NULL)
        (void)snprintf(key, sizeof key, "%s", refuse);
    return tg_config_file_read(fixture_write(&fx, "tidegate.lua", text), note,
                               refuse != NULL ? key : NULL, &fx.error);
}

static const struct {
    const char *text;
    const char *leaves;
} good[] = {
    {"return {}", ""},
    {"return { policy = 'p.lua', workers = 2, strict = true }",
     "policy[0]='p.lua'@1 strict[0]=true@1 workers[0]=2@1 "},
    {"return {\n  limits = {\n    max_message = '1MiB',\n    ['idle_after'] = '5s',\n  },\n}",
     "limits.idle_after[0]='5s'@4 limits.max_message[0]='1MiB'@3 "},
    {"return {\n listen = { 'b', 'a' },\n}", "listen[1]='b'@2 listen[2]='a'@2 "},
    {"return {\n listen = {},\n}", "listen[0]={}@2 "},
    {"local config = {}\nconfig.strict = false\nconfig.limits = {\n  max_header = 5 }\nreturn "
     "config",
     "limits.max_header[0]=5@4 strict[0]=false@2 "},
    {"local size = 64 * 1024\nreturn {\n  -- limits = {\n  ['limits.max_message'] = size }",
     "limits.max_message[0]=65536@4 "},
    {"return { options = {\n a = {\n b = {\n c = 'deep' } } } }", "options.a.b.c[0]='deep'@4 "},
    {"return { text = [[\n}\nworkers = 3\n]],\nworkers = 1 }",
     "text[0]='}\nworkers = 3\n'@1 workers[0]=1@5 "},
    {"local t = {} for i, k in ipairs { 'x', 'y' } do t[k] = i end return t", "x[0]=1@? y[0]=2@? "},
    {"return { n = tonumber('5'), s = ('a'):rep(2), l = #table.concat({'x', 'y'}) }",
     "l[0]=2@1 n[0]=5@1 s[0]='aa'@1 "},
};

static void values_come_sorted_with_their_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (read_text(good[i].text, NULL) != TG_ERR_OK)
            fail_msg("%s: %s", good[i].text, fx.error.text);
        const char *got = all;
        /* The folder's name holds no colon, so a leaf without a line shows as '?'. */
        if (strcmp(got, good[i].leaves) != 0)
            fail_msg("%s:\n\"%s\" is not\n\"%s\"", good[i].text, got, good[i].leaves);
    }
}

static const struct {
    const char *text;
    const char *error;
} bad[] = {
    {"return {", "tidegate.lua:1: "},
    {"\n\nerror('no')", "tidegate.lua:3: no"},
    {"", "returned nil; a configuration file ends with return { … }"},
    {"return 'x'", "returned string"},
    {"return {\n admin = type }",
     "tidegate.lua:2: admin is a function; a configuration holds text"},
    {"return {\n limits = { x = coroutine.create(type) } }",
     "tidegate.lua:2: limits.x is a thread"},
    {"return {\n listen = { 'a', {} } }", "tidegate.lua:2: listen is a list with a table in it"},
    {"return {\n listen = { 'a', x = 1 } }", "tidegate.lua:2: listen mixes named values"},
    {"return {\n listen = { 'a', nil, 'b', [9] = 'c' } }",
     "listen mixes named values and list elements, or "
     "has gaps"},
    {"return { 'a' }", "the configuration mixes"},
    {"return { [true] = 1 }", "has a key that is no text"},
    {"return { n = 0/0 }", "n is no finite number"},
    {"return { s = 'a\\0b' }", "s has a zero byte"},
    {"local t = {} t.t = t return t", "is nested too deeply"},
    {"return { x = io.open('/etc/passwd') }", "io is not available"},
    {"return { x = os.getenv('HOME') }", "os.getenv is not available"},
    {"return require 'x'", "undefined global \"require\""},
    {"print(1)", "undefined global \"print\""},
    {"x = 1", "cannot set the global \"x\""},
    {"\nwhile true do end", "tidegate.lua:2: computed for more than"},
    {"local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1.5e7) .. i end", "out of memory"},
    {"\033LJ", "wrong mode"},
};

static void what_is_no_plain_data_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_not_equal(read_text(bad[i].text, NULL), TG_ERR_OK);
        if (strstr(fx.error.text, bad[i].error) == NULL)
            fail_msg("%s: \"%s\" is not in \"%s\"", bad[i].text, bad[i].error, fx.error.text);
        assert_string_equal(all, "");
    }
    assert_int_equal(tg_config_file_read("/nonexistent/x.lua", note, NULL, &fx.error), TG_ERR_SYS);
    assert_non_null(strstr(fx.error.text, "/nonexistent/x.lua: No such file"));
}

static void the_sink_ends_the_reading(void **state)
{
    (void)state;
    assert_int_equal(read_text("return { a = 1,\n b = 2,\n c = 3 }", "b"), TG_ERR_INVALID);
    assert_non_null(strstr(fx.error.text, "tidegate.lua:2: no b"));
    assert_string_equal(all, "a[0]=1@1 b[0]=2@2 ");
}

static const struct {
    const char *text;
    const char *key;
    int line;
} lines[] = {
    {"return {\na = 1 }", "a", 2},
    {"return {\na = { b = 1 },\nb = 2 }", "b", 3},
    {"return {\na = {\n b = 1 },\nb = 2 }", "a.b", 3},
    {"return {\na = 1, -- b = 2\n--[[ b = 3\n]] b = 4 }", "b", 4},
    {"return {\na = \"b = 1\",\nb = 'x\\'b = 2' }", "b", 3},
    {"return {\na = [==[\nb = 1 ]] ]==],\nb = 2 }", "b", 4},
    {"local p = {}\nfunction p.hook() end", "hook", 2},
    {"local p = {}\nfunction p:hook() end", "hook", 2},
    {"local p = {}\np.hook = function() end", "hook", 2},
    {"local p = {}\nif p.hook == 1 then end\np.hook = 2", "hook", 3},
    {"return {\na = f { b = 1 },\n c = 2 }", "c", 3},
    {"p.agents = {\n x = 1,\n}\np.other = {\n x = 2 }", "agents.x", 2},
    {"return {\na = 1,\na = 2 }", "a", 3},
    {"return { [\"a b\"] =\n1,\n['c'] = 2 }", "c", 3},
    {"return {}", "a", 0},
    {"", "a", 0},
    {"return { a = '", "a", 1},
    {"--[[", "a", 0},
    {"}}}} a = 1", "a", 1},
};

static void lines_are_found_in_the_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        int line = tg_lines_of_key(lines[i].text, strlen(lines[i].text), lines[i].key);
        if (line != lines[i].line)
            fail_msg("%s: %s is at %d, not %d", lines[i].text, lines[i].key, line, lines[i].line);
    }
}

static void any_cut_of_a_text_is_read_without_harm(void **state)
{
    static const char text[] =
        "local c = { a = [==[ x ]==], ['b'] = \"q\\\"\", d = { e = 1 } } --[[ z ]] "
        "function c.f() end c.g.h = { i = 2 } return c";
    (void)state;
    for (size_t len = 0; len < sizeof text; len++) {
        char *copy = len > 0 ? malloc(len) : NULL;
        if (len > 0)
            memcpy(copy, text, len);
        (void)tg_lines_of_key(copy != NULL ? copy : "", len, "d.e");
        free(copy);
    }
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, fixture_setup, fixture_teardown, &fx)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values_come_sorted_with_their_lines),
        TEST(what_is_no_plain_data_is_refused),
        TEST(the_sink_ends_the_reading),
        TEST(lines_are_found_in_the_text),
        TEST(any_cut_of_a_text_is_read_without_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
