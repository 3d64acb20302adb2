/* See guard.h. Two tables of ranges after RFC 6890 and IANA's registries (iana-ipv4-special-registry, iana-ipv6-special-
 * registry), and the IPv6 forms that stand for an IPv4 address, which is then asked instead.
 *
 * For IPv6 the rule is turned round: only 2000::/3, the space that is given out, can be public, less the ranges of its own
 * table. What will be reserved elsewhere in future is refused already. */
#include "net/guard.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

typedef struct range4 {
    uint32_t base; /* host order */
    int bits;
} range4;

#define IP4(a, b, c, d) \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const range4 NOT_PUBLIC4[] = {
    {IP4(0, 0, 0, 0), 8},  /* this network, RFC 791; 0.0.0.0 reaches this host */
    {IP4(10, 0, 0, 0), 8}, /* private, RFC 1918 */
    {IP4(100, 64, 0, 0),
     10},                   /* carrier-grade NAT, RFC 6598; 100.100.100.200 is Alibaba's metadata */
    {IP4(127, 0, 0, 0), 8}, /* loopback */
    {IP4(168, 63, 129, 16), 32}, /* Azure's platform service, reachable from its machines only */
    {IP4(169, 254, 0, 0), 16},   /* link-local, RFC 3927; metadata of most clouds */
    {IP4(172, 16, 0, 0), 12},    /* private */
    {IP4(192, 0, 0, 0), 24}, /* protocol assignments, RFC 6890; 192.0.0.192 is Oracle's metadata */
    {IP4(192, 0, 2, 0), 24}, /* documentation, RFC 5737 */
    {IP4(192, 88, 99, 0), 24},  /* 6to4 relays, deprecated by RFC 7526 */
    {IP4(192, 168, 0, 0), 16},  /* private */
    {IP4(198, 18, 0, 0), 15},   /* benchmarks, RFC 2544 */
    {IP4(198, 51, 100, 0), 24}, /* documentation */
    {IP4(203, 0, 113, 0), 24},  /* documentation */
    {IP4(224, 0, 0, 0), 4},     /* multicast */
    {IP4(240, 0, 0, 0), 4},     /* reserved, and 255.255.255.255 */
};

static bool is_public4(uint32_t address) {
    for (size_t i = 0; i < sizeof NOT_PUBLIC4 / sizeof *NOT_PUBLIC4; i++) {
        uint32_t mask = UINT32_MAX << (32 - NOT_PUBLIC4[i].bits);
        if ((address & mask) == NOT_PUBLIC4[i].base) return false;
    }
    return true;
}

/* ---- IPv6 -------------------------------------------------------------------------------------------------------- */

typedef struct range6 {
    uint8_t prefix[16];
    int bits;
} range6;

static const range6 PUBLIC6 = {{0x20}, 3}; /* global unicast, RFC 4291 */

static const range6 NOT_PUBLIC6[] = {
    {{0x20, 0x01, 0x00},
     23}, /* protocol assignments, RFC 2928; Teredo, ORCHID, benchmarks lie in it */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation, RFC 3849 */
    {{0x3f, 0xff, 0x00}, 20},       /* documentation, RFC 9637 */
};

/* Addresses that carry an IPv4 address, and where. */
static const struct {
    range6 range;
    int at;
} CARRIERS[] = {
    {{{[10] = 0xff, [11] = 0xff}, 96},
     12},                                 /* ::ffff:a.b.c.d, v4-mapped: the socket is an IPv4 one */
    {{{0x00, 0x64, 0xff, 0x9b}, 96}, 12}, /* 64:ff9b::a.b.c.d, NAT64, RFC 6052 */
    {{{0x20, 0x02}, 16}, 2},              /* 2002:aabb:ccdd::, 6to4, RFC 3056 */
};

static bool is_in(const uint8_t address[16], const range6 *r) {
    size_t whole = (size_t)r->bits / 8;
    int rest = r->bits % 8;
    if (memcmp(address, r->prefix, whole) != 0) return false;
    return rest == 0 || (address[whole] ^ r->prefix[whole]) >> (8 - rest) == 0;
}

static uint32_t carried(const uint8_t *p) {
    return IP4(p[0], p[1], p[2], p[3]);
}

/* An ISATAP interface (RFC 5214): the lower half is [02]00:5efe:a.b.c.d under any prefix. */
static bool is_isatap(const uint8_t address[16]) {
    static const uint8_t MARK[] = {0x00, 0x5e, 0xfe};
    return (address[8] & 0xfd) == 0 && memcmp(address + 9, MARK, sizeof MARK) == 0;
}

static bool is_public6(const uint8_t address[16]) {
    for (size_t i = 0; i < sizeof CARRIERS / sizeof *CARRIERS; i++)
        if (is_in(address, &CARRIERS[i].range))
            return is_public4(carried(address + CARRIERS[i].at));
    if (!is_in(address, &PUBLIC6)) return false;
    for (size_t i = 0; i < sizeof NOT_PUBLIC6 / sizeof *NOT_PUBLIC6; i++)
        if (is_in(address, &NOT_PUBLIC6[i])) return false;
    return !is_isatap(address) || is_public4(carried(address + 12));
}

/* Copied out: a sockaddr promises less alignment and another type. */
bool tt_guard_is_public(const struct sockaddr *address) {
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    switch (address->sa_family) {
    case AF_INET:
        memcpy(&in, address, sizeof in);
        return is_public4(ntohl(in.sin_addr.s_addr));
    case AF_INET6:
        memcpy(&in6, address, sizeof in6);
        return is_public6(in6.sin6_addr.s6_addr);
    }
    return false;
}
