/* credentials_test.c - what authenticate sees of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/memory.h"
#include "script/hooks/credentials.h"
#include "support/bare_lua.h"

/* `lines`: "name: value\n"…; without a host, as HTTP/1.0 allows. */
static struct tg_request *make_request_about(const char *query, const char *lines,
                                             struct tg_request_about about)
{
    struct tg_buffer text = TG_BUFFER_INIT;
    struct tg_http *http;
    size_t consumed;

    assert_int_equal(tg_buffer_printf(&text, "GET /chat?%s HTTP/1.0\r\n", query), TG_ERR_OK);
    while (*lines != '\0') {
        int len = (int)strcspn(lines, "\n");
        assert_int_equal(tg_buffer_printf(&text, "%.*s\r\n", len, lines), TG_ERR_OK);
        lines += len + (lines[len] == '\n');
    }
    assert_int_equal(tg_buffer_append_str(&text, "\r\n"), TG_ERR_OK);
    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, 4096, 0), TG_ERR_OK);
    if (tg_http_feed(http, tg_buffer_head(&text), text.len, &consumed) != TG_HTTP_DONE)
        fail_msg("no request: %.*s", (int)text.len, (const char *)tg_buffer_head(&text));
    struct tg_request *request = tg_request_create(http, &about);
    assert_non_null(request);
    tg_http_destroy(http);
    tg_buffer_fini(&text);
    return request;
}

static struct tg_request *make_request(const char *query, const char *lines)
{
    return make_request_about(query, lines, (struct tg_request_about){0});
}

struct row {
    const char *query;
    const char *headers;
    const char *check; /* of `c`, the credentials */
};

static const struct row rows[] = {
    {"", "", "next(c.query) == nil and next(c.cookies) == nil and #c.subprotocols == 0"},
    {"", "", "c.bearer == nil and c.basic == nil and c.api_key == nil and c.message == nil"},
    {"", "", "c.remote_address == '127.0.0.1:5'"},
    {"", "authorization: Bearer abc.def", "c.bearer == 'abc.def' and c.basic == nil"},
    {"", "authorization: bearer   abc  ", "c.bearer == 'abc'"},
    {"", "authorization: Bearer", "c.bearer == nil"},
    {"", "authorization: Bearer ", "c.bearer == nil"},
    {"", "authorization: Bearerabc", "c.bearer == nil"},
    {"", "authorization: Basic YW5uOnB3", "c.basic.username == 'ann' and c.basic.password == 'pw'"},
    {"", "authorization: Basic YW5uOg==", "c.basic.username == 'ann' and c.basic.password == ''"},
    {"", "authorization: Basic YTpiOmM=", "c.basic.username == 'a' and c.basic.password == 'b:c'"},
    {"", "authorization: Basic YW5u", "c.basic == nil"}, /* no colon */
    {"", "authorization: Basic !!!!", "c.basic == nil"},
    {"", "authorization: Basic YW5uOnB3\nx-api-key: k", "c.bearer == nil and c.api_key == 'k'"},
    {"", "authorization: Basic //8=", "c.basic == nil"},
    {"a=1&b=two", "", "c.query.a == '1' and c.query.b == 'two'"},
    {"a=1&a=2", "", "c.query.a == '1'"},
    {"a&b=&=c&&", "", "c.query.a == '' and c.query.b == '' and c.query[''] == 'c'"},
    {"na%20me=v%3D%26+x", "", "c.query['na me'] == 'v=& x'"},
    {"a=%zz&b=%4", "", "c.query.a == '%zz' and c.query.b == '%4'"},
    {"a=%00b", "", "c.query.a == '\\0b'"},
    {"api_key=q", "", "c.api_key == 'q'"},
    {"", "authorization: Bearer a\nauthorization: Bearer b", "c.bearer == nil and c.basic == nil"},
    {"", "authorization: Bearer a\nauthorization: Basic YW5uOnB3", "not (c.bearer or c.basic)"},
    {"", "x-api-key: a\nx-api-key: b", "c.api_key == nil"},
    {"", "x-api-key: a\nx-api-key: b\nx-api-key: c", "c.api_key == nil"},
    {"", "authorization: Bearer a\nauthorization: Bearer b\nauthorization: Bearer c",
     "c.bearer == nil"},
    {"api_key=q", "x-api-key: h", "c.api_key == 'h'"},
    {"", "cookie: a=1; b=\"two\";c = 3",
     "c.cookies.a == '1' and c.cookies.b == 'two' and c.cookies.c == '3'"},
    {"", "cookie: a=1; a=2\ncookie: d=4", "c.cookies.a == '1' and c.cookies.d == '4'"},
    {"", "cookie: a=x=y; empty=", "c.cookies.a == 'x=y' and c.cookies.empty == ''"},
    {"", "sec-websocket-protocol: tidegate.v1, other",
     "c.subprotocols[1] == 'tidegate.v1' and c.subprotocols[2] == 'other'"},
    {"", "sec-websocket-protocol: a,,\nsec-websocket-protocol: b", "#c.subprotocols == 2"},
    {"", "sec-websocket-protocol: tidegate.v1, bearer.tok", "c.bearer == 'tok'"},
    {"", "sec-websocket-protocol: bearer.tok\nauthorization: Bearer head", "c.bearer == 'head'"},
    {"", "sec-websocket-protocol: bearer.", "c.bearer == nil"},
};

static void check(lua_State *L, const char *check_code)
{
    char code[512];
    lua_setglobal(L, "c");
    snprintf(code, sizeof code, "return %s", check_code);
    bare_lua_run(L, code);
    if (!lua_toboolean(L, -1))
        fail_msg("%s", check_code);
    lua_settop(L, 0);
}

static void test_credentials(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_request *request = make_request(rows[i].query, rows[i].headers);
        tg_credentials_push(*state, request, "127.0.0.1:5", NULL, 0);
        check(*state, rows[i].check);
        tg_free(request);
    }
}

static void test_message(void **state)
{
    static const char json[] = "{\"type\":\"authenticate\",\"data\":{\"token\":\"t\"}}";
    struct tg_request *request = make_request("", "");
    tg_credentials_push(*state, request, "127.0.0.1:5", json, sizeof json - 1);
    check(*state, "c.message.data.token == 't'");
    tg_free(request);
}

static void test_request(void **state)
{
    struct tg_request *request =
        make_request("a=1", "host: x\naccept: a\naccept: b\ncookie: c=1\ncookie: d=2");
    tg_request_push(*state, request, "127.0.0.1:5");
    check(*state, "c.method == 'GET' and c.path == '/chat' and c.query.a == '1' and c.tls == false "
                  "and c.headers.host == 'x' and c.headers.accept == 'a, b' "
                  "and c.headers.cookie == 'c=1; d=2' and c.remote_address == '127.0.0.1:5' and "
                  "c.via_proxy == false");
    tg_free(request);
    request = make_request_about("", "", (struct tg_request_about){.via_proxy = true});
    tg_request_push(*state, request, "127.0.0.1:5");
    check(*state, "c.via_proxy == true");
    tg_free(request);
}

static void test_tls(void **state)
{
    struct tg_request *request =
        make_request_about("", "", (struct tg_request_about){.secure = true});
    tg_request_push(*state, request, "127.0.0.1:5");
    check(*state, "c.tls == true");
    tg_credentials_push(*state, request, "127.0.0.1:5", NULL, 0);
    check(*state, "c.client_certificate == nil");
    tg_free(request);
    struct tg_request_about about = {.tls_info = "{\"version\":\"TLSv1.3\",\"server_name\":\"h\"}",
                                     .client_certificate =
                                         "{\"subject_cn\":\"ada\",\"sans\":{\"dns\":[\"a\",\"b\"],"
                                         "\"ip\":[]},\"not_after\":12,\"verified\":true}"};
    request = make_request_about("", "", about);
    tg_request_push(*state, request, "127.0.0.1:5");
    check(*state, "c.tls.version == 'TLSv1.3' and c.tls.server_name == 'h'");
    tg_credentials_push(*state, request, "127.0.0.1:5", NULL, 0);
    check(*state,
          "c.client_certificate.subject_cn == 'ada' and c.client_certificate.sans.dns[2] == 'b' "
          "and #c.client_certificate.sans.ip == 0 and c.client_certificate.not_after == 12 "
          "and c.client_certificate.verified == true");
    tg_free(request);
}

static int push_both(lua_State *L)
{
    const struct tg_request *request = lua_touserdata(L, 1);
    tg_credentials_push(L, request, "127.0.0.1:5", "{\"a\":\"\\n\"}", 10);
    tg_request_push(L, request, "127.0.0.1:5");
    return 0;
}

static void test_memory_runs_out(void **state)
{
    struct tg_request *request = make_request(
        "a=%20&b=2",
        "authorization: Basic YW5uOnB3\ncookie: a=1\nsec-websocket-protocol: bearer.x");
    int status = LUA_ERRMEM;
    for (long n = 0; status != 0; n++) {
        bare_lua_fail_after(n);
        status = lua_cpcall(*state, push_both, request);
        bare_lua_fail_after(-1);
        assert_true(n < 300 && (status == 0 || status == LUA_ERRMEM));
        lua_settop(*state, 0);
    }
    tg_free(request);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_lua_setup, bare_lua_teardown)

/* The value on top is a table whose keys are these names and no others. */
static void assert_keys(lua_State *L, const char *const *names)
{
    int expected = 0, found = 0;

    for (; names[expected] != NULL; expected++) {
        lua_getfield(L, -1, names[expected]);
        if (lua_isnil(L, -1))
            fail_msg("%s is listed and not set", names[expected]);
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        found++;
        lua_pop(L, 1);
    }
    assert_int_equal(found, expected);
}

static void the_lists_of_fields_are_what_is_set(void **state)
{
    static const char headers[] =
        "authorization: Basic YW5uOnB3\nsec-websocket-protocol: bearer.x\n"
        "x-api-key: k\n";
    static const char message[] = "{\"type\":\"authenticate\"}";
    lua_State *L = bare_lua_open();
    struct tg_request *request =
        make_request_about("", headers, (struct tg_request_about){.client_certificate = "{}"});

    (void)state;
    tg_request_push(L, request, "127.0.0.1:5");
    assert_keys(L, tg_request_fields);
    tg_credentials_push(L, request, "127.0.0.1:5", message, sizeof message - 1);
    assert_keys(L, tg_credentials_fields);
    tg_free(request);
    bare_lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lists_of_fields_are_what_is_set),
        TEST(test_credentials),
        TEST(test_message),
        TEST(test_request),
        TEST(test_tls),
        TEST(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
