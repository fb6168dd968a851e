/* public_address_test.c - which addresses are of the public Internet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/public_address.h"

static bool is_public(const char *text)
{
    struct tg_address address;

    if (!tg_address_parse(text, strlen(text), &address))
        fail_msg("%s is no address", text);
    return tg_address_is_public(&address);
}

static void the_internet_is_public(void **state)
{
    static const char *const rows[] = {
        "1.1.1.1",        "8.8.8.8",       "9.255.255.255",    "11.0.0.0",
        "100.63.0.1",     "100.128.0.0",   "126.255.255.255",  "128.0.0.1",
        "169.253.0.1",    "169.255.0.1",   "172.15.255.255",   "172.32.0.0",
        "192.0.1.0",      "192.167.0.1",   "192.169.0.0",      "198.17.255.255",
        "198.20.0.0",     "223.255.255.1", "2606:4700::1111",  "2a00:1450::1",
        "2001:4860::88",  "2001:200::1",   "64:ff9b::101:101", "2002:101:101::1",
        "::ffff:1.1.1.1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!is_public(rows[i]))
            fail_msg("%s should be public", rows[i]);
}

static void everything_else_is_not(void **state)
{
    static const char *const rows[] = {
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (is_public(rows[i]))
            fail_msg("%s should not be public", rows[i]);
}

static void what_is_no_ip_address_is_not(void **state)
{
    struct tg_address unix_socket = {.kind = TG_ADDRESS_UNIX};
    struct tg_address unknown = {.kind = TG_ADDRESS_UNKNOWN};

    (void)state;
    assert_false(tg_address_is_public(&unix_socket));
    assert_false(tg_address_is_public(&unknown));
}

/* As a socket's address has it, not as text makes it. */
static void a_mapped_address_that_was_not_unwrapped_is_seen_through(void **state)
{
    struct tg_address address = {.kind = TG_ADDRESS_V6,
                                 .bytes = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};

    (void)state;
    assert_false(tg_address_is_public(&address));
    address.bytes[12] = 8;
    assert_true(tg_address_is_public(&address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_internet_is_public),
        cmocka_unit_test(everything_else_is_not),
        cmocka_unit_test(what_is_no_ip_address_is_not),
        cmocka_unit_test(a_mapped_address_that_was_not_unwrapped_is_seen_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
