/* generation_test.c - which policies are refused, in which words, and what an accepted one gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "script/policy/mistakes.h"
#include "support/script_fixture.h"

static struct script_fixture fx;

#define A "local p = {} function p.authenticate() end "

static const struct {
    const char *text;
    const char *error; /* after the folder: "policy.lua…" */
} refusals[] = {
    {"", "policy.lua: the file returned nothing, not a table of hooks; end it with return policy"},
    {"return 5", "policy.lua: the file returned a number, not a table of hooks"},
    {"local x =", "policy.lua:1: unexpected symbol near '<eof>'"},
    {"\nerror('no')", "policy.lua:2: no"},
    {"error({})", "(error object is a table)"},
    {"return {}",
     "policy.lua: no authenticate hook: a policy must say who may connect; add function "
     "policy.authenticate(conn, credentials) … end"},
    {"return {}", "(there is no default)"},
    {"local p = {}\nfunction p.autenticate() end\nreturn p",
     "policy.lua:2: unknown hook \"autenticate\"; did you mean \"authenticate\"?"},
    {A "\nfunction p.on_message() end return p", "policy.lua:2: unknown hook \"on_message\""},
    {A "\nfunction p.zzzzz() end return p", "policy.lua:2: unknown hook \"zzzzz\"; write a "
                                            "function of your own as local function zzzzz, or "
                                            "begin its name with _"},
    {"local p = {}\n\np.authenticate = true return p",
     "policy.lua:3: the hook authenticate is a boolean; it must be a function: authenticate(conn, "
     "credentials) … end"},
    {"return {\n  authenticate = function() end,\n  route = 'x',\n}",
     "policy.lua:3: the hook route is a string; it must be a function: route(conn, message) … end"},
    {A "function p.text() end\nfunction p.route() end return p", "policy.lua:2: route beside text"},
    {A "function p.text() end\nfunction p.message() end return p",
     "policy.lua:2: message beside text"},
    {A "\np.agents = 5 return p", "policy.lua:2: agents is a number, not a table"},
    {A "p.agents = {\n function() end } return p", "policy.lua:1: agents has a number as a key"},
    {A "p.agents = {\n a = 'x' } return p",
     "policy.lua:2: the agent a is a string; it must be a function"},
    {A "p.agents = { [''] = print } return p", "an agent needs a name"},
    {A "\np.agent = {} return p", "policy.lua:2: unknown key \"agent\"; did you mean \"agents\"?"},
    {A "\np.option = {} return p",
     "policy.lua:2: unknown key \"option\"; did you mean \"options\"?"},
    {A "\np.name = {} return p", "policy.lua:2: name must be text, not a table"},
    {A "p.version = 1 return p", "version must be text, not a number"},
    {A "\np.options = 1 return p",
     "policy.lua:2: options is a number, not a table of declarations"},
    {"return setmetatable({}, {__index = function(_, k) error('no ' .. k) end})",
     "policy.lua:1: no upgrade"},
    {"local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1.5e7) .. i end", "out of memory"},
};

static void each_mistake_has_its_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        assert_int_not_equal(fixture_load(&fx, refusals[i].text), TG_ERR_OK);
        assert_null(fx.generation);
        if (strstr(fx.error.text, refusals[i].error) == NULL)
            fail_msg("%s: \"%s\" is not in \"%s\"", refusals[i].text, refusals[i].error,
                     fx.error.text);
    }
}

static void collect(void *ctx, const struct tg_finding *finding)
{
    char *all = ctx;
    size_t used = strlen(all);

    (void)snprintf(all + used, 4096 - used, "%s:%d: %s [%s]\n", finding->file, finding->line,
                   finding->message, finding->code);
}

static void all_mistakes_are_told(void **state)
{
    char all[4096] = "";
    struct tg_mistakes mistakes = {.report = collect, .ctx = all};
    struct tg_generation *generation;
    struct tg_source *source;
    (void)state;
    const char *path = fixture_write(&fx, "policy.lua",
                                     "local p = {}\nfunction p.autenticate() end\np.route = 1\n"
                                     "p.agents = { a = 1, b = 2 }\np.name = 2\nreturn p");
    assert_int_equal(tg_source_read(&source, path, &fx.error), TG_ERR_OK);
    assert_int_equal(tg_generation_build(&generation, &fx.env, source, &mistakes), TG_ERR_SCRIPT);
    tg_source_release(source);
    assert_int_equal(mistakes.count, 6);
    assert_non_null(strstr(all, "policy.lua:2: unknown hook"));
    assert_non_null(strstr(all, "policy.lua:3: the hook route"));
    assert_non_null(strstr(all, "no authenticate hook"));
    assert_non_null(strstr(all, "policy.lua:4: the agent a"));
    assert_non_null(strstr(all, "policy.lua:4: the agent b"));
    assert_non_null(strstr(all, "policy.lua:5: name must be text"));
    /* As many as fit, whole. */
    assert_non_null(strchr(mistakes.error.text, '\n'));
}

static void a_good_policy_gives_its_hooks_and_agents(void **state)
{
    (void)state;
    assert_int_equal(fixture_load(&fx, "local p = { name = 'n', version = '1', description = 'd' } "
                                       "function p.authenticate() end function p.closed() end "
                                       "function p._helper() end p.limits = { a = 1 } "
                                       "p.agents = { one = function() end } return p"),
                     TG_ERR_OK);
    for (int hook = 0; hook < TG_HOOKS; hook++) {
        bool defined = fx.generation->hook_refs[hook] != LUA_NOREF;
        assert_int_equal(defined, hook == TG_HOOK_AUTHENTICATE || hook == TG_HOOK_CLOSED);
    }
    assert_string_equal(fx.generation->default_agent, "one");
    assert_ptr_equal(tg_generation_of(fx.generation->L), fx.generation);
}

static void hooks_may_come_through_a_metatable(void **state)
{
    (void)state;
    assert_int_equal(fixture_load(&fx, "local base = { authenticate = function() end } "
                                       "return setmetatable({}, { __index = base })"),
                     TG_ERR_OK);
}

static void join(void *ctx, const char *name)
{
    (void)strcat(strcat(ctx, name), " ");
}

static void agents_come_sorted_and_several_have_no_default(void **state)
{
    char names[64] = "";
    (void)state;
    assert_int_equal(fixture_load(&fx, A "p.agents = {} for _, n in ipairs({'c', 'a', 'b'}) do "
                                         "p.agents[n] = function() end end return p"),
                     TG_ERR_OK);
    assert_null(fx.generation->default_agent);
    tg_generation_each_agent(fx.generation, join, names);
    assert_string_equal(names, "a b c ");
    names[0] = '\0';
    tg_generation_each_hook(fx.generation, join, names);
    assert_string_equal(names, "authenticate ");
    assert_int_equal(fixture_load(&fx, A "return p"), TG_ERR_OK);
    names[0] = '\0';
    tg_generation_each_agent(fx.generation, join, names);
    assert_string_equal(names, "");
}

/* Fails every allocation from the n-th on, for each n up to the first success. */
static void running_out_of_memory_anywhere_leaves_nothing(void **state)
{
    struct tg_source *source;
    struct tg_generation *generation;
    long n = 0;
    (void)state;
    const char *path =
        fixture_write(&fx, "policy.lua", A "p.agents = { a = function() end } return p");
    assert_int_equal(tg_source_read(&source, path, &fx.error), TG_ERR_OK);
    for (;; n += 1 + n / 16) {
        (void)tg_memory_fail_after(n, 1);
        enum tg_err err = tg_generation_create(&generation, &fx.env, source, &fx.error);
        (void)tg_memory_fail_after(-1, 0);
        if (err == TG_ERR_OK)
            break;
        if (strstr(fx.error.text, "memory") == NULL)
            fail_msg("allocation %ld: %s: %s", n, tg_err_text(err), fx.error.text);
    }
    assert_true(n > 200);
    tg_generation_destroy(generation);
    tg_source_release(source);
}

/* --- options ------------------------------------------------------------------------------------ */

#define STR TG_SCRIPT_OPTION_STRING
#define NUM TG_SCRIPT_OPTION_NUMBER
#define BOOL TG_SCRIPT_OPTION_BOOL

static const struct {
    const char *declarations;
    const char *check; /* returns true in a hook; NULL: refused */
    const char *error;
    struct tg_script_option given[3];
} options[] = {
    {"", "return o.any == 'x'", NULL, {{"any", STR, "x", false}}},
    {"key = {type = 'string'}", "return o.key == nil", NULL, {{0}}},
    {"key = {type = 'string', default = 'd'}", "return o.key == 'd'", NULL, {{0}}},
    {"key = {type = 'string', default = 'd'}",
     "return o.key == 'g'",
     NULL,
     {{"key", STR, "g", false}}},
    {"key = {type = 'string', required = true}",
     "return o.key == '0012'",
     NULL,
     {{"key", STR, "0012", true}}},
    {"n = {type = 'number'}", "return o.n == 12.5", NULL, {{"n", STR, "12.5", true}}},
    {"n = {type = 'number'}", "return o.n == 7", NULL, {{"n", NUM, "7", false}}},
    {"b = {type = 'boolean'}", "return o.b == true", NULL, {{"b", STR, "true", true}}},
    {"b = {type = 'boolean', default = true}",
     "return o.b == false",
     NULL,
     {{"b", BOOL, "false", false}}},
    {"up = { url = {type = 'string', default = 'u'}, n = {type = 'number'} }",
     "return o.up.url == 'u' and o.up.n == 3",
     NULL,
     {{"up.n", STR, "3", true}}},
    {"['up.url'] = {type = 'string', default = 'u'}", "return o.up.url == 'u'", NULL, {{0}}},
    {"['up.url'] = {type = 'string'}",
     "return o.up.url == 'e'",
     NULL,
     {{"up_url", STR, "e", true}}},
    {"type = {type = 'string', default = 't'}", "return o.type == 't'", NULL, {{0}}},

    {"keys = {type = 'table', required = true}",
     "return o.keys.ada == 'k-1'",
     NULL,
     {{"keys.ada", STR, "k-1", true}}},
    {"keys = {type = 'table', default = {ada = 'k-2'}}", "return o.keys.ada == 'k-2'", NULL, {{0}}},
    {"keys = {type = 'table'}", "return o.keys == nil", NULL, {{0}}},
    {"keys = {type = 'table', required = true}",
     NULL,
     "missing option: keys",
     {{"keystone.ada", STR, "k-1", true}}},
    {"keys = {type = 'table', secret = true}",
     NULL,
     "the option keys must be a table",
     {{"keys", STR, "hunter2", true}}},
    {"keys = {type = 'table'}",
     NULL,
     "the option keys must be a table, and \"x\" was given; give its members, each by its name",
     {{"keys", STR, "x", true}}},
    {"keys = {type = 'table', default = 'x'}",
     NULL,
     "the default of the option keys is a string",
     {{0}}},

    {"key = {type = 'string', required = true}",
     NULL,
     "policy.lua:2: missing option: key; give it with --set options.key=…, TIDEGATE_OPTIONS_KEY=…, "
     "or "
     "options = { key = … } in the configuration file",
     {{0}}},
    {"b = {type = 'string', required = true}, a = {x = {type = 'number', required = true}}",
     NULL,
     "missing options: a.x, b; give each with --set options.a.x=…, TIDEGATE_OPTIONS_A_X=…, or "
     "options = "
     "{ a = { x = … } }",
     {{0}}},
    {"n = {type = 'number'}",
     NULL,
     "the option n must be a number, and \"abc\" was given",
     {{"n", STR, "abc", true}}},
    {"n = {type = 'number'}", NULL, "must be a number, and \"12x\"", {{"n", STR, "12x", true}}},
    {"n = {type = 'number'}", NULL, "must be a number", {{"n", STR, "12", false}}},
    {"s = {type = 'string'}",
     NULL,
     "must be a string, and \"12\" was given; write it in quotes",
     {{"s", NUM, "12", false}}},
    {"b = {type = 'boolean'}", NULL, "must be a boolean", {{"b", STR, "yes", true}}},
    {"s = {type = 'number', secret = true}",
     NULL,
     "the option s must be a number",
     {{"s", STR, "hunter2", true}}},
    {"s = {type = 'int'}",
     NULL,
     "types are \"string\", \"number\", \"boolean\" and \"table\"",
     {{0}}},
    {"s = {type = 'number', default = 'x'}",
     NULL,
     "the default of the option s is a string, and its type "
     "is number",
     {{0}}},
    {"s = {type = 'string', requird = true}",
     NULL,
     "unknown field \"requird\"; did you mean "
     "\"required\"?",
     {{0}}},
    {"s = {type = 'string', required = 1}",
     NULL,
     "required of the option s must be true or false",
     {{0}}},
    {"s = {required = true}", NULL, "the option s has no type", {{0}}},
    {"s = 'string'", NULL, "the option s needs a declaration", {{0}}},
    {"{type = 'string'}", NULL, "the names of options must be text", {{0}}},
    {"up = {url = {type = 'string', default = 'x'}}", NULL, "group", {{"up", STR, "x", false}}},
};

static void options_are_declared_converted_and_completed(void **state)
{
    char text[1024];
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        fx.env.options = options[i].given;
        fx.env.option_count = options[i].given[0].path != NULL;
        (void)snprintf(text, sizeof text,
                       A "local o = require('tidegate').options\np.options = {%s}\n"
                         "function p.message() %s end return p",
                       options[i].declarations, options[i].check != NULL ? options[i].check : "");
        enum tg_err err = fixture_load(&fx, text);
        assert_null(strstr(fx.error.text, "hunter2"));
        if (options[i].check == NULL) {
            if (err == TG_ERR_OK || strstr(fx.error.text, options[i].error) == NULL)
                fail_msg("{%s}: \"%s\"", options[i].declarations, fx.error.text);
            continue;
        }
        if (err != TG_ERR_OK)
            fail_msg("{%s}: %s", options[i].declarations, fx.error.text);
        assert_null(fixture_call(&fx, 0));
        if (strcmp(fx.result, "true") != 0)
            fail_msg("{%s}: %s %s", options[i].declarations, fx.result, fx.text);
    }
}

static void options_are_there_while_the_policy_loads(void **state)
{
    static const struct tg_script_option given[] = {{"n", STR, "5", true}};
    (void)state;
    fx.env.options = given;
    fx.env.option_count = 1;
    assert_int_equal(fixture_load(&fx, A "local o = require('tidegate').options assert(o.n == '5') "
                                         "p.options = { n = { type = 'number' } } return p"),
                     TG_ERR_OK);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, fixture_setup, fixture_teardown, &fx)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_mistake_has_its_words),
        TEST(all_mistakes_are_told),
        TEST(a_good_policy_gives_its_hooks_and_agents),
        TEST(hooks_may_come_through_a_metatable),
        TEST(agents_come_sorted_and_several_have_no_default),
        TEST(running_out_of_memory_anywhere_leaves_nothing),
        TEST(options_are_declared_converted_and_completed),
        TEST(options_are_there_while_the_policy_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
