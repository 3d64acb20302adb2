/* The listening sockets. "localhost" is 127.0.0.1, and ::1 on the same port where this machine has it and nobody else uses
 * it; every other name is one address. Accepted sockets inherit what is set here: no Nagle, and probes for clients whose
 * machine vanished without a word (a parked exchange sends nothing that could fail). */
#include "net/http_server_parts.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BACKLOG = 4096, /* the kernel's own ceiling by default */
    PROBE_AFTER_S = 60,
    PROBE_EVERY_S = 15,
    MAX_PORT = 65535
};

static void set_int(int fd, int level, int option, int value) {
    /* All are improvements that a listening socket works without. */
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

static int open_socket(const struct addrinfo *address, bool is_dual) {
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, PROBE_AFTER_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_EVERY_S);
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (address->ai_family == AF_INET6) set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !is_dual);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static tt_status fail_listen(const char *host, int port, const char *why, tt_err *err) {
    bool is_v6 = strchr(host, ':') != NULL;
    return tt_fail(err, TT_E_IO, "cannot listen on %s%s%s:%d: %s", is_v6 ? "[" : "", host,
                   is_v6 ? "]" : "", port, why);
}

static tt_status listen_on(const char *host, int port, int *out, tt_err *err) {
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                             .ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    int failure = getaddrinfo(host, service, &hints, &found);
    if (failure != 0) return fail_listen(host, port, gai_strerror(failure), err);
    *out = open_socket(found, strcmp(host, "::") == 0);
    int reason = errno;
    freeaddrinfo(found);
    return *out < 0 ? fail_listen(host, port, strerror(reason), err) : TT_OK;
}

static int port_of(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {0}};
    socklen_t size = sizeof address;
    if (getsockname(fd, &address.any, &size) != 0) return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

tt_status tt__http_listen(tt_http_server *server, const char *host, int port, tt_err *err) {
    bool is_local = !host || strcmp(host, "localhost") == 0;
    tt_err ignored;
    if (port < 0 || port > MAX_PORT)
        return tt_fail(err, TT_E_INVALID, "port: expected 0 to %d, found %d", MAX_PORT, port);
    TT_TRY(listen_on(is_local ? "127.0.0.1" : host, port, &server->listeners[0], err));
    server->n_listeners = 1;
    server->port = port_of(server->listeners[0]);
    if (is_local && listen_on("::1", server->port, &server->listeners[1], &ignored) == TT_OK)
        server->n_listeners = 2;
    return TT_OK;
}
