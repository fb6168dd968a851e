/* address_test.c - addresses as text and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/address.h"

static void good_addresses(void **state)
{
    static const struct {
        const char *text;
        enum tg_address_kind kind;
        const char *shown;
    } rows[] = {
        {"192.0.2.1", TG_ADDRESS_V4, "192.0.2.1"},
        {"192.0.2.1:80", TG_ADDRESS_V4, "192.0.2.1:80"},
        {"0.0.0.0", TG_ADDRESS_V4, "0.0.0.0"},
        {"255.255.255.255:65535", TG_ADDRESS_V4, "255.255.255.255:65535"},
        {"2001:db8::1", TG_ADDRESS_V6, "2001:db8::1"},
        {"2001:DB8:0:0:0:0:0:1", TG_ADDRESS_V6, "2001:db8::1"},
        {"[2001:db8::1]", TG_ADDRESS_V6, "2001:db8::1"},
        {"[2001:db8::1]:443", TG_ADDRESS_V6, "[2001:db8::1]:443"},
        {"::", TG_ADDRESS_V6, "::"},
        {"::ffff:192.0.2.1", TG_ADDRESS_V4, "192.0.2.1"},
        {"[::ffff:192.0.2.1]:7", TG_ADDRESS_V4, "192.0.2.1:7"},
        {"::fffe:192.0.2.1", TG_ADDRESS_V6, "::fffe:c000:201"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_address address;
        char shown[TG_ADDRESS_SIZE];
        if (!tg_address_parse(rows[i].text, strlen(rows[i].text), &address))
            fail_msg("%s", rows[i].text);
        assert_int_equal(address.kind, rows[i].kind);
        tg_address_format(&address, shown);
        assert_string_equal(shown, rows[i].shown);
    }
}

static void bad_addresses(void **state)
{
    static const char *const rows[] = {
        "",
        "1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:65536",
        "1.2.3.4:080",
        " 1.2.3.4",
        "1.2.3.4 ",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[::1]80",
        "[::1]:",
        "[::1]:-1",
        "[]",
        "[]:80",
        "::1%eth0",
        "fe80::1%1",
        ":80",
        ":",
        "localhost",
        "unknown",
        "1:2:3:4:5:6:7:8:9",
        "[::1]:8:0",
        "12345::",
        "0x7f.1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_address address;
        if (tg_address_parse(rows[i], strlen(rows[i]), &address))
            fail_msg("%s is taken for an address", rows[i]);
    }
    struct tg_address address;
    assert_false(tg_address_parse("1.2.3.4\0x", 9, &address));
    assert_true(tg_address_parse("1.2.3.4xyz", 7, &address));
}

static void hosts_are_compared_without_ports(void **state)
{
    struct tg_address a;
    struct tg_address b;
    struct tg_address socket = {.kind = TG_ADDRESS_UNIX};
    struct tg_address nobody = {.kind = TG_ADDRESS_UNKNOWN};
    char shown[TG_ADDRESS_SIZE];

    (void)state;
    assert_true(tg_address_parse("192.0.2.1:1", 11, &a));
    assert_true(tg_address_parse("::ffff:192.0.2.1", 16, &b));
    assert_true(tg_address_same_host(&a, &b));
    assert_true(tg_address_parse("192.0.2.2:1", 11, &b));
    assert_false(tg_address_same_host(&a, &b));
    assert_false(tg_address_same_host(&socket, &nobody));
    tg_address_format(&socket, shown);
    assert_string_equal(shown, "unix");
    tg_address_format(&nobody, shown);
    assert_string_equal(shown, "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses),
        cmocka_unit_test(bad_addresses),
        cmocka_unit_test(hosts_are_compared_without_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
