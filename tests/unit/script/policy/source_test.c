/* source_test.c - which files make a policy, from disk and from memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "script/policy/source.h"

struct fixture {
    char folder[64];
    char path[128];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    (void)snprintf(fixture->folder, sizeof fixture->folder, "/tmp/tidegate-source-XXXXXX");
    if (mkdtemp(fixture->folder) == NULL)
        return -1;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", fixture->folder);
    int status = system(command);
    free(fixture);
    return status;
}

static const char *path_of(struct fixture *fixture, const char *name)
{
    (void)snprintf(fixture->path, sizeof fixture->path, "%s/%s", fixture->folder, name);
    return fixture->path;
}

static void write_file(struct fixture *fixture, const char *name, const char *text)
{
    FILE *file = fopen(path_of(fixture, name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static struct tg_source_text text_of(const char *path, const char *data)
{
    return (struct tg_source_text){path, data, strlen(data)};
}

static void specs_are_no_part_of_a_folder(void **state)
{
    struct fixture *fixture = *state;
    struct tg_source *source;
    struct tg_error error;
    write_file(fixture, "init.lua", "return 1");
    write_file(fixture, "store.lua", "return 2");
    write_file(fixture, "init_spec.lua", "not Lua");
    write_file(fixture, "store_spec.lua", "not Lua");
    assert_int_equal(tg_source_read(&source, fixture->folder, &error), TG_ERR_OK);
    assert_non_null(tg_source_find(source, "store"));
    assert_null(tg_source_find(source, "store_spec"));
    assert_null(tg_source_find(source, "init_spec"));
    assert_null(tg_source_at(source, 2));
    tg_source_release(source);
}

static void specs_are_no_part_of_a_file(void **state)
{
    struct fixture *fixture = *state;
    struct tg_source *source;
    struct tg_error error;
    write_file(fixture, "keys.lua", "return 1");
    write_file(fixture, "keys_spec.lua", "not Lua");
    assert_int_equal(tg_source_read(&source, path_of(fixture, "keys.lua"), &error), TG_ERR_OK);
    assert_null(tg_source_find(source, "keys_spec"));
    tg_source_release(source);
}

static void texts_make_the_same_policy_as_files(void **state)
{
    struct fixture *fixture = *state;
    struct tg_source_text texts[] = {text_of("users/store.lua", "return 2"),
                                     text_of("init.lua", "return 1"),
                                     text_of("tools/init.lua", "return 3")};
    struct tg_source *memory, *disk;
    struct tg_error error;
    assert_int_equal(mkdir(path_of(fixture, "users"), 0700), 0);
    assert_int_equal(mkdir(path_of(fixture, "tools"), 0700), 0);
    for (size_t i = 0; i < 3; i++)
        write_file(fixture, texts[i].path, texts[i].data);
    assert_int_equal(tg_source_read(&disk, fixture->folder, &error), TG_ERR_OK);
    assert_int_equal(tg_source_from_texts(&memory, "policy", texts, 3, &error), TG_ERR_OK);
    assert_true(tg_source_equals(memory, disk));
    assert_string_equal(tg_source_entry(memory)->path, "init.lua");
    assert_string_equal(tg_source_find(memory, "users.store")->path, "users/store.lua");
    tg_source_mark_used(memory, tg_source_entry(memory));
    tg_source_mark_used(disk, tg_source_entry(disk));
    tg_source_seal(memory);
    tg_source_seal(disk);
    assert_string_equal(tg_source_version(memory), tg_source_version(disk));
    tg_source_release(memory);
    tg_source_release(disk);
}

static void texts_without_an_entry_or_with_odd_names_are_refused(void **state)
{
    struct tg_source_text no_entry[] = {text_of("store.lua", "return 2")};
    struct tg_source_text odd[] = {text_of("init.lua", "return 1"), text_of("notes.txt", "x")};
    struct tg_source *source;
    struct tg_error error;
    (void)state;
    assert_int_equal(tg_source_from_texts(&source, "p", no_entry, 1, &error), TG_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "no init.lua"));
    assert_int_equal(tg_source_from_texts(&source, "p", odd, 2, &error), TG_ERR_INVALID);
    assert_non_null(strstr(error.text, "notes.txt"));
    assert_int_equal(tg_source_from_texts(&source, "p", NULL, 0, &error), TG_ERR_NOT_FOUND);
}

static void running_out_of_memory_leaves_nothing_behind(void **state)
{
    struct tg_source_text texts[] = {text_of("init.lua", "return 1"), text_of("a.lua", "return 2")};
    struct tg_source *source;
    struct tg_error error;
    enum tg_err err;
    int failures = 0;
    (void)state;
    do {
        (void)tg_memory_fail_after(failures, 1);
        err = tg_source_from_texts(&source, "p", texts, 2, &error);
        (void)tg_memory_fail_after(-1, 0);
        assert_true(err == TG_ERR_OK || err == TG_ERR_NOMEM);
    } while (err != TG_ERR_OK && failures++ < 100);
    assert_in_range(failures, 4, 40);
    tg_source_release(source);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(specs_are_no_part_of_a_folder),
        TEST(specs_are_no_part_of_a_file),
        TEST(texts_make_the_same_policy_as_files),
        TEST(texts_without_an_entry_or_with_odd_names_are_refused),
        TEST(running_out_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
