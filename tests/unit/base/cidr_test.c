/* cidr_test.c - ranges of addresses: reading them, and what is in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cidr.h"

static struct tg_address address_of(const char *text)
{
    struct tg_address address = {.kind = TG_ADDRESS_UNIX};

    if (strcmp(text, "unix") == 0)
        return address;
    if (strcmp(text, "unknown") == 0)
        return (struct tg_address){.kind = TG_ADDRESS_UNKNOWN};
    assert_true(tg_address_parse(text, strlen(text), &address));
    return address;
}

static void what_is_in_a_range(void **state)
{
    static const struct {
        const char *range;
        const char *address;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.1.2", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "::ffff:10.1.1.1", true},
        {"10.0.0.0/8", "10.1.1.1:99", true},
        {"0.0.0.0/0", "1.2.3.4", true},
        {"0.0.0.0/0", "::1", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.0", false},
        {"192.0.2.0/31", "192.0.2.1", true},
        {"192.0.2.0/31", "192.0.2.2", false},
        {"172.16.0.0/12", "172.31.255.255", true},
        {"172.16.0.0/12", "172.32.0.0", false},
        {"fd00::/8", "fdff::1", true},
        {"fd00::/8", "fe00::1", false},
        {"fc00::/7", "fdff::1", true},
        {"::/0", "2001:db8::1", true},
        {"::/0", "1.2.3.4", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::1", "::1", true},
        {"::1", "::2", false},
        {"::ffff:10.0.0.0/104", "10.9.9.9", true},
        {"loopback", "127.9.9.9", true},
        {"loopback", "::1", true},
        {"loopback", "128.0.0.1", false},
        {"loopback", "unix", false},
        {"unix", "unix", true},
        {"unix", "127.0.0.1", false},
        {"unix", "unknown", false},
        {"0.0.0.0/0", "unknown", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_cidr parts[TG_CIDR_PARTS];
        struct tg_error error;
        size_t count;
        struct tg_address address = address_of(rows[i].address);
        if (tg_cidr_parse(rows[i].range, parts, &count, &error) != TG_ERR_OK)
            fail_msg("%s", error.text);
        if (tg_cidr_any(parts, count, &address) != rows[i].in)
            fail_msg("%s in %s", rows[i].address, rows[i].range);
    }
}

static void bad_ranges(void **state)
{
    static const struct {
        const char *range;
        const char *why;
    } rows[] = {
        {"", "is no address range"},
        {"proxy.example", "is no address range"},
        {"10.0.0.0/", "from 0 to 32"},
        {"10.0.0.0/33", "from 0 to 32"},
        {"10.0.0.0/08", "from 0 to 32"},
        {"10.0.0.0/8 ", "from 0 to 32"},
        {"10.0.0.0/-1", "from 0 to 32"},
        {"::/129", "from 0 to 128"},
        {"10.1.2.3/8", "starts at 10.0.0.0/8"},
        {"10.0.0.1/31", "starts at 10.0.0.0/31"},
        {"fd00::1/8", "starts at fd00::/8"},
        {"10.0.0.1:80", "is no address range"},
        {"[::1]", "is no address range"},
        {"::ffff:10.0.0.0/8", "mixes IPv4 and IPv6"},
        {"Loopback", "is no address range"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_cidr parts[TG_CIDR_PARTS];
        struct tg_error error = {TG_ERR_OK, ""};
        size_t count;
        assert_int_equal(tg_cidr_parse(rows[i].range, parts, &count, &error), TG_ERR_INVALID);
        if (strstr(error.text, rows[i].why) == NULL)
            fail_msg("%s: %s", rows[i].range, error.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_a_range),
        cmocka_unit_test(bad_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
