/* See url.h. No sentence repeats the URL: its query may hold a signature or a token. */
#include "net/url.h"

#include <string.h>
#include <strings.h>

#include "base/ascii.h"
#include "base/limits.h"

static bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_unreserved(char c) {
    return is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

tt_status tt_url_append_encoded(tt_buf *out, const char *text, tt_err *err) {
    TT_TRY(tt_buf_reserve(out, strlen(text), err));
    for (; *text; text++) {
        if (is_unreserved(*text))
            TT_TRY(tt_buf_append(out, text, 1, err));
        else
            TT_TRY(tt_buf_printf(out, err, "%%%02X", (unsigned char)*text));
    }
    return TT_OK;
}

int tt_url_escaped_byte(const char *text, size_t size, size_t at) {
    if (size - at < 3) return -1;
    int high = tt_hex_digit(text[at + 1]), low = tt_hex_digit(text[at + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

tt_status tt_url_append_decoded(tt_buf *out, const char *text, size_t size, tt_err *err) {
    TT_TRY(tt_buf_reserve(out, size, err));
    for (size_t i = 0; i < size; i++) {
        bool is_escape = text[i] == '%';
        int byte = is_escape ? tt_url_escaped_byte(text, size, i) : (unsigned char)text[i];
        if (byte < 0)
            return tt_fail_at(err, TT_E_FORMAT, (int64_t)i,
                              "URL: %% without two hexadecimal digits at offset %zu", i);
        if (byte == 0)
            return tt_fail_at(err, TT_E_FORMAT, (int64_t)i, "URL: a NUL at offset %zu", i);
        char c = (char)byte;
        TT_TRY(tt_buf_append(out, &c, 1, err));
        if (is_escape) i += 2;
    }
    return TT_OK;
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

/* Behind the scheme, or NULL. */
static const char *skip_scheme(const char *url) {
    if (strncasecmp(url, "http://", 7) == 0) return url + 7;
    return strncasecmp(url, "https://", 8) == 0 ? url + 8 : NULL;
}

/* Bytes from 0x80 on may be part of an international name or path; libcurl and the server judge those. */
static tt_status check_characters(const char *url, tt_err *err) {
    size_t size = strlen(url);
    if (size > TT_MAX_URL_BYTES)
        return tt_fail(err, TT_E_INVALID, "URL: %zu bytes, the limit is %zu", size,
                       TT_MAX_URL_BYTES);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)url[i] <= ' ' || url[i] == 0x7f || url[i] == '\\')
            return tt_fail_at(err, TT_E_INVALID, (int64_t)i,
                              "URL: a space, control character or backslash at offset %zu", i);
    return TT_OK;
}

/* Letters, digits, - . _ and international letters; or an IPv6 address in brackets. */
static size_t host_size(const char *authority, size_t size) {
    size_t i = 0;
    if (size && authority[0] == '[') {
        for (i = 1; i < size && (tt_hex_digit(authority[i]) >= 0 || strchr(":.", authority[i]));)
            i++;
        return i > 2 && i < size && authority[i] == ']' ? i + 1 : 0;
    }
    while (i < size && (is_alphanumeric(authority[i]) || memchr("-._", authority[i], 3) ||
                        (unsigned char)authority[i] >= 0x80))
        i++;
    return i;
}

static bool is_port(const char *text, size_t size) {
    enum { MAX_PORT = 65535, MAX_PORT_DIGITS = 5 };
    int port = 0;
    if (size == 0 || size > MAX_PORT_DIGITS) return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        port = 10 * port + (text[i] - '0');
    }
    return port > 0 && port <= MAX_PORT;
}

static tt_status check_authority(const char *authority, size_t size, tt_err *err) {
    if (memchr(authority, '@', size))
        return tt_fail(err, TT_E_INVALID, "URL: it must not contain user:password@");
    size_t host = host_size(authority, size);
    if (host == 0 || (host < size && authority[host] != ':'))
        return tt_fail(err, TT_E_INVALID, "URL: expected a host name or address after http(s)://");
    if (host < size && !is_port(authority + host + 1, size - host - 1))
        return tt_fail(err, TT_E_INVALID, "URL: expected a port from 1 to 65535 after the host");
    return TT_OK;
}

tt_status tt_url_check(const char *url, tt_err *err) {
    const char *authority = skip_scheme(url);
    if (!authority)
        return tt_fail(err, TT_E_INVALID, "URL: expected http:// or https:// at its beginning");
    TT_TRY(check_characters(url, err));
    return check_authority(authority, strcspn(authority, "/?#"), err);
}
