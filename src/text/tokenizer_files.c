/* Tokenizers that a diffusers folder brings along: vocab.json + merges.txt, or tokenizer.json.
 *
 * As in the class we follow, only the vocabulary, the merges and the special tokens are data; how
 * text is normalised and cut is CLIP's, whatever tokenizer.json says about it. So a file that is
 * not CLIP's kind of BPE (another end-of-word mark, byte fallback...) is refused rather than
 * misread. */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "text/tokenizer_parts.h"

static tt__name name_of(json_object *string) {
    return (tt__name){json_object_get_string(string), (size_t)json_object_get_string_len(string)};
}

/* ---- the vocabulary -------------------------------------------------------------------------- */

static tt_status read_id(const char *name, json_object *value, int32_t *id, tt_err *err) {
    int64_t wide = json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : -1;
    if (wide < 0 || wide >= TT_MAX_VOCABULARY)
        return tt_fail(err, TT_E_FORMAT,
                       "vocabulary: token \"%.64s\": expected an id of 0 to %d, found %s", name,
                       TT_MAX_VOCABULARY - 1, json_object_to_json_string(value));
    *id = (int32_t)wide;
    return TT_OK;
}

/* What tt__bpe_init has to know: the highest id + 1 and the length of all names together. */
typedef struct extent {
    int32_t n_ids;
    size_t text_bytes;
} extent;

static void extend(extent *e, int32_t id, size_t name_bytes) {
    if (id >= e->n_ids) e->n_ids = id + 1;
    e->text_bytes += name_bytes;
}

static tt_status measure_vocabulary(json_object *vocabulary, extent *e, tt_err *err) {
    if (!json_object_is_type(vocabulary, json_type_object))
        return tt_fail(err, TT_E_FORMAT, "vocabulary: expected an object, found %s",
                       tt_json_type_name(vocabulary));
    json_object_object_foreach(vocabulary, name, value) {
        int32_t id;
        TT_TRY(read_id(name, value, &id, err));
        extend(e, id, strlen(name));
    }
    return TT_OK;
}

static tt_status add_vocabulary(tt__bpe *b, json_object *vocabulary, tt_err *err) {
    json_object_object_foreach(vocabulary, name, value) {
        int32_t id;
        TT_TRY(read_id(name, value, &id, err));
        TT_TRY(tt__bpe_add_token(b, id, (tt__name){name, strlen(name)}, err));
    }
    return TT_OK;
}

/* ---- merges as text -------------------------------------------------------------------------- */

static uint32_t count_lines(const tt_buf *text) {
    uint32_t n = 1;
    for (size_t i = 0; i < text->size; i++) n += text->data[i] == '\n';
    return n;
}

/* pair[0] and pair[1]: the two sides. */
static tt_status split_pair(const char *text, size_t size, tt__name pair[2], tt_err *err) {
    const char *space = memchr(text, ' ', size);
    size_t n_left = space ? (size_t)(space - text) : 0, n_right = space ? size - n_left - 1 : 0;
    if (n_left == 0 || n_right == 0 || memchr(space + 1, ' ', n_right))
        return tt_fail(err, TT_E_FORMAT,
                       "expected two names with one space between, found \"%.*s\"",
                       size < 64 ? (int)size : 64, text);
    pair[0] = (tt__name){text, n_left};
    pair[1] = (tt__name){space + 1, n_right};
    return TT_OK;
}

/* One line without its end; the version comment and the empty last line are no merges. */
static tt_status add_merge_line(tt__bpe *b, const char *line, size_t size, tt_err *err) {
    static const char VERSION[] = "#version";
    enum { VERSION_BYTES = sizeof VERSION - 1 };
    tt__name pair[2];
    if (size && line[size - 1] == '\r') size--;
    if (size == 0 || (size >= VERSION_BYTES && !memcmp(line, VERSION, VERSION_BYTES))) return TT_OK;
    TT_TRY(split_pair(line, size, pair, err));
    return tt__bpe_add_merge(b, pair[0], pair[1], err);
}

static tt_status add_merge_lines(tt__bpe *b, const tt_buf *text, tt_err *err) {
    size_t number = 1;
    for (size_t at = 0; at < text->size; number++) {
        const char *line = text->data + at, *end = memchr(line, '\n', text->size - at);
        size_t size = end ? (size_t)(end - line) : text->size - at;
        tt_status status = add_merge_line(b, line, size, err);
        if (status != TT_OK) return tt_fail_prefix(err, status, "line %zu", number);
        at += size + 1;
    }
    return TT_OK;
}

static tt_status load_files(tt_tokenizer *t, json_object *vocabulary, const tt_buf *merges,
                            const char *merges_path, tt_err *err) {
    extent e = {0};
    TT_TRY(measure_vocabulary(vocabulary, &e, err));
    TT_TRY(tt__bpe_init(&t->bpe, e.n_ids, e.text_bytes, count_lines(merges), err));
    TT_TRY(add_vocabulary(&t->bpe, vocabulary, err));
    tt_status status = add_merge_lines(&t->bpe, merges, err);
    return status == TT_OK ? TT_OK : tt_fail_prefix(err, status, "%s", merges_path);
}

tt_status tt_tokenizer_open_files(const char *vocab_path, const char *merges_path,
                                  tt_tokenizer **out, tt_err *err) {
    tt_tokenizer *t = NULL;
    json_object *vocabulary = NULL;
    tt_buf merges;
    tt_buf_init(&merges, TT_MAX_JSON_BYTES);
    tt_status status = TT_OK;
    *out = NULL;
    TT_TRY_OUT(tt_json_read_file(vocab_path, &vocabulary, err));
    TT_TRY_OUT(tt_file_read(merges_path, &merges, err));
    TT_TRY_OUT(tt__tokenizer_new(&t, err));
    TT_TRY_OUT(load_files(t, vocabulary, &merges, merges_path, err));
    TT_TRY_OUT(tt__tokenizer_finish(t, err));
    *out = t;
    t = NULL;
out:
    tt_tokenizer_close(t);
    tt_buf_release(&merges);
    json_object_put(vocabulary);
    return status;
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

/* The member `name`, which must be there and of type `type`. */
static tt_status member(json_object *o, const char *name, json_type type, json_object **out,
                        tt_err *err) {
    *out = NULL;
    if (json_object_object_get_ex(o, name, out) && json_object_is_type(*out, type)) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "%s: expected %s, found %s", name,
                   type == json_type_array ? "an array" : "an object",
                   *out ? tt_json_type_name(*out) : "nothing");
}

/* What our merging does not do must not be asked for. */
static tt_status check_model(json_object *model, tt_err *err) {
    const char *type = "BPE", *suffix = "", *prefix = "";
    bool byte_fallback = false, fuse_unk = false, ignore_merges = false;
    TT_TRY(tt_json_get_string(model, "type", &type, err));
    TT_TRY(tt_json_get_string(model, "end_of_word_suffix", &suffix, err));
    TT_TRY(tt_json_get_string(model, "continuing_subword_prefix", &prefix, err));
    TT_TRY(tt_json_get_bool(model, "byte_fallback", &byte_fallback, err));
    TT_TRY(tt_json_get_bool(model, "fuse_unk", &fuse_unk, err));
    TT_TRY(tt_json_get_bool(model, "ignore_merges", &ignore_merges, err));
    if (strcmp(type, "BPE") || strcmp(suffix, "</w>") || *prefix || byte_fallback || fuse_unk ||
        ignore_merges)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "not a CLIP tokenizer: expected a BPE model with the end_of_word_suffix "
                       "\"</w>\", found "
                       "%s with \"%s\"",
                       type, suffix);
    return TT_OK;
}

/* A merge is "left right" or ["left", "right"]. */
static tt_status add_merge_value(tt__bpe *b, json_object *value, tt_err *err) {
    if (json_object_is_type(value, json_type_string)) {
        tt__name line = name_of(value), pair[2];
        TT_TRY(split_pair(line.text, line.size, pair, err));
        return tt__bpe_add_merge(b, pair[0], pair[1], err);
    }
    bool is_pair =
        json_object_is_type(value, json_type_array) && json_object_array_length(value) == 2;
    json_object *left = is_pair ? json_object_array_get_idx(value, 0) : NULL;
    json_object *right = is_pair ? json_object_array_get_idx(value, 1) : NULL;
    if (!json_object_is_type(left, json_type_string) ||
        !json_object_is_type(right, json_type_string))
        return tt_fail(err, TT_E_FORMAT, "merge %u: expected two names, found %s", b->n_merges,
                       tt_json_type_name(value));
    return tt__bpe_add_merge(b, name_of(left), name_of(right), err);
}

/* One of added_tokens. */
typedef struct added_token {
    const char *content; /* borrowed */
    int32_t id;
    bool normalised;
} added_token;

static tt_status read_added(json_object *value, added_token *a, tt_err *err) {
    int64_t id = -1;
    bool single_word = false, lstrip = false, rstrip = false;
    *a = (added_token){.content = ""};
    if (!json_object_is_type(value, json_type_object))
        return tt_fail(err, TT_E_FORMAT, "added_tokens: expected an object, found %s",
                       tt_json_type_name(value));
    TT_TRY(tt_json_get_i64(value, "id", &id, err));
    TT_TRY(tt_json_get_string(value, "content", &a->content, err));
    TT_TRY(tt_json_get_bool(value, "normalized", &a->normalised, err));
    TT_TRY(tt_json_get_bool(value, "single_word", &single_word, err));
    TT_TRY(tt_json_get_bool(value, "lstrip", &lstrip, err));
    TT_TRY(tt_json_get_bool(value, "rstrip", &rstrip, err));
    if (id < 0 || id >= TT_MAX_VOCABULARY || !*a->content)
        return tt_fail(err, TT_E_FORMAT,
                       "added token \"%.64s\": expected a text and an id of 0 to %d", a->content,
                       TT_MAX_VOCABULARY - 1);
    if (single_word || lstrip || rstrip)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "added token \"%.64s\": single_word, lstrip and rstrip are not supported",
                       a->content);
    a->id = (int32_t)id;
    return TT_OK;
}

/* Added tokens are special tokens; those that the vocabulary lacks extend it. */
static tt_status add_added(tt_tokenizer *t, json_object *added, tt_err *err) {
    for (size_t i = 0; i < json_object_array_length(added); i++) {
        added_token a;
        TT_TRY(read_added(json_object_array_get_idx(added, i), &a, err));
        tt__name name = {a.content, strlen(a.content)};
        int32_t known = tt__bpe_find(&t->bpe, name);
        if (known < 0) TT_TRY(tt__bpe_add_token(&t->bpe, a.id, name, err));
        if (known >= 0 && known != a.id)
            return tt_fail(err, TT_E_FORMAT,
                           "added token \"%.64s\": id %d, but %d in the vocabulary", a.content,
                           a.id, known);
        TT_TRY(tt__tokenizer_add_special(t, name.text, name.size, a.id, a.normalised, err));
    }
    return TT_OK;
}

static tt_status measure_added(json_object *added, extent *e, tt_err *err) {
    for (size_t i = 0; i < json_object_array_length(added); i++) {
        added_token a;
        TT_TRY(read_added(json_object_array_get_idx(added, i), &a, err));
        extend(e, a.id, strlen(a.content));
    }
    return TT_OK;
}

static tt_status load_json(tt_tokenizer *t, json_object *root, tt_err *err) {
    json_object *model, *vocabulary, *merges, *added;
    extent e = {0};
    if (!json_object_is_type(root, json_type_object))
        return tt_fail(err, TT_E_FORMAT, "expected an object, found %s", tt_json_type_name(root));
    TT_TRY(member(root, "model", json_type_object, &model, err));
    TT_TRY(check_model(model, err));
    TT_TRY(member(model, "vocab", json_type_object, &vocabulary, err));
    TT_TRY(member(model, "merges", json_type_array, &merges, err));
    TT_TRY(member(root, "added_tokens", json_type_array, &added, err));
    size_t n_merges = json_object_array_length(merges);
    TT_TRY(measure_vocabulary(vocabulary, &e, err));
    TT_TRY(measure_added(added, &e, err));
    TT_TRY(tt__bpe_init(&t->bpe, e.n_ids, e.text_bytes,
                        n_merges < UINT32_MAX ? (uint32_t)n_merges : UINT32_MAX, err));
    TT_TRY(add_vocabulary(&t->bpe, vocabulary, err));
    for (size_t i = 0; i < n_merges; i++)
        TT_TRY(add_merge_value(&t->bpe, json_object_array_get_idx(merges, i), err));
    TT_TRY(add_added(t, added, err));
    return tt__tokenizer_finish(t, err);
}

tt_status tt_tokenizer_open_json(const char *path, tt_tokenizer **out, tt_err *err) {
    tt_tokenizer *t = NULL;
    json_object *root = NULL;
    *out = NULL;
    tt_status status = TT_OK;
    TT_TRY_OUT(tt_json_read_file(path, &root, err));
    TT_TRY_OUT(tt__tokenizer_new(&t, err));
    status = load_json(t, root, err);
    if (status != TT_OK) {
        tt_fail_prefix(err, status, "%s", path);
        goto out;
    }
    *out = t;
    t = NULL;
out:
    tt_tokenizer_close(t);
    json_object_put(root);
    return status;
}
