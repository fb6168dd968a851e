/* meta_test.c - the editor annotations declare exactly the functions that modules have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "script/library.h"
#include "support/bare_lua.h"
#include "support/stage.h"

/* Lua code that compares `module` with the functions that its annotations declare. */
static void write_check(lua_State *L, const char *module, char *out, size_t size)
{
    char path[256];
    char file[64];
    size_t used = 0;
    snprintf(file, sizeof file, "%s", module);
    char *dot = strchr(file, '.');
    if (dot != NULL)
        *dot = '/';
    snprintf(path, sizeof path, TG_TEST_SOURCE_DIR "/lua/meta/%s.lua", file);
    if (luaL_loadfile(L, path) != 0 || lua_pcall(L, 0, 1, 0) != 0)
        fail_msg("%s", lua_tostring(L, -1));
    used += (size_t)snprintf(out, size, "local m, declared = require '%s', {}\n", module);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_isfunction(L, -1))
            used += (size_t)snprintf(out + used, size - used, "declared['%s'] = true\n",
                                     lua_tostring(L, -2));
        lua_pop(L, 1);
    }
    assert_true(used < size - 400);
    snprintf(out + used, size - used,
             "for name in pairs(declared) do assert(type(m[name]) == 'function', name) end\n"
             "for name, value in pairs(m) do\n"
             "  assert(type(value) ~= 'function' or declared[name], name .. ' is not declared')\n"
             "end");
}

static void test_annotations_match(void **state)
{
    const struct tg_library_module *rows;
    size_t count = tg_library_modules(&rows);
    lua_State *L = bare_lua_open();
    for (size_t i = 0; i < count; i++) {
        char code[4096];
        write_check(L, rows[i].name, code, sizeof code);
        stage_run(*state, code);
    }
    bare_lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_annotations_match, stage_setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
