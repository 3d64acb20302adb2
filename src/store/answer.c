/* See answer.h. */
#include "store/answer.h"

#include <string.h>
#include <strings.h>

#include "store/source.h"

/* Digits from *at on, moved past them. */
static bool take_number(const char **at, uint64_t *out) {
    const char *c = *at;
    *out = 0;
    for (; *c >= '0' && *c <= '9'; c++)
        if (__builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*c - '0'), out))
            return false;
    bool is_number = c > *at;
    *at = c;
    return is_number;
}

static bool take_char(const char **at, char c) {
    bool is_it = **at == c;
    if (is_it) ++*at;
    return is_it;
}

/* RFC 9110 14.4; the unit's name in any case, one space after it. */
bool tt__content_range_parse(const char *text, tt__content_range *out) {
    static const char UNIT[] = "bytes ";
    tt__content_range r = {0};
    if (strncasecmp(text, UNIT, sizeof UNIT - 1) != 0) return false;
    const char *at = text + sizeof UNIT - 1;
    if (!take_number(&at, &r.first) || !take_char(&at, '-') || !take_number(&at, &r.last) ||
        !take_char(&at, '/') || r.first > r.last)
        return false;
    r.has_total = !take_char(&at, '*');
    if (r.has_total && (!take_number(&at, &r.total) || r.last >= r.total)) return false;
    if (*at) return false;
    *out = r;
    return true;
}

/* RFC 9110 8.8.3. */
bool tt__etag_is_strong(const char *etag) {
    size_t n = strlen(etag);
    return n > 2 && n < TT_SOURCE_VALIDATOR_BYTES && etag[0] == '"' && etag[n - 1] == '"' &&
           !memchr(etag + 1, '"', n - 2);
}

bool tt__content_type_is_page(const char *content_type) {
    static const char *const PAGES[] = {"text/html",        "application/xhtml+xml",
                                        "application/json", "application/problem+json",
                                        "application/xml",  "text/xml"};
    size_t n = strcspn(content_type, "; \t");
    for (size_t i = 0; i < sizeof PAGES / sizeof *PAGES; i++)
        if (n == strlen(PAGES[i]) && strncasecmp(content_type, PAGES[i], n) == 0) return true;
    return false;
}

static bool begins_with(const char *text, const char *word) {
    return text && strncasecmp(text, word, strlen(word)) == 0;
}

bool tt__is_edge_page(const tt_http_response *head) {
    enum { FORBIDDEN = 403, RATE = 429, SERVER = 500 };
    enum { FIRST_OF_CLOUDFLARE = 520, LAST_OF_CLOUDFLARE = 527, NAME_UNKNOWN = 530 };
    int s = head->status;
    const char *mitigated = tt_http_response_header(head, "cf-mitigated");
    if (mitigated && *mitigated) return true;
    if ((s >= FIRST_OF_CLOUDFLARE && s <= LAST_OF_CLOUDFLARE) || s == NAME_UNKNOWN) return true;
    return (s == FORBIDDEN || s == RATE || s >= SERVER) &&
           begins_with(head->content_type, "text/html") &&
           begins_with(tt_http_response_header(head, "Server"), "cloudflare");
}
