/* extensions_test.c - offers of permessage-deflate and what becomes of them, RFC 7692 §7.1 and
 * RFC 6455 §9.1, row by row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "proto/extensions.h"

#define MALFORMED "malformed"

static struct tg_http *parse(enum tg_http_kind kind, const char *start, const char *lines)
{
    struct tg_http *http;
    char head[2048];
    size_t consumed;

    snprintf(head, sizeof head,
             "%s\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s\r\n", start, lines);
    assert_int_equal(tg_http_create(&http, kind, 4096, 0), TG_ERR_OK);
    assert_int_equal(tg_http_feed(http, head, strlen(head), &consumed), TG_HTTP_DONE);
    return http;
}

/* "s15+ c9-": windows, and whether they are kept. */
static void describe(const struct tg_deflate_agreement *agreed, char *out, size_t size)
{
    snprintf(out, size, "s%u%c c%u%c", (unsigned)agreed->from_server.window_bits,
             agreed->from_server.takeover ? '+' : '-', (unsigned)agreed->from_client.window_bits,
             agreed->from_client.takeover ? '+' : '-');
}

struct offer_row {
    const char *name;
    const char *offer;  /* values of headers, one a line */
    const char *terms;  /* as described; NULL: s15+ c15+ */
    const char *answer; /* NULL: none; MALFORMED: the handshake fails */
    const char *agreed;
};

#define PD "permessage-deflate"
#define SNO "; server_no_context_takeover"
#define CNO "; client_no_context_takeover"
#define SBITS "; server_max_window_bits"
#define CBITS "; client_max_window_bits"

static const struct offer_row offers[] = {
    {"nothing", "", NULL, NULL, ""},
    {"plain", PD, NULL, PD, "s15+ c15+"},
    {"as browsers", PD CBITS, NULL, PD, "s15+ c15+"},
    {"another extension", "x-webkit-deflate-frame", NULL, NULL, ""},
    {"a longer name", PD "x", NULL, NULL, ""},
    {"names have one case", "Permessage-Deflate", NULL, NULL, ""},
    {"behind another extension", "foo; bar=1, " PD, NULL, PD, "s15+ c15+"},
    {"behind one with quotes", "foo; bar=\"a\", " PD, NULL, PD, "s15+ c15+"},
    {"in a second header", "foo\n" PD, NULL, PD, "s15+ c15+"},
    {"empty elements", ", ," PD ",,", NULL, PD, "s15+ c15+"},
    {"blanks", PD "  ;\tserver_no_context_takeover ", NULL, PD SNO, "s15- c15+"},
    {"no blanks", PD ";server_no_context_takeover", NULL, PD SNO, "s15- c15+"},
    {"blanks around =", PD "; server_max_window_bits = 10", NULL, PD SBITS "=10", "s10+ c15+"},

    {"7.1.1.1 server_no_context_takeover", PD SNO, NULL, PD SNO, "s15- c15+"},
    {"7.1.1.1 with a value", PD SNO "=1", NULL, NULL, ""},
    {"7.1.1.1 with a quoted value", PD SNO "=\"true\"", NULL, NULL, ""},
    {"7.1.1.1 twice", PD SNO SNO, NULL, NULL, ""},
    {"7.1.1.1 not asked for, but our terms", PD, "s15- c15+", PD SNO, "s15- c15+"},
    {"7.1.1.2 client_no_context_takeover", PD CNO, NULL, PD CNO, "s15+ c15-"},
    {"7.1.1.2 with a value", PD CNO "=15", NULL, NULL, ""},
    {"7.1.1.2 twice", PD CNO CNO, NULL, NULL, ""},
    {"7.1.1.2 not offered, but our terms", PD, "s15+ c15-", PD CNO, "s15+ c15-"},
    {"7.1.1 both", PD CNO SNO, NULL, PD SNO CNO, "s15- c15-"},
    {"7.1.1 both by our terms", PD CBITS, "s15- c15-", PD SNO CNO, "s15- c15-"},

    {"7.1.2.1 server_max_window_bits", PD SBITS "=10", NULL, PD SBITS "=10", "s10+ c15+"},
    {"7.1.2.1 the largest is answered", PD SBITS "=15", NULL, PD SBITS "=15", "s15+ c15+"},
    {"7.1.2.1 the smallest of zlib", PD SBITS "=9", NULL, PD SBITS "=9", "s9+ c15+"},
    {"7.1.2.1 quoted", PD SBITS "=\"12\"", NULL, PD SBITS "=12", "s12+ c15+"},
    {"7.1.2.1 quoted and escaped", PD SBITS "=\"1\\2\"", NULL, PD SBITS "=12", "s12+ c15+"},
    {"7.1.2.1 8 is declined", PD SBITS "=8", NULL, NULL, ""},
    {"7.1.2.1 7", PD SBITS "=7", NULL, NULL, ""},
    {"7.1.2.1 16", PD SBITS "=16", NULL, NULL, ""},
    {"7.1.2.1 0", PD SBITS "=0", NULL, NULL, ""},
    {"7.1.2.1 a leading zero", PD SBITS "=09", NULL, NULL, ""},
    {"7.1.2.1 a sign", PD SBITS "=+9", NULL, NULL, ""},
    {"7.1.2.1 a long number", PD SBITS "=1000000000000000000000000000000000000010", NULL, NULL, ""},
    {"7.1.2.1 no number", PD SBITS "=ten", NULL, NULL, ""},
    {"7.1.2.1 no value", PD SBITS, NULL, NULL, ""},
    {"7.1.2.1 twice", PD SBITS "=10" SBITS "=10", NULL, NULL, ""},
    {"7.1.2.1 our terms are smaller", PD SBITS "=12", "s11+ c11+", PD SBITS "=11", "s11+ c15+"},
    {"7.1.2.1 our terms, unasked", PD, "s11+ c11+", PD, "s11+ c15+"},

    {"7.1.2.2 client_max_window_bits", PD CBITS "=10", NULL, PD CBITS "=10", "s15+ c10+"},
    {"7.1.2.2 15", PD CBITS "=15", NULL, PD, "s15+ c15+"},
    {"7.1.2.2 9", PD CBITS "=9", NULL, PD CBITS "=9", "s15+ c9+"},
    {"7.1.2.2 8 is only a hint", PD CBITS "=8", NULL, PD, "s15+ c15+"},
    {"7.1.2.2 no value, our terms", PD CBITS, "s11+ c11+", PD CBITS "=11", "s11+ c11+"},
    {"7.1.2.2 a value over our terms", PD CBITS "=13", "s11+ c11+", PD CBITS "=11", "s11+ c11+"},
    {"7.1.2.2 a value under our terms", PD CBITS "=10", "s11+ c11+", PD CBITS "=10", "s11+ c10+"},
    {"7.1.2.2 quoted", PD CBITS "=\"10\"", NULL, PD CBITS "=10", "s15+ c10+"},
    {"7.1.2.2 16", PD CBITS "=16", NULL, NULL, ""},
    {"7.1.2.2 twice, with and without", PD CBITS CBITS "=10", NULL, NULL, ""},

    {"all four", PD SBITS "=9" CBITS "=9" SNO CNO, NULL, PD SNO CNO SBITS "=9" CBITS "=9",
     "s9- c9-"},
    {"7 an unknown parameter", PD "; foo", NULL, NULL, ""},
    {"7 an unknown parameter with value", PD "; foo=bar", NULL, NULL, ""},
    {"7 unknown in front of good", PD "; foo" SNO, NULL, NULL, ""},
    {"7 the next offer does", PD "; foo, " PD SNO, NULL, PD SNO, "s15- c15+"},
    {"7 the first offer wins", PD CNO ", " PD SNO, NULL, PD CNO, "s15+ c15-"},
    {"7 the fallback of 5.2", PD SBITS "=8, " PD, NULL, PD, "s15+ c15+"},
    {"7 the third, in another header", PD SBITS "=8, " PD "; a=b\n" PD CBITS, NULL, PD,
     "s15+ c15+"},
    {"7 offers that all fail", PD SBITS "=8, " PD SBITS "=16", NULL, NULL, ""},

    {"9.1 a semicolon at the end", PD ";", NULL, MALFORMED, ""},
    {"9.1 two semicolons", PD ";;server_no_context_takeover", NULL, MALFORMED, ""},
    {"9.1 no name", "; a", NULL, MALFORMED, ""},
    {"9.1 = and nothing", PD SBITS "=", NULL, MALFORMED, ""},
    {"9.1 = without a name", PD "; =10", NULL, MALFORMED, ""},
    {"9.1 an open quote", PD SBITS "=\"10", NULL, MALFORMED, ""},
    {"9.1 an open quote that hides a comma", PD SBITS "=\"10, " PD, NULL, MALFORMED, ""},
    {"9.1 a backslash at the end", PD SBITS "=\"10\\", NULL, MALFORMED, ""},
    {"9.1 nothing in quotes", PD SBITS "=\"\"", NULL, MALFORMED, ""},
    {"9.1 a blank in quotes", PD "; a=\"1 0\"", NULL, MALFORMED, ""},
    {"9.1 a comma in quotes", PD "; a=\"1,0\"", NULL, MALFORMED, ""},
    {"9.1 two words", PD " b", NULL, MALFORMED, ""},
    {"9.1 two words as value", PD "; a=b c", NULL, MALFORMED, ""},
    {"9.1 text behind a quote", PD "; a=\"b\"c", NULL, MALFORMED, ""},
    {"9.1 a quoted name", "\"" PD "\"", NULL, MALFORMED, ""},
    {"9.1 a slash", PD "/1", NULL, MALFORMED, ""},
    {"9.1 broken behind a good one", PD ", foo;", NULL, MALFORMED, ""},
    {"9.1 broken in another extension", "foo bar, " PD, NULL, MALFORMED, ""},
    {"9.1 a letter that is not ASCII", "p\xc3\xa9, " PD, NULL, MALFORMED, ""},
};

static struct tg_http *parse_values(enum tg_http_kind kind, const char *values)
{
    char lines[1024] = "";
    size_t len = 0;

    while (*values != '\0') {
        size_t line = strcspn(values, "\n");
        len += (size_t)snprintf(lines + len, sizeof lines - len, "%s%.*s\r\n", TG_EXTENSIONS_HEADER,
                                (int)line, values);
        values += line + (values[line] == '\n');
    }
    return parse(kind, kind == TG_HTTP_REQUEST ? "GET / HTTP/1.1" : "HTTP/1.1 101 x", lines);
}

static struct tg_deflate_terms read_terms(const char *text)
{
    unsigned bits;
    char server;
    char client;

    assert_int_equal(sscanf(text, "s%u%c c%*u%c", &bits, &server, &client), 3);
    return (struct tg_deflate_terms){server == '+', client == '+', (uint8_t)bits};
}

static void test_offers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof offers / sizeof offers[0]; i++) {
        const struct offer_row *row = &offers[i];
        struct tg_http *http = parse_values(TG_HTTP_REQUEST, row->offer);
        struct tg_deflate_terms terms = read_terms(row->terms == NULL ? "s15+ c15+" : row->terms);
        struct tg_deflate_agreement agreed;
        char answer[TG_EXTENSIONS_SIZE] = "(none)";
        char text[32] = "";
        const char *want = row->answer == NULL ? "(none)" : row->answer;

        if (!tg_extensions_valid(http))
            strcpy(answer, MALFORMED);
        else if (tg_extensions_negotiate(http, &terms, &agreed, answer))
            describe(&agreed, text, sizeof text);
        if (strcmp(answer, want) != 0 || strcmp(text, row->agreed) != 0)
            fail_msg("%s: got \"%s\" (%s), want \"%s\" (%s)", row->name, answer, text, want,
                     row->agreed);
        tg_http_destroy(http);
    }
    assert_true(sizeof offers / sizeof offers[0] >= 40);
}

struct answer_row {
    const char *name;
    struct tg_deflate_offer offer;
    const char *answer;
    const char *agreed; /* "": not used */
    const char *why;    /* NULL: good */
};

#define ANY TG_DEFLATE_ANY_BITS

static const struct answer_row answers[] = {
    {"declined", {.client_max_window_bits = ANY}, "", "", NULL},
    {"plain", {.client_max_window_bits = ANY}, PD, "s15+ c15+", NULL},
    {"everything",
     {.client_max_window_bits = ANY},
     PD SNO CNO SBITS "=10" CBITS "=11",
     "s10- c11-",
     NULL},
    {"quoted", {.client_max_window_bits = ANY}, PD CBITS "=\"11\"", "s15+ c11+", NULL},
    {"a server's window of 8 can be read", {0}, PD SBITS "=8", "s9+ c15+", NULL},
    {"no takeover as asked", {.server_no_context_takeover = true}, PD SNO, "s15- c15+", NULL},
    {"bits as asked", {.server_max_window_bits = 12}, PD SBITS "=12", "s12+ c15+", NULL},
    {"fewer than asked", {.server_max_window_bits = 12}, PD SBITS "=10", "s10+ c15+", NULL},

    {"takeover all the same", {.server_no_context_takeover = true}, PD, "", "not granted"},
    {"more bits than asked", {.server_max_window_bits = 12}, PD SBITS "=13", "", "not granted"},
    {"bits forgotten", {.server_max_window_bits = 12}, PD, "", "not granted"},
    {"client bits that were not offered", {0}, PD CBITS "=12", "", "not offered"},
    {"more client bits than offered",
     {.client_max_window_bits = 10},
     PD CBITS "=11",
     "",
     "more than"},
    {"client bits of 8", {.client_max_window_bits = ANY}, PD CBITS "=8", "", "8 bits"},
    {"client bits without a value", {.client_max_window_bits = ANY}, PD CBITS, "", "missing"},
    {"16 bits", {.client_max_window_bits = ANY}, PD SBITS "=16", "", "8 to 15"},
    {"unknown", {0}, PD "; foo", "", "unknown"},
    {"twice a parameter", {0}, PD SNO SNO, "", "twice"},
    {"a value too many", {0}, PD CNO "=1", "", "takes none"},
    {"twice the extension", {0}, PD ", " PD, "", "not offered"},
    {"another extension", {0}, "foo", "", "not offered"},
    {"another extension too", {0}, PD ", foo", "", "not offered"},
    {"malformed", {0}, PD ";", "", "malformed"},
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const struct answer_row *row = &answers[i];
        struct tg_http *http = parse_values(TG_HTTP_RESPONSE, row->answer);
        struct tg_error error = {TG_ERR_OK, ""};
        struct tg_deflate_agreement agreed;
        char text[32] = "";
        bool used = true;
        enum tg_err err = tg_extensions_verify(http, &row->offer, &used, &agreed, &error);

        if (err == TG_ERR_OK && used)
            describe(&agreed, text, sizeof text);
        if ((row->why == NULL) != (err == TG_ERR_OK) || strcmp(text, row->agreed) != 0 ||
            (row->why != NULL && strstr(error.text, row->why) == NULL))
            fail_msg("%s: got \"%s\", %s", row->name, text, error.text);
        tg_http_destroy(http);
    }
}

static void test_nothing_offered_nothing_taken(void **state)
{
    struct tg_http *none = parse_values(TG_HTTP_RESPONSE, "");
    struct tg_http *chosen = parse_values(TG_HTTP_RESPONSE, PD);
    struct tg_deflate_agreement agreed;
    struct tg_error error;
    bool used = true;

    (void)state;
    assert_int_equal(tg_extensions_verify(none, NULL, &used, &agreed, &error), TG_ERR_OK);
    assert_false(used);
    assert_int_equal(tg_extensions_verify(chosen, NULL, &used, &agreed, &error), TG_ERR_PROTO);
    assert_non_null(strstr(error.text, "not offered"));
    tg_http_destroy(none);
    tg_http_destroy(chosen);
}

static void test_write_offer(void **state)
{
    struct tg_deflate_offer offer = {.client_max_window_bits = ANY};
    char out[TG_EXTENSIONS_SIZE];

    (void)state;
    tg_extensions_write_offer(&offer, out);
    assert_string_equal(out, PD CBITS);
    offer = (struct tg_deflate_offer){true, true, 15, 10};
    tg_extensions_write_offer(&offer, out);
    assert_string_equal(out, PD SNO CNO SBITS "=15" CBITS "=10");
    offer = (struct tg_deflate_offer){0};
    tg_extensions_write_offer(&offer, out);
    assert_string_equal(out, PD);
}

/* Whatever a client of ours offers and a server of ours answers, the two agree on. */
static void test_both_sides_agree(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4 * 9 * 10; i++) {
        struct tg_deflate_offer offer = {
            .server_no_context_takeover = (i & 1) != 0,
            .client_no_context_takeover = (i & 2) != 0,
            .server_max_window_bits = i / 4 % 9 == 0 ? 0 : (uint8_t)(7 + i / 4 % 9),
            .client_max_window_bits = i / 36 == 0   ? 0
                                      : i / 36 == 9 ? ANY
                                                    : (uint8_t)(7 + i / 36),
        };
        for (uint8_t bits = 9; bits <= 15; bits++) {
            struct tg_deflate_terms terms = {bits % 2 == 0, bits % 3 == 0, bits};
            struct tg_deflate_agreement server;
            struct tg_deflate_agreement client;
            struct tg_error error;
            char value[TG_EXTENSIONS_SIZE];
            bool used;
            tg_extensions_write_offer(&offer, value);
            struct tg_http *request = parse_values(TG_HTTP_REQUEST, value);
            bool took = tg_extensions_negotiate(request, &terms, &server, value);
            tg_http_destroy(request);
            assert_int_equal(took, offer.server_max_window_bits != 8);
            if (!took)
                continue;
            struct tg_http *response = parse_values(TG_HTTP_RESPONSE, value);
            assert_int_equal(tg_extensions_verify(response, &offer, &used, &client, &error),
                             TG_ERR_OK);
            tg_http_destroy(response);
            assert_true(used);
            assert_int_equal(server.from_server.takeover, client.from_server.takeover);
            assert_int_equal(server.from_client.takeover, client.from_client.takeover);
            /* A receiver's window may be larger than what is written, not smaller. */
            assert_true(server.from_server.window_bits <= client.from_server.window_bits);
            assert_true(client.from_client.window_bits <= server.from_client.window_bits);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offers),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_nothing_offered_nothing_taken),
        cmocka_unit_test(test_write_offer),
        cmocka_unit_test(test_both_sides_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
