/* loader_test.c - what require finds, the snapshot it finds it in, and the version that covers it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lua.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/script_fixture.h"

static struct script_fixture fx;

#define POLICY(before) before " return { authenticate = function() end }"

static void expect_error(const char *text, const char *part)
{
    assert_int_equal(fixture_load(&fx, text), TG_ERR_SCRIPT);
    if (strstr(fx.error.text, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, fx.error.text);
}

static void expect_loads(const char *text)
{
    if (fixture_load(&fx, text) != TG_ERR_OK)
        fail_msg("%s", fx.error.text);
}

static void require_finds_own_modules_once(void **state)
{
    (void)state;
    (void)fixture_write(&fx, "users.lua",
                        "local name = ... assert(name == 'users') return { n = 1 }");
    expect_loads(POLICY("local u = require 'users' u.n = u.n + 1 "
                        "assert(require('users') == u and require('users').n == 2)"));
    (void)fixture_write(&fx, "nothing.lua", "");
    expect_loads(POLICY("assert(require('nothing') == true)"));
    (void)fixture_write(&fx, "no.lua", "return false");
    expect_loads(POLICY("assert(require('no') == false)"));
}

static enum tg_err load_folder(const char *init)
{
    static char path[128];
    struct tg_source *source;
    struct tg_generation *generation = NULL;

    (void)fixture_write(&fx, "pol/init.lua", init);
    (void)snprintf(path, sizeof path, "%s/pol", fx.dir);
    enum tg_err err = tg_source_read(&source, path, &fx.error);
    if (err != TG_ERR_OK)
        return err;
    err = tg_generation_create(&generation, &fx.env, source, &fx.error);
    tg_generation_destroy(generation);
    tg_source_release(source);
    return err;
}

static void dots_are_folders_in_a_policy_folder(void **state)
{
    (void)state;
    (void)fixture_write(&fx, "pol/users/store.lua", "return 'store'");
    (void)fixture_write(&fx, "pol/users/init.lua", "return 'users'");
    (void)fixture_write(&fx, "pol/both.lua", "return 'file'");
    (void)fixture_write(&fx, "pol/both/init.lua", "return 'folder'");
    (void)fixture_write(&fx, "pol/.hidden.lua", "syntax error");
    if (load_folder(
            POLICY("assert(require('users.store') == 'store' and require('users') == 'users' "
                   "and require('both') == 'file')")) != TG_ERR_OK)
        fail_msg("%s", fx.error.text);
    assert_int_equal(load_folder(POLICY("require 'hidden'")), TG_ERR_SCRIPT);
    assert_int_equal(load_folder(POLICY("require 'init'")), TG_ERR_SCRIPT);
}

/* LuaJIT's parser takes ever longer for them, and nothing can interrupt it. */
static void a_file_of_endless_conditions_is_not_parsed(void **state)
{
    (void)state;
    size_t terms = 20001, size = terms * 8 + 256;
    char *text = malloc(size);
    assert_non_null(text);
    size_t at = (size_t)snprintf(text, size, "local n = 1 local x = n");
    for (size_t i = 0; i < terms; i++)
        at += (size_t)snprintf(text + at, size - at, " or n");
    (void)snprintf(text + at, size - at, " return { authenticate = function() end }");
    (void)fixture_write(&fx, "long.lua", text);
    expect_error(text, "policy.lua: more than 20000 times and, or, elseif, goto or break");
    expect_error(POLICY("require 'long'"), "long.lua: more than 20000 times");
    free(text);
}

static void what_is_not_there_is_told_with_what_was_looked_for(void **state)
{
    (void)state;
    (void)fixture_write(&fx, "users.lua", "return 1");
    expect_error("require 'stores.redis'",
                 "policy.lua:1: module \"stores.redis\" not found: no stores/redis.lua and no "
                 "stores/redis/init.lua beside");
    expect_error("require 'user'", "did you mean \"users\"?");
    expect_error("require 'users/store'", "write dots between folders");
    expect_error("require '../users'", "write dots between folders");
    expect_error("require 'tidegate.jsn'", "no library module \"tidegate.jsn\"; did you mean "
                                           "\"tidegate.json\"?");
    expect_error("require 'tidegate._coroutine'", "no library module");
    expect_error("require 'tidegate.x._y'", "no library module");
    expect_error("require 'tidegate.../x'", "no library module");
    expect_error("require 'ffi'", "a policy cannot call C");
    expect_error("require 'io'", "use tidegate.log");
    expect_error("require 'socket'", "use tidegate.http");
    expect_error("require 'cjson'", "use tidegate.json");
    expect_error("require 'bit'", "it is a global");
    expect_error("require ''", "not found");
    expect_error("require(5)", "bad argument #1 to 'require'");
    expect_error("require()", "bad argument #1 to 'require'");
}

static void modules_that_require_each_other_are_named(void **state)
{
    (void)state;
    (void)fixture_write(&fx, "a.lua", "require 'b'");
    (void)fixture_write(&fx, "b.lua", "\nrequire 'c'");
    (void)fixture_write(&fx, "c.lua", "\n\nrequire 'a'");
    expect_error("require 'a'", "c.lua:3: modules require each other in a loop: a -> b -> c -> a");
    (void)fixture_write(&fx, "self.lua", "require 'self'");
    expect_error("require 'self'", "in a loop: self -> self");
}

static void a_module_that_failed_can_be_tried_again(void **state)
{
    (void)state;
    (void)fixture_write(&fx, "flaky.lua",
                        "local m = require 'mood' m.n = m.n + 1 "
                        "if m.n < 2 then error('not yet') end return m.n");
    (void)fixture_write(&fx, "mood.lua", "return { n = 0 }");
    expect_loads(
        POLICY("local ok, e = pcall(require, 'flaky') assert(not ok and e:find('not yet')) "
               "assert(require('flaky') == 2)"));
}

static void errors_in_modules_name_their_file(void **state)
{
    (void)state;
    (void)fixture_write(&fx, "broken.lua", "local x =\n\nreturn");
    expect_error("require 'broken'", "broken.lua:3: unexpected symbol");
    (void)fixture_write(&fx, "raises.lua", "\nerror('oops')");
    expect_error("require 'raises'", "raises.lua:2: oops");
    (void)fixture_write(&fx, "globals.lua", "\nx = 1");
    expect_error("require 'globals'", "globals.lua:2: cannot set the global \"x\"");
    (void)fixture_write(&fx, "binary.lua", "\033LJ\002");
    expect_error("require 'binary'", "wrong mode");
}

static void the_first_require_of_a_module_in_a_hook_is_refused(void **state)
{
    (void)state;
    (void)fixture_write(&fx, "late.lua", "return 1");
    fixture_run(&fx, "return require 'late'");
    assert_int_equal(fx.outcome, TG_CALL_ERROR);
    assert_non_null(strstr(fx.text, "require it at the top of the file"));
    fixture_run(&fx, "return require('tidegate.json') ~= nil");
    assert_string_equal(fx.result, "true");
}

static void library_tables_are_frozen_with_all_in_them(void **state)
{
    (void)state;
    expect_loads(POLICY("local json = require 'tidegate.json' "
                        "assert(not pcall(function() json.encode = nil end)) "
                        "assert(json == require 'tidegate.json')"));
}

/* --- versions ----------------------------------------------------------------------------------- */

static char *version_after(const char *text)
{
    static char versions[8][TG_POLICY_VERSION_SIZE];
    static int next;
    char *version = versions[next++ % 8];

    expect_loads(text);
    (void)snprintf(version, TG_POLICY_VERSION_SIZE, "%s", fx.generation->version);
    assert_int_equal(strlen(version), 12);
    assert_string_equal(version, tg_source_version(fx.source));
    return version;
}

static void the_version_covers_what_is_loaded_and_nothing_else(void **state)
{
    (void)state;
    const char *with = POLICY("require 'used'");
    (void)fixture_write(&fx, "used.lua", "return 1");
    (void)fixture_write(&fx, "unused.lua", "return 1");
    char *first = version_after(with);
    assert_string_equal(first, version_after(with));
    (void)fixture_write(&fx, "unused.lua", "return 2");
    assert_string_equal(first, version_after(with));
    (void)fixture_write(&fx, "used.lua", "return 2");
    assert_string_not_equal(first, version_after(with));
    (void)fixture_write(&fx, "used.lua", "return 1");
    assert_string_equal(first, version_after(with));
    assert_string_not_equal(first, version_after(POLICY("require  'used'")));
}

static void the_version_does_not_depend_on_where_the_policy_lies(void **state)
{
    char first[TG_POLICY_VERSION_SIZE];
    (void)state;
    (void)fixture_write(&fx, "one.lua", "return 1");
    memcpy(first, version_after(POLICY("require 'one'")), sizeof first);
    fixture_close(&fx);
    fixture_open(&fx);
    (void)fixture_write(&fx, "one.lua", "return 1");
    assert_string_equal(first, version_after(POLICY("require 'one'")));
}

static void nothing_changes_after_the_seal(void **state)
{
    (void)state;
    (void)fixture_write(&fx, "one.lua", "return 1");
    char *version = version_after(POLICY(""));
    tg_source_mark_used(fx.source, tg_source_find(fx.source, "one"));
    tg_source_seal(fx.source);
    assert_string_equal(tg_source_version(fx.source), version);
}

/* --- reading ------------------------------------------------------------------------------------ */

static void expect_unreadable(const char *path, const char *part)
{
    struct tg_source *source;
    struct tg_error error;

    assert_int_not_equal(tg_source_read(&source, path, &error), TG_ERR_OK);
    if (strstr(error.text, part) == NULL || strstr(error.text, path) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, error.text);
}

static void what_is_no_policy_is_refused(void **state)
{
    char path[128];
    (void)state;
    (void)snprintf(path, sizeof path, "%s/absent.lua", fx.dir);
    expect_unreadable(path, "No such file");
    expect_unreadable(fx.dir, "no init.lua in this folder");
    expect_unreadable(fixture_write(&fx, "policy.txt", ""),
                      "a policy is a file name.lua or a folder");
}

static void the_snapshot_does_not_change_with_the_files(void **state)
{
    (void)state;
    (void)fixture_write(&fx, "one.lua", "return 'old'");
    expect_loads(POLICY(""));
    (void)fixture_write(&fx, "one.lua", "return 'new'");
    const struct tg_source_file *file = tg_source_find(fx.source, "one");
    assert_string_equal(file->data, "return 'old'");
    assert_int_equal(file->len, 12);
    assert_ptr_equal(tg_source_entry(fx.source), tg_source_find(fx.source, ""));
    assert_null(tg_source_find(fx.source, "two"));
    assert_ptr_equal(tg_source_at(fx.source, 1), file);
    assert_null(tg_source_at(fx.source, 2));
}

static void too_many_or_too_large_files_are_refused(void **state)
{
    char name[32];
    struct tg_source *source;
    struct tg_error error;
    (void)state;
    for (int i = 0; i < 1001; i++) {
        (void)snprintf(name, sizeof name, "m%d.lua", i);
        (void)fixture_write(&fx, name, "");
    }
    const char *path = fixture_write(&fx, "policy.lua", "");
    assert_int_equal(tg_source_read(&source, path, &error), TG_ERR_LIMIT);
    assert_non_null(strstr(error.text, "more than 1000"));

    path = fixture_write(&fx, "big/init.lua", "");
    assert_int_equal(truncate(path, (16 << 20) + 1), 0);
    assert_int_equal(tg_source_read(&source, path, &error), TG_ERR_LIMIT);
    assert_non_null(strstr(error.text, "larger than 16MiB"));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, fixture_setup, fixture_teardown, &fx)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(require_finds_own_modules_once),
        TEST(dots_are_folders_in_a_policy_folder),
        TEST(a_file_of_endless_conditions_is_not_parsed),
        TEST(what_is_not_there_is_told_with_what_was_looked_for),
        TEST(modules_that_require_each_other_are_named),
        TEST(a_module_that_failed_can_be_tried_again),
        TEST(errors_in_modules_name_their_file),
        TEST(the_first_require_of_a_module_in_a_hook_is_refused),
        TEST(library_tables_are_frozen_with_all_in_them),
        TEST(the_version_covers_what_is_loaded_and_nothing_else),
        TEST(the_version_does_not_depend_on_where_the_policy_lies),
        TEST(nothing_changes_after_the_seal),
        TEST(what_is_no_policy_is_refused),
        TEST(the_snapshot_does_not_change_with_the_files),
        TEST(too_many_or_too_large_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
