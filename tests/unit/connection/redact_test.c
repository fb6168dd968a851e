/* redact_test.c - credentials of a request are taken out of any text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "connection/redact.h"
#include "support/log_capture.h"

static const char head[] =
    "GET /chat?token=query-secret&name=ada&enc=per%63ent%2Dsecret&whole-secret "
    "HTTP/1.1\r\n"
    "Host: localhost\r\n"
    "Authorization: Basic YWRhOnBhc3N3b3JkLXNlY3JldA==\r\n"
    "Authorization: Bearer bearer-secret\r\n"
    "Cookie: theme=dark; sid=cookie-secret\r\n"
    "Sec-WebSocket-Protocol: tidegate.v1, bearer.protocol-secret\r\n"
    "Sec-WebSocket-Protocol: other-protocol\r\n"
    "X-Api-Key: api-key-secret\r\n"
    "X-Session: session-secret\r\n"
    "User-Agent: ordinary-agent\r\n"
    "\r\n";

static struct tg_request *request_from(const char *text)
{
    struct tg_http *http;
    size_t consumed;

    assert_int_equal(tg_http_create(&http, TG_HTTP_REQUEST, 8192, 0), TG_ERR_OK);
    assert_int_equal(tg_http_feed(http, text, strlen(text), &consumed), TG_HTTP_DONE);
    struct tg_request *request = tg_request_create(http, &(struct tg_request_about){0});
    assert_non_null(request);
    tg_http_destroy(http);
    return request;
}

static void every_place_a_credential_can_stand_in(void **state)
{
    static const char *const secrets[] = {
        "query-secret",
        "percent-secret",
        "per%63ent%2Dsecret",
        "whole-secret",
        "bearer-secret",
        "password-secret",
        "YWRhOnBhc3N3b3JkLXNlY3JldA==",
        "cookie-secret",
        "protocol-secret",
        "bearer.protocol-secret",
        "other-protocol",
        "api-key-secret",
        "session-secret",
    };
    struct tg_request *request = request_from(head);

    (void)state;
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        char text[128];
        struct tg_buffer out = TG_BUFFER_INIT;
        (void)snprintf(text, sizeof text, "bad %s, and again %s", secrets[i], secrets[i]);
        assert_int_equal(tg_redact(request, text, strlen(text), &out), TG_ERR_OK);
        static const char want[] = "bad " TG_REDACTED ", and again " TG_REDACTED;
        if (out.len != sizeof want - 1 || memcmp(tg_buffer_head(&out), want, out.len) != 0)
            fail_msg("%s: %.*s", secrets[i], (int)out.len, (const char *)tg_buffer_head(&out));
        tg_buffer_fini(&out);
    }
    tg_free(request);
}

static void what_is_no_credential_stays(void **state)
{
    static const char *const texts[] = {
        "",      "tidegate.v1", "user ada likes dark themes", "ordinary-agent", "localhost",
        "cooki", "/chat",       "query-secre is cut",
    };
    struct tg_request *request = request_from(head);

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct tg_buffer out = TG_BUFFER_INIT;
        assert_int_equal(tg_redact(request, texts[i], strlen(texts[i]), &out), TG_ERR_OK);
        assert_int_equal(out.len, strlen(texts[i]));
        if (out.len > 0)
            assert_memory_equal(tg_buffer_head(&out), texts[i], out.len);
        tg_buffer_fini(&out);
    }
    tg_free(request);
}

/* A line that was cut to its length may end inside a secret. */
static void a_secret_that_was_cut(void **state)
{
    struct tg_request *request = request_from(head);
    struct tg_buffer out = TG_BUFFER_INIT;

    (void)state;
    assert_int_equal(tg_redact(request, "see query-sec", 13, &out), TG_ERR_OK);
    assert_int_equal(out.len, sizeof "see " TG_REDACTED - 1);
    tg_buffer_fini(&out);
    tg_free(request);
}

static void log_lines(void **state)
{
    struct tg_request *request = request_from(head);
    struct tg_log_field fields[] = {
        tg_log_str("message", "no user for bearer-secret"),
        tg_log_int("code", 4401),
        tg_log_str("user", "ada"),
        tg_log_str("nothing", NULL),
    };

    (void)state;
    log_capture_start();
    tg_redact_log(request, TG_LOG_INFO, "test.line", fields, 4);
    assert_true(log_capture_has("message=\"no user for [redacted]\" code=4401 user=ada"));
    tg_redact_log(NULL, TG_LOG_INFO, "test.line", fields, 4);
    assert_true(log_capture_has("no user for bearer-secret"));
    /* Without memory the text goes, not the secrecy. */
    log_capture_clear();
    for (long n = 0; n < 4; n++) {
        (void)tg_memory_fail_after(n, 1);
        tg_redact_log(request, TG_LOG_INFO, "test.line", fields, 4);
        (void)tg_memory_fail_after(-1, 0);
    }
    assert_int_equal(log_capture_count(), 4);
    assert_false(log_capture_has("bearer-secret"));
    log_capture_stop();
    tg_free(request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_place_a_credential_can_stand_in),
        cmocka_unit_test(what_is_no_credential_stays),
        cmocka_unit_test(a_secret_that_was_cut),
        cmocka_unit_test(log_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
