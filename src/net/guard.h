/* The SSRF guard: may a connection that a stranger's URL asked for go to this address? */
#ifndef TT_NET_GUARD_H
#define TT_NET_GUARD_H

#include <stdbool.h>
#include <sys/socket.h>

/* False for loopback, private, link-local (metadata services), CGNAT, multicast, unspecified, reserved and documentation
 * ranges, and for the IPv6 forms that carry such an IPv4 address. Other families: false. */
bool tt_guard_is_public(const struct sockaddr *address);

#endif
