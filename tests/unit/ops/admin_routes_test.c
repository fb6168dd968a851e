/* admin_routes_test.c - which route a path means, and what a query holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "ops/admin_routes.h"

static const struct tg_admin_route routes[] = {
    {"GET", "/health", NULL},          {"GET", "/connections", NULL},
    {"GET", "/connections/:id", NULL}, {"POST", "/connections/:id/close", NULL},
    {"GET", "/policy", NULL},          {"POST", "/policy", NULL},
};
enum { COUNT = sizeof routes / sizeof routes[0] };

static struct tg_http_text text(const char *data)
{
    return (struct tg_http_text){data, strlen(data)};
}

static void assert_found(const char *method, const char *path, size_t row, const char *want)
{
    struct tg_buffer param = TG_BUFFER_INIT;
    const struct tg_admin_route *route = NULL;

    assert_int_equal(tg_admin_route_find(routes, COUNT, text(method), text(path), &route, &param),
                     TG_ERR_OK);
    assert_ptr_equal(route, &routes[row]);
    assert_string_equal(param.len == 0 ? "" : (const char *)tg_buffer_head(&param), want);
    tg_buffer_fini(&param);
}

static void assert_not_found(const char *method, const char *path, enum tg_err err)
{
    struct tg_buffer param = TG_BUFFER_INIT;
    const struct tg_admin_route *route = NULL;

    assert_int_equal(tg_admin_route_find(routes, COUNT, text(method), text(path), &route, &param),
                     err);
    tg_buffer_fini(&param);
}

static void paths_match_by_segment(void **state)
{
    (void)state;
    assert_found("GET", "/health", 0, "");
    assert_found("HEAD", "/health", 0, "");
    assert_found("GET", "/connections", 1, "");
    assert_found("GET", "/connections/ws_1", 2, "ws_1");
    assert_found("POST", "/connections/ws_1/close", 3, "ws_1");
    assert_found("POST", "/policy", 5, "");
    assert_not_found("GET", "/", TG_ERR_NOT_FOUND);
    assert_not_found("GET", "", TG_ERR_NOT_FOUND);
    assert_not_found("GET", "health", TG_ERR_NOT_FOUND);
    assert_not_found("GET", "/health/", TG_ERR_NOT_FOUND);
    assert_not_found("GET", "/healthz", TG_ERR_NOT_FOUND);
    assert_not_found("GET", "/connections/", TG_ERR_NOT_FOUND);
    assert_not_found("GET", "/connections/a/b", TG_ERR_NOT_FOUND);
    assert_not_found("POST", "/connections//close", TG_ERR_NOT_FOUND);
    assert_not_found("GET", "/connections/ws_1/close", TG_ERR_ILLEGAL);
    assert_not_found("get", "/health", TG_ERR_ILLEGAL);
    assert_not_found("HEAD", "/connections/ws_1/close", TG_ERR_ILLEGAL);
}

static void parameters_are_decoded_after_matching(void **state)
{
    (void)state;
    assert_found("GET", "/connections/a%2Fb%20c+d", 2, "a/b c+d");
    assert_not_found("GET", "/connections/a%00b", TG_ERR_INVALID);
    assert_not_found("GET", "/connections/a%2", TG_ERR_INVALID);
}

static void allow_lists_the_methods_of_a_path(void **state)
{
    struct tg_buffer out = TG_BUFFER_INIT;

    (void)state;
    assert_int_equal(tg_admin_route_allow(routes, COUNT, text("/policy"), &out), TG_ERR_OK);
    assert_int_equal(tg_buffer_append(&out, "", 1), TG_ERR_OK);
    assert_string_equal((const char *)tg_buffer_head(&out), "GET, HEAD, POST");
    tg_buffer_fini(&out);
}

static void queries_are_decoded(void **state)
{
    struct tg_buffer parsed = TG_BUFFER_INIT;

    (void)state;
    assert_null(tg_admin_query_find(&parsed, "a"));
    assert_int_equal(
        tg_admin_query_parse(text("state=idle&user=a%26b+c&&=x&flag&state=two&e="), &parsed),
        TG_ERR_OK);
    assert_string_equal(tg_admin_query_find(&parsed, "state"), "idle");
    assert_string_equal(tg_admin_query_find(&parsed, "user"), "a&b c");
    assert_string_equal(tg_admin_query_find(&parsed, "flag"), "");
    assert_string_equal(tg_admin_query_find(&parsed, "e"), "");
    assert_null(tg_admin_query_find(&parsed, "idle"));
    assert_null(tg_admin_query_find(&parsed, ""));
    tg_buffer_clear(&parsed);
    assert_int_equal(tg_admin_query_parse(text("a=%zz"), &parsed), TG_ERR_INVALID);
    tg_buffer_clear(&parsed);
    assert_int_equal(tg_admin_query_parse(text("a=b%00c"), &parsed), TG_ERR_INVALID);
    tg_buffer_fini(&parsed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_match_by_segment),
        cmocka_unit_test(parameters_are_decoded_after_matching),
        cmocka_unit_test(allow_lists_the_methods_of_a_path),
        cmocka_unit_test(queries_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
