/* tt_json_parse: a strict RFC 8259 reader that builds json-c's tree; tt_json_check: the same reader without the tree.
 *
 * json-c's own reader is lenient in ways that matter to callers of a service, and differently in
 * each version: it takes NaN, single quotes and raw control characters, replaces lone surrogates,
 * and lets the last of two equal names win in silence. This one refuses all of that with the offset
 * of the offending byte, and keeps the text of numbers that are not integers, so that 4.5 is
 * written back as 4.5.
 *
 * Recursive descent; depth is bounded by TT_MAX_JSON_DEPTH. Every function leaves the lexer behind what
 * it read. One grammar serves both: a check walks the same functions and leaves out the values; of an object it keeps
 * the names (with nothing behind them) to see one that comes twice. So the two cannot disagree. */
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_lex.h"
#include "base/json_span.h"
#include "base/limits.h"
#include "base/utf8.h"

typedef struct parser {
    tt__json_lexer lex; /* its text is valid UTF-8 */
    bool is_check;      /* no tree: every *out is NULL */
    int depth;
    tt_buf scratch; /* the string being decoded */
} parser;

static tt_status nomem(parser *p) {
    return tt_fail_nomem(p->lex.err, "JSON value", sizeof(void *));
}

static char peek(const parser *p) {
    return tt__json_peek(&p->lex);
}

/* ---- single values ----------------------------------------------------------------------------------------------- */

static tt_status parse_string(parser *p, json_object **out) {
    if (p->is_check) return tt__json_read_string(&p->lex, NULL);
    TT_TRY(tt__json_read_string(&p->lex, &p->scratch));
    *out = json_object_new_string_len(p->scratch.data, (int)p->scratch.size);
    return *out ? TT_OK : nomem(p);
}

/* Integers of 64 bits stay exact; larger ones become doubles, as in other languages. */
static json_object *number_object(const tt__json_number *number) {
    const char *text = number->text;
    errno = 0;
    if (number->is_integer && text[0] == '-') {
        int64_t i = strtoimax(text, NULL, 10);
        if (errno == 0) return json_object_new_int64(i);
    } else if (number->is_integer) {
        uint64_t u = strtoumax(text, NULL, 10);
        if (errno == 0)
            return u <= INT64_MAX ? json_object_new_int64((int64_t)u) : json_object_new_uint64(u);
    }
    return json_object_new_double_s(strtod(text, NULL), text);
}

static tt_status parse_number(parser *p, json_object **out) {
    tt__json_number number;
    TT_TRY(tt__json_read_number(&p->lex, &number));
    if (p->is_check) return TT_OK;
    *out = number_object(&number);
    return *out ? TT_OK : nomem(p);
}

static tt_status parse_word(parser *p, json_object **out) {
    if (tt__json_take_word(&p->lex, "null")) return TT_OK;
    bool is_true = tt__json_take_word(&p->lex, "true");
    if (!is_true && !tt__json_take_word(&p->lex, "false"))
        return tt__json_fail_here(&p->lex, "expected a value");
    if (p->is_check) return TT_OK;
    *out = json_object_new_boolean(is_true);
    return *out ? TT_OK : nomem(p);
}

/* ---- containers -------------------------------------------------------------------------------------------------- */

static tt_status parse_value(parser *p, json_object **out);

/* Behind an element: a comma (more follows) or `closing`. */
static tt_status parse_separator(parser *p, char closing, const char *expected, bool *is_end) {
    tt__json_skip_space(&p->lex);
    char c = peek(p);
    if (c != ',' && c != closing) return tt__json_fail_here(&p->lex, expected);
    p->lex.at++;
    *is_end = c == closing;
    tt__json_skip_space(&p->lex);
    return TT_OK;
}

static tt_status parse_elements(parser *p, json_object *array) {
    bool is_end = peek(p) == ']';
    if (is_end) p->lex.at++;
    while (!is_end) {
        json_object *element;
        TT_TRY(parse_value(p, &element));
        if (!p->is_check && json_object_array_add(array, element) != 0) {
            json_object_put(element);
            return nomem(p);
        }
        TT_TRY(parse_separator(p, ']', "expected ',' or ']'", &is_end));
    }
    return TT_OK;
}

/* The name just decoded, for parse_member; a check puts it into `object` at once, with null behind it. */
static tt_status keep_name(parser *p, json_object *object, json_object **name) {
    const char *text = p->scratch.data;
    if (p->is_check) {
        int failed = json_object_object_add_ex(object, text, NULL, JSON_C_OBJECT_ADD_KEY_IS_NEW);
        return failed ? nomem(p) : TT_OK;
    }
    *name = json_object_new_string_len(text, (int)p->scratch.size);
    return *name ? TT_OK : nomem(p);
}

/* A name and its colon. The name is left in *name, owned by the caller; NULL in a check. */
static tt_status parse_name(parser *p, json_object *object, json_object **name) {
    size_t start = p->lex.at;
    if (peek(p) != '"') return tt__json_fail_here(&p->lex, "expected a name in double quotes");
    TT_TRY(tt__json_read_string(&p->lex, &p->scratch));
    if (strlen(p->scratch.data) != p->scratch.size)
        return tt__json_fail_at(&p->lex, start, "a NUL character in a name");
    if (json_object_object_get_ex(object, p->scratch.data, NULL))
        return tt__json_fail_at(&p->lex, start, "the same name twice in one object");
    tt__json_skip_space(&p->lex);
    if (peek(p) != ':') return tt__json_fail_here(&p->lex, "expected ':'");
    p->lex.at++;
    tt__json_skip_space(&p->lex);
    return keep_name(p, object, name);
}

static tt_status parse_member(parser *p, json_object *object) {
    json_object *name = NULL, *value;
    TT_TRY(parse_name(p, object, &name));
    tt_status status = parse_value(p, &value);
    if (status == TT_OK && name &&
        json_object_object_add_ex(object, json_object_get_string(name), value,
                                  JSON_C_OBJECT_ADD_KEY_IS_NEW) != 0) {
        json_object_put(value);
        status = nomem(p);
    }
    json_object_put(name);
    return status;
}

static tt_status parse_members(parser *p, json_object *object) {
    bool is_end = peek(p) == '}';
    if (is_end) p->lex.at++;
    while (!is_end) {
        TT_TRY(parse_member(p, object));
        TT_TRY(parse_separator(p, '}', "expected ',' or '}'", &is_end));
    }
    return TT_OK;
}

static tt_status parse_container(parser *p, json_object **out) {
    if (p->depth == TT_MAX_JSON_DEPTH) return tt__json_fail_here(&p->lex, "nested too deeply");
    bool is_object = peek(p) == '{', is_kept = is_object || !p->is_check;
    json_object *container = NULL;
    if (is_kept) container = is_object ? json_object_new_object() : json_object_new_array();
    if (is_kept && !container) return nomem(p);
    p->depth++;
    p->lex.at++;
    tt__json_skip_space(&p->lex);
    tt_status status = is_object ? parse_members(p, container) : parse_elements(p, container);
    p->depth--;
    if (status != TT_OK || p->is_check)
        json_object_put(container);
    else
        *out = container;
    return status;
}

/* One value; *out is owned by the caller on success (NULL for null) and NULL on failure. */
static tt_status parse_value(parser *p, json_object **out) {
    *out = NULL;
    char c = peek(p);
    if (c == '{' || c == '[') return parse_container(p, out);
    if (c == '"') return parse_string(p, out);
    if (c == '-' || (c >= '0' && c <= '9')) return parse_number(p, out);
    return parse_word(p, out);
}

/* RFC 8259 8.1: it must not be written; some editors do. */
static const char BYTE_ORDER_MARK[] = "\xef\xbb\xbf";

static tt_status read_text(const char *text, size_t size, size_t max_bytes, bool is_check,
                           json_object **out, tt_err *err) {
    *out = NULL;
    if (size > max_bytes)
        return tt_fail(err, TT_E_INVALID, "JSON text has %zu bytes, the limit is %zu", size,
                       max_bytes);
    parser p = {.lex = {.text = text, .size = size, .err = err}, .is_check = is_check};
    tt_buf_init(&p.scratch, max_bytes);
    size_t bad_at;
    if (!tt_utf8_is_valid(text, size, &bad_at))
        return tt__json_fail_at(&p.lex, bad_at, "not valid UTF-8");
    if (size >= sizeof BYTE_ORDER_MARK - 1 &&
        memcmp(text, BYTE_ORDER_MARK, sizeof BYTE_ORDER_MARK - 1) == 0)
        return tt__json_fail_at(&p.lex, 0, "a byte order mark, expected UTF-8 without one");
    tt__json_skip_space(&p.lex);
    tt_status status = parse_value(&p, out);
    tt__json_skip_space(&p.lex);
    if (status == TT_OK && p.lex.at < size)
        status = tt__json_fail_here(&p.lex, "more text after the value");
    if (status != TT_OK) {
        json_object_put(*out);
        *out = NULL;
    }
    tt_buf_release(&p.scratch);
    return status;
}

tt_status tt_json_parse(const char *text, size_t size, json_object **out, tt_err *err) {
    return read_text(text, size, TT_MAX_JSON_BYTES, false, out, err);
}

tt_status tt_json_check(const char *text, size_t size, size_t max_bytes, tt_err *err) {
    json_object *none;
    return read_text(text, size, max_bytes, true, &none, err);
}
