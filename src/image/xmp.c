/* One text in an XMP packet (ISO 16684-1): the property tintype:json of a single rdf:Description.
 *
 * Writing gives the plain element form. Reading does not parse XML: it looks for the property's
 * qualified name and takes the element's text or the attribute's value after it, which are the two
 * forms other tools produce when they rewrite a packet. The price: a packet that renames our prefix
 * is not understood. */
#include "image/embed.h"

#include <string.h>

#include "base/limits.h"

static const char packet_head[] =
    "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
    "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n"
    "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
    "<rdf:Description rdf:about=\"\" xmlns:tintype=\"urn:tintype:xmp:1.0/\">\n"
    "<tintype:json>";
static const char packet_tail[] = "</tintype:json>\n"
                                  "</rdf:Description>\n</rdf:RDF>\n</x:xmpmeta>\n"
                                  "<?xpacket end=\"w\"?>";
static const char property_name[] = "tintype:json";

enum { MAX_ENTITY_BYTES = 12 }; /* "&#x10ffff;" is 10 */

/* CR is written as a reference because XML readers turn a bare one into LF. */
static const struct {
    char character;
    const char *entity;
} entities[] = {{'&', "&amp;"},  {'<', "&lt;"},    {'>', "&gt;"},
                {'"', "&quot;"}, {'\'', "&apos;"}, {'\r', "&#13;"}};
enum { N_ENTITIES = sizeof entities / sizeof entities[0] };

static const char *entity_for(char c) {
    for (int i = 0; i < N_ENTITIES; i++)
        if (entities[i].character == c) return entities[i].entity;
    return NULL;
}

tt_status tt__xmp_write(tt_buf *out, const char *json, tt_err *err) {
    TT_TRY(tt_buf_puts(out, packet_head, err));
    for (const char *p = json; *p; p++) {
        const char *entity =
            *p == '"' || *p == '\'' ? NULL : entity_for(*p); /* quotes may stand in text */
        TT_TRY(tt_buf_append(out, entity ? entity : p, entity ? strlen(entity) : 1, err));
    }
    return tt_buf_puts(out, packet_tail, err);
}

/* "&#38;" or "&#x26;": *code gets 38. */
static bool numeric_reference(const char *p, size_t n, uint32_t *code) {
    if (n < 4 || p[1] != '#') return false;
    bool hex = p[2] == 'x';
    uint32_t value = 0;
    size_t first = hex ? 3 : 2;
    for (size_t i = first; i < n - 1; i++) {
        const char *digits = "0123456789abcdef",
                   *digit = strchr(digits, p[i] | ((p[i] & 0x40) >> 1));
        if (!p[i] || !digit || digit - digits >= (hex ? 16 : 10)) return false;
        value = value * (hex ? 16 : 10) + (uint32_t)(digit - digits);
        if (value > 0x10ffff) return false;
    }
    *code = value;
    return n - 1 > first && value != 0 && (value < 0xd800 || value > 0xdfff);
}

/* The reference that starts at p (an ampersand); *length gets its bytes, 0 when it is none. */
static tt_status put_reference(tt_buf *out, const char *p, size_t left, size_t *length,
                               tt_err *err) {
    *length = 0;
    const char *end = memchr(p, ';', left < MAX_ENTITY_BYTES ? left : MAX_ENTITY_BYTES);
    if (!end) return TT_OK;
    size_t n = (size_t)(end - p) + 1;
    uint32_t code = 0;
    for (int i = 0; i < N_ENTITIES && !code; i++)
        if (strlen(entities[i].entity) == n && !memcmp(p, entities[i].entity, n))
            code = (uint32_t)entities[i].character;
    if (!code && !numeric_reference(p, n, &code)) return TT_OK;
    *length = n;
    return tt__utf8_put(out, code, err);
}

static tt_status unescape(tt_buf *out, const char *p, size_t n, tt_err *err) {
    size_t used;
    for (size_t i = 0; i < n; i += used) {
        const char *amp = memchr(p + i, '&', n - i);
        used = amp ? (size_t)(amp - (p + i)) : n - i;
        TT_TRY(tt_buf_append(out, p + i, used, err));
        if (used) continue;
        TT_TRY(put_reference(out, p + i, n - i, &used, err));
        if (used == 0)
            return tt_fail(err, TT_E_FORMAT, "XMP: a bad character reference in tintype:json");
    }
    return TT_OK;
}

/* The raw value after the property's name: until '<' for an element, until the quote for an
 * attribute. */
static bool find_value(const char *p, size_t n, const char **value, size_t *value_size) {
    const size_t name_size = sizeof property_name - 1;
    const char *end = p + n;
    for (;;) {
        p = memmem(p, (size_t)(end - p), property_name, name_size);
        if (!p) return false;
        p += name_size;
        char stop = 0;
        if (end - p >= 1 && p[0] == '>')
            stop = '<', p += 1;
        else if (end - p >= 2 && p[0] == '=' && (p[1] == '"' || p[1] == '\''))
            stop = p[1], p += 2;
        const char *close = stop ? memchr(p, stop, (size_t)(end - p)) : NULL;
        if (!close) continue;
        *value = p;
        *value_size = (size_t)(close - p);
        return true;
    }
}

tt_status tt__xmp_read(const uint8_t *bytes, size_t size, char **slot, tt_err *err) {
    const char *value;
    size_t value_size;
    if (!find_value((const char *)bytes, size, &value, &value_size)) return TT_OK;
    tt_buf text;
    tt_buf_init(&text, TT_MAX_IMAGE_TEXT_BYTES);
    tt_status status = unescape(&text, value, value_size, err);
    if (status == TT_OK) return tt__text_keep(slot, &text, "XMP tintype:json", err);
    tt_buf_release(&text);
    return status;
}
