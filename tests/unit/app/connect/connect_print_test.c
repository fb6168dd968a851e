/* connect_print_test.c - messages as a person sees them, and as lines for a program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/connect/connect_print.h"

static struct tg_printer printer;
static char *written;
static size_t written_len;

static void open_printer(enum tg_print_form form, bool colour)
{
    printer = (struct tg_printer){
        .out = open_memstream(&written, &written_len), .form = form, .colour = colour};
}

static void show(const char *text)
{
    struct tg_json_value value;
    bool json = tg_json_parse(text, strlen(text), &value, NULL) == TG_ERR_OK;

    tg_printer_message(&printer, true, (const uint8_t *)text, strlen(text), json ? &value : NULL);
}

static void assert_written(const char *text)
{
    tg_printer_flush(&printer);
    fclose(printer.out);
    tg_printer_fini(&printer);
    assert_string_equal(written, text);
    free(written);
}

#define EVENT(type, run, data)                                                                     \
    "{\"type\":\"" type "\",\"run_id\":\"" run "\",\"agent\":\"bob\",\"data\":" data "}"

static void streamed_text_is_joined(void **state)
{
    (void)state;
    open_printer(TG_PRINT_EVENTS, false);
    show(EVENT("agent_started", "r1", "{}"));
    show(EVENT("agent_delta", "r1", "{\"text\":\"Hel\"}"));
    show(EVENT("agent_delta", "r1", "{\"text\":\"lo\\n\\u00fc\"}"));
    show(EVENT("agent_completed", "r1", "{\"response\":\"Hello\",\"duration_ms\":1234}"));
    assert_written("▶ bob\nHello\nü\n✓ bob 1.2 s\n");
}

static void runs_that_take_turns_get_lines_of_their_own(void **state)
{
    (void)state;
    open_printer(TG_PRINT_EVENTS, false);
    show(EVENT("agent_delta", "r1", "{\"text\":\"a\"}"));
    show(EVENT("agent_delta", "r2", "{\"text\":\"b\"}"));
    show(EVENT("agent_delta", "r1", "{\"text\":\"c\"}"));
    assert_written("a\nb\nc\n");
}

static void an_answer_that_was_not_streamed_is_shown(void **state)
{
    (void)state;
    open_printer(TG_PRINT_EVENTS, false);
    show(EVENT("agent_delta", "r2", "{\"text\":\"other\"}"));
    show(EVENT("agent_completed", "r1", "{\"response\":\"whole\",\"duration_ms\":5}"));
    show(EVENT("agent_completed", "r3", "{\"response\":{\"a\":1},\"duration_ms\":5}"));
    assert_written("other\nwhole\n✓ bob 5 ms\n{\"a\":1}\n✓ bob 5 ms\n");
}

static void tools_thinking_and_errors_have_their_lines(void **state)
{
    (void)state;
    open_printer(TG_PRINT_EVENTS, true);
    show("{\"type\":\"connection_ready\",\"data\":{\"connection_id\":\"ws_1\",\"user_id\":\"u\","
         "\"state\":\"degraded\"}}");
    show(EVENT("agent_thinking", "r", "{\"text\":\"hm\"}"));
    show(EVENT("tool_executing", "r", "{\"name\":\"t\",\"arguments\":{\"a\":1}}"));
    show(EVENT("tool_completed", "r", "{\"name\":\"t\",\"result\":2,\"duration_ms\":7}"));
    show(EVENT("tool_completed", "r", "{\"name\":\"t\",\"error\":\"no\",\"duration_ms\":7}"));
    show(EVENT("agent_error", "r", "{\"code\":\"timeout\",\"message\":\"too slow\"}"));
    show("{\"type\":\"error\",\"data\":{\"code\":\"c\",\"message\":\"m\"}}");
    assert_written("\033[32m● ws_1\033[0m as u, degraded\n"
                   "\033[2mhm\033[0m\n"
                   "  \033[36m⚙ t\033[0m \033[2m{\"a\":1}\033[0m\n"
                   "  \033[32m✓ t\033[0m\033[2m 7 ms\033[0m \033[2m2\033[0m\n"
                   "  \033[31m✗ t\033[0m\033[2m 7 ms\033[0m \033[31m\"no\"\033[0m\n"
                   "\033[31m✗ bob: timeout: too slow\033[0m\n"
                   "\033[31m✗ c: m\033[0m\n");
}

static void a_server_cannot_steer_the_terminal(void **state)
{
    (void)state;
    open_printer(TG_PRINT_EVENTS, false);
    show(EVENT("agent_delta", "r",
               "{\"text\":\"a\\u001b[2J\\u0007\\u009b31m\\r\\u007fb\\ttab\\nline\"}"));
    show("{\"type\":\"other\",\"x\":\"\xc2\x9b\"}");
    assert_written("a[2J31mb\ttab\nline\n{\"type\":\"other\",\"x\":\"\"}\n");
}

static void long_details_are_cut_between_characters(void **state)
{
    char text[1024] = "{\"type\":\"tool_executing\",\"data\":{\"name\":\"t\",\"arguments\":\"";
    char expected[512] = "  ⚙ t \"";

    (void)state;
    for (int i = 0; i < 200; i++)
        strcat(text, "ü");
    strcat(text, "\"}}");
    open_printer(TG_PRINT_EVENTS, false);
    show(text);
    for (int i = 0; i < 79; i++) /* with the quote: 159 bytes, and no half character */
        strcat(expected, "ü");
    strcat(expected, "…\n");
    assert_written(expected);
}

static void programs_get_one_line_a_message(void **state)
{
    (void)state;
    open_printer(TG_PRINT_LINES, false);
    show("{\n \"type\": \"a\",\r\n \"b\": \"\\n\" }");
    show("no json \033");
    tg_printer_message(&printer, false, (const uint8_t *)"\0\1", 2, NULL);
    tg_printer_note(&printer, "not for programs");
    assert_written("{  \"type\": \"a\",   \"b\": \"\\n\" }\n"
                   "\"no json \\u001b\"\n"
                   "{\"type\":\"binary\",\"bytes\":2,\"base64\":\"AAE=\"}\n");
}

static void plain_text_is_passed_on(void **state)
{
    (void)state;
    open_printer(TG_PRINT_LINES, false);
    printer.plain = true;
    show("{\"type\":\"pong\"}");
    show("hello");
    assert_written("{\"type\":\"pong\"}\nhello\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streamed_text_is_joined),
        cmocka_unit_test(runs_that_take_turns_get_lines_of_their_own),
        cmocka_unit_test(an_answer_that_was_not_streamed_is_shown),
        cmocka_unit_test(tools_thinking_and_errors_have_their_lines),
        cmocka_unit_test(a_server_cannot_steer_the_terminal),
        cmocka_unit_test(long_details_are_cut_between_characters),
        cmocka_unit_test(programs_get_one_line_a_message),
        cmocka_unit_test(plain_text_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
