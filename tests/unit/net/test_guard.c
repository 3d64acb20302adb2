/* The SSRF guard against IANA's special-purpose registries (RFC 6890 and its updates): the first and the last address of
 * every range, and the neighbours outside. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "net/guard.h"

static bool is_public(const char *text) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return tt_guard_is_public((struct sockaddr *)&in);
    if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        return tt_guard_is_public((struct sockaddr *)&in6);
    fail_msg("not an address: %s", text);
    return false;
}

static void expect(bool expected, const char *const *addresses) {
    for (; *addresses; addresses++)
        if (is_public(*addresses) != expected)
            fail_msg("%s must %sbe public", *addresses, expected ? "" : "not ");
}

static void ranges_of_ipv4_that_are_not_public(void **state) {
    (void)state;
    expect(false, (const char *const[]){"0.0.0.0",
                                        "0.255.255.255",
                                        "10.0.0.0",
                                        "10.255.255.255",
                                        "100.64.0.0",
                                        "100.127.255.255",
                                        "100.100.100.200",
                                        "127.0.0.0",
                                        "127.0.0.1",
                                        "127.255.255.255",
                                        "168.63.129.16",
                                        "169.254.0.0",
                                        "169.254.169.254",
                                        "169.254.255.255",
                                        "172.16.0.0",
                                        "172.31.255.255",
                                        "192.0.0.0",
                                        "192.0.0.192",
                                        "192.0.0.255",
                                        "192.0.2.0",
                                        "192.0.2.255",
                                        "192.88.99.0",
                                        "192.88.99.255",
                                        "192.168.0.0",
                                        "192.168.255.255",
                                        "198.18.0.0",
                                        "198.19.255.255",
                                        "198.51.100.0",
                                        "198.51.100.255",
                                        "203.0.113.0",
                                        "203.0.113.255",
                                        "224.0.0.0",
                                        "239.255.255.255",
                                        "240.0.0.0",
                                        "255.255.255.254",
                                        "255.255.255.255",
                                        NULL});
}

static void neighbours_of_those_ranges_are_public(void **state) {
    (void)state;
    expect(true, (const char *const[]){"1.0.0.0",
                                       "9.255.255.255",
                                       "11.0.0.0",
                                       "100.63.255.255",
                                       "100.128.0.0",
                                       "126.255.255.255",
                                       "128.0.0.0",
                                       "168.63.129.15",
                                       "168.63.129.17",
                                       "169.253.255.255",
                                       "169.255.0.0",
                                       "172.15.255.255",
                                       "172.32.0.0",
                                       "191.255.255.255",
                                       "192.0.1.0",
                                       "192.0.1.255",
                                       "192.0.3.0",
                                       "192.88.98.255",
                                       "192.88.100.0",
                                       "192.167.255.255",
                                       "192.169.0.0",
                                       "198.17.255.255",
                                       "198.20.0.0",
                                       "198.51.99.255",
                                       "198.51.101.0",
                                       "203.0.112.255",
                                       "203.0.114.0",
                                       "223.255.255.255",
                                       "8.8.8.8",
                                       "1.1.1.1",
                                       NULL});
}

static void ranges_of_ipv6_that_are_not_public(void **state) {
    (void)state;
    expect(false, (const char *const[]){"::",
                                        "::1",
                                        "::2",
                                        "100::",
                                        "100::1",
                                        "100:0:0:1::1",
                                        "64:ff9b:1::",
                                        "64:ff9b:1:ffff::8.8.8.8",
                                        "1fff:ffff::1",
                                        "2001::",
                                        "2001::1",
                                        "2001:10::1",
                                        "2001:1ff:ffff::1",
                                        "2001:db8::",
                                        "2001:db8:ffff::1",
                                        "3fff::",
                                        "3fff:fff:ffff::1",
                                        "4000::1",
                                        "5f00::1",
                                        "fc00::",
                                        "fd00:ec2::254",
                                        "fdff:ffff::1",
                                        "fe80::1",
                                        "febf:ffff::1",
                                        "fec0::1",
                                        "feff:ffff::1",
                                        "ff00::",
                                        "ff02::1",
                                        "ffff:ffff::",
                                        NULL});
}

static void global_unicast_ipv6_is_public(void **state) {
    (void)state;
    expect(true, (const char *const[]){"2000::1", "2001:200::1", "2001:4860:4860::8888",
                                       "2001:db7:ffff::1", "2001:db9::1", "2003::1",
                                       "2606:4700:4700::1111", "2a00:1450::1", "3ffe:ffff::1",
                                       "3fff:1000::1", NULL});
}

static void ipv6_that_carries_ipv4_is_judged_by_it(void **state) {
    (void)state;
    expect(false,
           (const char *const[]){
               "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
               "64:ff9b::127.0.0.1", "64:ff9b::192.168.1.1", "64:ff9b::169.254.169.254",
               "2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2002:c0a8:101::1",
               "::127.0.0.1", "::8.8.8.8",             /* v4-compatible: obsolete */
               "::ffff:0:8.8.8.8",                     /* v4-translated, RFC 2765 */
               "2001:0:4136:e378:8000:63bf:3fff:fdd2", /* Teredo */
               "2a00:1450::5efe:10.0.0.1", "2a00:1450::200:5efe:127.0.0.1", NULL});
    expect(true,
           (const char *const[]){"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
                                 "2a00:1450::5efe:8.8.8.8", "2a00:1450::100:5efe:10.0.0.1", NULL});
}

static void other_families_are_not_public(void **state) {
    (void)state;
    struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/run/x"};
    assert_false(tt_guard_is_public((struct sockaddr *)&local));
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    assert_false(tt_guard_is_public(&none));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_of_ipv4_that_are_not_public),
        cmocka_unit_test(neighbours_of_those_ranges_are_public),
        cmocka_unit_test(ranges_of_ipv6_that_are_not_public),
        cmocka_unit_test(global_unicast_ipv6_is_public),
        cmocka_unit_test(ipv6_that_carries_ipv4_is_judged_by_it),
        cmocka_unit_test(other_families_are_not_public),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
