/* embedded_test.c - the Lua library in the program is the one in lua/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/embedded.h"

static void every_file_is_the_one_in_the_tree(void **state)
{
    (void)state;
    for (size_t i = 0; i < tg_embedded_files_count; i++) {
        const struct tg_embedded_file *embedded = &tg_embedded_files[i];
        char path[1024];
        snprintf(path, sizeof path, "%s/lua/%s", TG_TEST_SOURCE_DIR, embedded->name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        char *text = malloc(embedded->size + 1);
        size_t len = fread(text, 1, embedded->size + 1, file);
        fclose(file);
        assert_int_equal(len, embedded->size);
        assert_memory_equal(text, embedded->data, len);
        assert_int_equal(embedded->data[embedded->size], '\0');
        free(text);
    }
}

static void files_are_sorted_by_name(void **state)
{
    (void)state;
    for (size_t i = 1; i < tg_embedded_files_count; i++)
        assert_true(strcmp(tg_embedded_files[i - 1].name, tg_embedded_files[i].name) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_the_one_in_the_tree),
        cmocka_unit_test(files_are_sorted_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
