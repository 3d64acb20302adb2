/* A JSON parser for exactly one schema. A general one would keep the last of two equal keys, accept
 * floats as offsets and take ten times longer; this one is on the way to the first picture. It
 * works in place: strings are decoded where they stand (decoding never lengthens them) and end in a
 * NUL over their closing quote, so the table costs no copy. Anything the schema does not know is an
 * error. Recursion: none. */
#include "weights/st_header.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/ascii.h"
#include "base/json.h"

enum { LENGTH_BYTES = 8, FIRST_ENTRIES = 256 };

typedef struct parser {
    char *text;
    size_t size, at;
    tt_err *err;
} parser;

#define FAIL(p, where, ...) \
    tt_fail_at((p)->err, TT_E_FORMAT, (int64_t)(where) + LENGTH_BYTES, __VA_ARGS__)

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(parser *p) {
    while (p->at < p->size && is_space(p->text[p->at])) p->at++;
}

/* Skips white space, then takes `c` if it is next. */
static bool take(parser *p, char c) {
    skip_space(p);
    if (p->at >= p->size || p->text[p->at] != c) return false;
    p->at++;
    return true;
}

static tt_status expect(parser *p, char c, const char *where) {
    if (take(p, c)) return TT_OK;
    if (p->at >= p->size)
        return FAIL(p, p->at, "the header ends where '%c' was expected %s", c, where);
    return FAIL(p, p->at, "expected '%c' %s, found '%c'", c, where, p->text[p->at]);
}

/* ---- strings
 * ---------------------------------------------------------------------------------------- */

/* The four digits after \u; -1 when they are not there. */
static int32_t read_hex4(const parser *p, size_t at) {
    int32_t value = 0;
    if (p->size - at < 4) return -1;
    for (size_t i = 0; i < 4; i++) {
        int digit = tt_hex_digit(p->text[at + i]);
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

static size_t put_utf8(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* \uXXXX, or two of them for a character above U+FFFF. p->at is behind the u. */
static tt_status read_unicode_escape(parser *p, uint32_t *c) {
    int32_t first = read_hex4(p, p->at);
    if (first < 0) return FAIL(p, p->at, "\\u is not followed by four hexadecimal digits");
    if (first == 0) return FAIL(p, p->at, "a string contains the character NUL");
    p->at += 4;
    *c = (uint32_t)first;
    if (first < 0xd800 || first > 0xdfff) return TT_OK;
    int32_t second = -1;
    if (first < 0xdc00 && p->size - p->at >= 6 && memcmp(p->text + p->at, "\\u", 2) == 0)
        second = read_hex4(p, p->at + 2);
    if (second < 0xdc00 || second > 0xdfff)
        return FAIL(p, p->at, "half of a surrogate pair stands alone");
    p->at += 6;
    *c = 0x10000 + ((uint32_t)(first - 0xd800) << 10) + (uint32_t)(second - 0xdc00);
    return TT_OK;
}

static tt_status read_escape(parser *p, char *out, size_t *n_out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (p->at >= p->size) return FAIL(p, p->at, "the header ends inside a string");
    char c = p->text[p->at++];
    if (c == 'u') {
        uint32_t point;
        TT_TRY(read_unicode_escape(p, &point));
        *n_out = put_utf8(out, point);
        return TT_OK;
    }
    const char *found = c ? strchr(from, c) : NULL;
    if (!found) return FAIL(p, p->at - 1, "\\%c is not an escape of JSON", c);
    *out = to[found - from];
    *n_out = 1;
    return TT_OK;
}

/* *out is a C string inside the text. */
static tt_status read_string(parser *p, const char *what, const char **out, size_t *length) {
    if (!take(p, '"')) return FAIL(p, p->at, "expected a string as %s", what);
    char *start = p->text + p->at, *end = start;
    while (p->at < p->size) {
        char c = p->text[p->at];
        if (c == '"') {
            p->at++;
            *end = '\0';
            *out = start;
            *length = (size_t)(end - start);
            return TT_OK;
        }
        if ((unsigned char)c < ' ')
            return FAIL(p, p->at, "control character %d inside a string", (unsigned char)c);
        p->at++;
        size_t n = 1;
        if (c == '\\')
            TT_TRY(read_escape(p, end, &n));
        else
            *end = c;
        end += n;
    }
    return FAIL(p, p->at, "the header ends inside a string");
}

/* A key: no control characters, at most TT_ST_MAX_NAME_BYTES. */
static tt_status read_name(parser *p, const char *what, const char **out) {
    size_t length;
    size_t begin = p->at;
    TT_TRY(read_string(p, what, out, &length));
    if (length > TT_ST_MAX_NAME_BYTES)
        return FAIL(p, begin, "%s has %zu bytes, the limit is %d", what, length,
                    TT_ST_MAX_NAME_BYTES);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)(*out)[i];
        if (c < ' ' || c == 0x7f)
            return FAIL(p, begin, "%s \"%s\" contains control character %d", what, *out, c);
    }
    return TT_OK;
}

/* ---- numbers
 * ---------------------------------------------------------------------------------------- */

static tt_status read_u64(parser *p, const char *name, const char *field, uint64_t *out) {
    skip_space(p);
    size_t begin = p->at;
    uint64_t value = 0;
    bool fits = true;
    for (; p->at < p->size && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++) {
        uint64_t digit = (uint64_t)(p->text[p->at] - '0');
        fits = fits && !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_add_overflow(value, digit, &value);
    }
    size_t digits = p->at - begin;
    char next = p->at < p->size ? p->text[p->at] : ' ';
    bool whole = digits > 0 && !(digits > 1 && p->text[begin] == '0') && next != '.' &&
                 next != 'e' && next != 'E';
    if (!whole)
        return FAIL(p, begin, "tensor \"%s\": %s must hold whole numbers from 0", name, field);
    if (!fits || value > INT64_MAX)
        return FAIL(p, begin, "tensor \"%s\": a number in %s is larger than 2^63 - 1", name, field);
    *out = value;
    return TT_OK;
}

static tt_status read_shape(parser *p, const char *name, tt_tensor_info *info) {
    TT_TRY(expect(p, '[', "before a shape"));
    info->rank = 0;
    if (take(p, ']')) return TT_OK;
    do {
        uint64_t size;
        TT_TRY(read_u64(p, name, "shape", &size));
        if (info->rank == TT_MAX_RANK)
            return FAIL(p, p->at, "tensor \"%s\": more than %d dimensions", name, TT_MAX_RANK);
        info->shape[info->rank++] = (int64_t)size;
    } while (take(p, ','));
    return expect(p, ']', "after a shape");
}

static tt_status read_offsets(parser *p, tt_st_tensor *t) {
    size_t begin_at = p->at;
    uint64_t end;
    TT_TRY(expect(p, '[', "before data_offsets"));
    TT_TRY(read_u64(p, t->name, "data_offsets", &t->offset));
    TT_TRY(expect(p, ',', "between the two data_offsets"));
    TT_TRY(read_u64(p, t->name, "data_offsets", &end));
    TT_TRY(expect(p, ']', "after the two data_offsets"));
    if (end < t->offset)
        return FAIL(p, begin_at,
                    "tensor \"%s\": data_offsets end at %llu before they begin at %llu", t->name,
                    (unsigned long long)end, (unsigned long long)t->offset);
    t->size = end - t->offset;
    return TT_OK;
}

static tt_status read_dtype(parser *p, const char *name, tt_dtype *out) {
    static const char *const others[] = {"F4",          "F6_E2M3",     "F6_E3M2", "F8_E8M0",
                                         "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};
    size_t begin = p->at, length;
    const char *text;
    TT_TRY(read_string(p, "dtype", &text, &length));
    for (int i = 0; i < TT_DTYPE_COUNT; i++)
        if (strcmp(text, tt_dtype_name((tt_dtype)i)) == 0) {
            *out = (tt_dtype)i;
            return TT_OK;
        }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(text, others[i]) == 0)
            return tt_fail_at(p->err, TT_E_UNSUPPORTED, (int64_t)begin + LENGTH_BYTES,
                              "tensor \"%s\": dtype %s is not supported", name, text);
    return FAIL(p, begin, "tensor \"%s\": \"%.40s\" is not a dtype of safetensors", name, text);
}

/* ---- entries
 * ---------------------------------------------------------------------------------------- */

enum { HAS_DTYPE = 1, HAS_SHAPE = 2, HAS_OFFSETS = 4, HAS_ALL = 7 };

static tt_status read_field(parser *p, tt_st_tensor *t, unsigned *seen) {
    const char *field;
    size_t begin = p->at;
    TT_TRY(read_name(p, "field of a tensor", &field));
    unsigned bit = strcmp(field, "dtype") == 0          ? HAS_DTYPE
                   : strcmp(field, "shape") == 0        ? HAS_SHAPE
                   : strcmp(field, "data_offsets") == 0 ? HAS_OFFSETS
                                                        : 0;
    if (!bit) return FAIL(p, begin, "tensor \"%s\": unknown field \"%s\"", t->name, field);
    if (*seen & bit) return FAIL(p, begin, "tensor \"%s\": %s occurs twice", t->name, field);
    *seen |= bit;
    TT_TRY(expect(p, ':', "after a field's name"));
    if (bit == HAS_DTYPE) return read_dtype(p, t->name, &t->info.dtype);
    return bit == HAS_SHAPE ? read_shape(p, t->name, &t->info) : read_offsets(p, t);
}

/* shape x dtype must be exactly the bytes between the offsets. */
static tt_status check_size(parser *p, size_t where, const tt_st_tensor *t) {
    size_t bytes = tt_dtype_size(t->info.dtype);
    bool fits = true;
    for (int i = 0; i < t->info.rank; i++)
        fits = fits && tt_mul_size(bytes, (size_t)t->info.shape[i], &bytes);
    if (!fits) return FAIL(p, where, "tensor \"%s\": its shape overflows 64 bits", t->name);
    if (bytes != t->size)
        return FAIL(p, where,
                    "tensor \"%s\": shape and dtype need %zu bytes, data_offsets give %llu",
                    t->name, bytes, (unsigned long long)t->size);
    return TT_OK;
}

/* Makes room for one entry more in a growing array. */
static tt_status reserve_entry(void **array, size_t *capacity, size_t count, size_t entry_bytes,
                               tt_err *err) {
    if (count < *capacity) return TT_OK;
    size_t wanted = *capacity ? 2 * *capacity : FIRST_ENTRIES;
    void *larger = tt_realloc(*array, wanted * entry_bytes);
    if (!larger) return tt_fail_nomem(err, "table of tensors", wanted * entry_bytes);
    *array = larger;
    *capacity = wanted;
    return TT_OK;
}

static tt_status read_tensor(parser *p, tt__st_header *h, const char *name) {
    size_t begin = p->at;
    if (h->n_tensors == TT_ST_MAX_TENSORS)
        return FAIL(p, begin, "more than %d tensors", TT_ST_MAX_TENSORS);
    void *array = h->tensors;
    tt_status grown =
        reserve_entry(&array, &h->tensor_capacity, h->n_tensors, sizeof *h->tensors, p->err);
    h->tensors = array;
    TT_TRY(grown);
    tt_st_tensor *t = &h->tensors[h->n_tensors];
    *t = (tt_st_tensor){.name = name};
    unsigned seen = 0;
    TT_TRY(expect(p, '{', "before a tensor's fields"));
    do TT_TRY(read_field(p, t, &seen));
    while (take(p, ','));
    TT_TRY(expect(p, '}', "after a tensor's fields"));
    if (seen != HAS_ALL)
        return FAIL(p, begin, "tensor \"%s\": %s is missing", name,
                    !(seen & HAS_DTYPE)   ? "dtype"
                    : !(seen & HAS_SHAPE) ? "shape"
                                          : "data_offsets");
    TT_TRY(check_size(p, begin, t));
    int64_t existing;
    TT_TRY(tt__names_add(&h->tensor_names, name, (uint32_t)h->n_tensors, &existing, p->err));
    if (existing != TT__NO_NAME) return FAIL(p, begin, "tensor \"%s\" occurs twice", name);
    h->n_tensors++;
    return TT_OK;
}

static tt_status read_metadata_pair(parser *p, tt__st_header *h) {
    size_t begin = p->at, length;
    const char *key, *value;
    TT_TRY(read_name(p, "metadata key", &key));
    TT_TRY(expect(p, ':', "after a metadata key"));
    TT_TRY(read_string(p, "metadata value", &value, &length));
    if (h->n_metadata == TT_ST_MAX_TENSORS)
        return FAIL(p, begin, "more than %d metadata entries", TT_ST_MAX_TENSORS);
    void *array = h->metadata;
    tt_status grown =
        reserve_entry(&array, &h->metadata_capacity, h->n_metadata, sizeof *h->metadata, p->err);
    h->metadata = array;
    TT_TRY(grown);
    int64_t existing;
    TT_TRY(tt__names_add(&h->metadata_keys, key, (uint32_t)h->n_metadata, &existing, p->err));
    if (existing != TT__NO_NAME) return FAIL(p, begin, "metadata key \"%s\" occurs twice", key);
    h->metadata[h->n_metadata++] = (tt__st_pair){key, value};
    return TT_OK;
}

static tt_status read_metadata(parser *p, tt__st_header *h) {
    TT_TRY(expect(p, '{', "before the metadata"));
    if (take(p, '}')) return TT_OK;
    do TT_TRY(read_metadata_pair(p, h));
    while (take(p, ','));
    return expect(p, '}', "after the metadata");
}

static tt_status read_root(parser *p, tt__st_header *h) {
    bool has_metadata = false;
    TT_TRY(expect(p, '{', "at the start of the header"));
    if (take(p, '}')) return TT_OK;
    do {
        const char *name;
        size_t begin = p->at;
        TT_TRY(read_name(p, "tensor name", &name));
        TT_TRY(expect(p, ':', "after a tensor's name"));
        bool is_metadata = strcmp(name, "__metadata__") == 0;
        if (is_metadata && has_metadata) return FAIL(p, begin, "__metadata__ occurs twice");
        has_metadata = has_metadata || is_metadata;
        TT_TRY(is_metadata ? read_metadata(p, h) : read_tensor(p, h, name));
    } while (take(p, ','));
    return expect(p, '}', "at the end of the header");
}

/* ---- layout
 * ----------------------------------------------------------------------------------------- */

static int by_offset(const void *a, const void *b) {
    const tt_st_tensor *x = *(const tt_st_tensor *const *)a, *y = *(const tt_st_tensor *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->size == y->size ? 0 : x->size < y->size ? -1 : 1; /* empty tensors come first */
}

static tt_status check_tiling(const tt_st_tensor **sorted, size_t n, uint64_t data_bytes,
                              tt_err *err) {
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const tt_st_tensor *t = sorted[i];
        if (t->offset < at)
            return tt_fail(
                err, TT_E_FORMAT,
                "tensor \"%s\" overlaps the one before it: it begins at %llu, expected %llu",
                t->name, (unsigned long long)t->offset, (unsigned long long)at);
        if (t->offset > at)
            return tt_fail(err, TT_E_FORMAT,
                           "a hole before tensor \"%s\": it begins at %llu, expected %llu", t->name,
                           (unsigned long long)t->offset, (unsigned long long)at);
        at = t->offset + t->size; /* both below 2^63 */
        if (at > data_bytes)
            return tt_fail(
                err, TT_E_FORMAT,
                "the file is cut off: tensor \"%s\" ends at byte %llu of %llu bytes of data",
                t->name, (unsigned long long)at, (unsigned long long)data_bytes);
    }
    if (at < data_bytes)
        return tt_fail(err, TT_E_FORMAT, "%llu bytes after the last tensor belong to none",
                       (unsigned long long)(data_bytes - at));
    return TT_OK;
}

static tt_status check_layout(const tt__st_header *h, uint64_t data_bytes, tt_err *err) {
    const tt_st_tensor **sorted = tt_alloc((h->n_tensors + 1) * sizeof *sorted);
    if (!sorted) return tt_fail_nomem(err, "tensor order", h->n_tensors * sizeof *sorted);
    bool in_order = true;
    for (size_t i = 0; i < h->n_tensors; i++) {
        sorted[i] = &h->tensors[i];
        in_order = in_order && (i == 0 || by_offset(&sorted[i - 1], &sorted[i]) <= 0);
    }
    if (!in_order) qsort(sorted, h->n_tensors, sizeof *sorted, by_offset);
    tt_status status = check_tiling(sorted, h->n_tensors, data_bytes, err);
    tt_free(sorted);
    return status;
}

/* ASCII passes at memory speed; anything else is validated properly. */
static bool is_ascii(const char *text, size_t size) {
    unsigned char all = 0;
    for (size_t i = 0; i < size; i++) all |= (unsigned char)text[i];
    return all < 0x80;
}

tt_status tt__st_header_parse(tt__st_header *h, uint64_t data_bytes, tt_err *err) {
    parser p = {.text = h->text, .size = h->text_size, .err = err};
    size_t bad_at = 0;
    if (!is_ascii(h->text, h->text_size) && !tt_utf8_is_valid(h->text, h->text_size, &bad_at))
        return FAIL(&p, bad_at, "the header is not valid UTF-8");
    TT_TRY(read_root(&p, h));
    skip_space(&p);
    if (p.at < p.size) return FAIL(&p, p.at, "more text after the header's object");
    return check_layout(h, data_bytes, err);
}

void tt__st_header_release(tt__st_header *h) {
    tt__names_release(&h->tensor_names);
    tt__names_release(&h->metadata_keys);
    tt_free(h->tensors);
    tt_free(h->metadata);
    tt_free(h->text);
    *h = (tt__st_header){0};
}
