/* Pieces of text, and URLs cut into theirs. */
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/limits.h"
#include "net/url.h"
#include "store/reference_parts.h"

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool tt__span_is(tt__span s, const char *word) {
    return s.at && strlen(word) == s.n && memcmp(s.at, word, s.n) == 0;
}

bool tt__span_is_anycase(tt__span s, const char *word) {
    if (!s.at || strlen(word) != s.n) return false;
    for (size_t i = 0; i < s.n; i++)
        if (tt_ascii_lower(s.at[i]) != word[i]) return false;
    return true;
}

tt__span tt__span_cut(tt__span s, char c, tt__span *rest) {
    const char *found = s.n > 0 ? memchr(s.at, c, s.n) : NULL;
    if (!found) {
        *rest = (tt__span){NULL, 0};
        return s;
    }
    size_t n = (size_t)(found - s.at);
    *rest = tt__span_of(found + 1, s.n - n - 1);
    return tt__span_of(s.at, n);
}

bool tt__span_copy(tt__span s, char *out, size_t size) {
    if (s.n >= size) return false;
    if (s.n > 0) memcpy(out, s.at, s.n);
    out[s.n] = '\0';
    return true;
}

bool tt__span_number(tt__span s, int64_t most, int64_t *out) {
    enum { MOST_DIGITS = 12, TEN = 10 };
    int64_t value = 0;
    if (s.n == 0 || s.n > MOST_DIGITS || s.at[0] == '0') return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.at[i])) return false;
        value = TEN * value + (s.at[i] - '0');
    }
    *out = value;
    return value <= most;
}

bool tt__span_decode(tt__span s, char *out, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int c = s.at[i] == '%' ? tt_url_escaped_byte(s.at, s.n, i) : (unsigned char)s.at[i];
        if (c < 0x20 || c == 0x7f || n + 1 >= size) return false;
        if (s.at[i] == '%') i += 2;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

/* ---- URLs -------------------------------------------------------------------------------------------------------- */

static bool is_letter(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z');
}

/* [2001:db8::1] */
static bool is_address(const char *host) {
    size_t n = strlen(host);
    return n > 4 && host[0] == '[' && host[n - 1] == ']' &&
           strspn(host + 1, "0123456789abcdef:.") == n - 2;
}

/* Labels of letters, digits, dashes and underscores, none of them empty. */
static bool is_name(const char *host) {
    for (const char *c = host; *c; c++)
        if (*c == '.' ? c == host || c[1] == '.' || c[1] == '\0'
                      : !is_letter(*c) && !strchr("-_", *c))
            return false;
    return host[0] != '\0';
}

static tt_status read_host(tt__span host, tt__url *out, tt_err *err) {
    if (host.n > 1 && host.at[host.n - 1] == '.') host.n--;
    bool fits = tt__span_copy(host, out->host, sizeof out->host);
    for (char *c = out->host; fits && *c; c++) *c = tt_ascii_lower(*c);
    if (fits && (is_name(out->host) || is_address(out->host))) return TT_OK;
    return tt_fail(
        err, TT_E_INVALID,
        "URL: the host may have letters, digits, dots and dashes (international names in "
        "their xn-- form)");
}

static tt_status read_authority(tt__span authority, tt__url *out, tt_err *err) {
    enum { MOST_PORTS = 65535 };
    size_t end = authority.n;
    int64_t port = 0;
    if (memchr(authority.at, '@', authority.n))
        return tt_fail(err, TT_E_INVALID, "URL: user names and passwords in it are not accepted");
    while (end > 0 && is_digit(authority.at[end - 1])) end--;
    if (end > 0 && authority.at[end - 1] == ':') {
        tt__span digits = tt__span_of(authority.at + end, authority.n - end);
        if (!tt__span_number(digits, MOST_PORTS, &port))
            return tt_fail(err, TT_E_INVALID, "URL: expected a port from 1 to %d behind the host",
                           MOST_PORTS);
        authority.n = end - 1;
    }
    out->port = port == (out->is_https ? 443 : 80) ? 0 : (int)port;
    if (memchr(authority.at, ':', authority.n) && authority.at[0] != '[')
        return tt_fail(err, TT_E_INVALID, "URL: the host has a : in it");
    return read_host(authority, out, err);
}

/* Characters that RFC 3986 wants escaped are refused instead of guessed at; non-ASCII ones too. */
static tt_status check_rest(tt__span s, tt_err *err) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.at[i];
        int byte = c == '%' ? tt_url_escaped_byte(s.at, s.n, i) : c;
        if (c <= ' ' || c >= 0x7f || strchr("\\\"<>^`{|}", c))
            return tt_fail(err, TT_E_INVALID,
                           "URL: a character that must be percent-encoded, or none at all");
        if (byte < 0x20 || byte == 0x7f)
            return tt_fail(err, TT_E_INVALID,
                           "URL: a %% that is no percent-encoding of a printable character");
    }
    return TT_OK;
}

static tt_status check_path(tt__span path, tt_err *err) {
    while (path.at) {
        char part[TT_REFERENCE_BYTES];
        tt__span one = tt__span_cut(path, '/', &path);
        if (!tt__span_decode(one, part, sizeof part) || strcmp(part, "..") == 0 ||
            strcmp(part, ".") == 0 || strstr(part, "../") || strstr(part, "/..") ||
            strchr(part, '\\'))
            return tt_fail(err, TT_E_INVALID, "URL: its path has a part that is . or ..");
    }
    return TT_OK;
}

tt_status tt__url_read(const char *text, tt__url *out, tt_err *err) {
    *out = (tt__url){.is_https = tt_ascii_lower(text[4]) == 's'};
    const char *at = text + (out->is_https ? 8 : 7);
    size_t n = strcspn(at, "/?#\\");
    tt__span rest = tt__span_of(at + n, strlen(at + n)), without;
    TT_TRY(read_authority(tt__span_of(at, n), out, err));
    TT_TRY(check_rest(rest, err));
    without = tt__span_cut(rest, '#', &out->fragment);
    out->path = tt__span_cut(without, '?', &out->query);
    return check_path(out->path, err);
}

bool tt__host_is_of(const char *host, const char *domain) {
    size_t n = strlen(host), m = strlen(domain);
    if (n < m || strcmp(host + n - m, domain) != 0) return false;
    return n == m || host[n - m - 1] == '.';
}

tt__span tt__query_value(tt__span query, const char *name) {
    while (query.at) {
        tt__span value, one = tt__span_cut(query, '&', &query);
        tt__span key = tt__span_cut(one, '=', &value);
        if (tt__span_is(key, name)) return value.at ? value : tt__span_of("", 0);
    }
    return (tt__span){NULL, 0};
}
