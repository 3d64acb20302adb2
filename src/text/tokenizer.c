/* The built-in vocabulary, the walk over a text, and what surrounds the ids.
 *
 * The walk has three levels, each of which cuts what the one above left over:
 *     raw text         special tokens that are looked for as they stand, and the padding token
 *     normalised text  special tokens that are looked for in any case
 *     pieces           merged to ids by bpe.c
 *
 * The built-in vocabulary is not stored: 256 bytes, 256 bytes that end a word, one token per merge
 * in order of rank, two markers. */
#include "text/tokenizer.h"

#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/limits.h"
#include "text/tokenizer_parts.h"

static const char WORD_END[] = "</w>";
enum { WORD_END_BYTES = sizeof WORD_END - 1 };

/* ---- life ------------------------------------------------------------------------------------ */

void tt_tokens_release(tt_tokens *tokens) {
    tt_free(tokens->ids);
    *tokens = (tt_tokens){0};
}

tt_status tt__tokenizer_new(tt_tokenizer **out, tt_err *err) {
    *out = tt_alloc(sizeof **out);
    if (!*out) return tt_fail_nomem(err, "tokenizer", sizeof **out);
    (*out)->pad_id = -1;
    return TT_OK;
}

void tt_tokenizer_close(tt_tokenizer *t) {
    if (!t) return;
    for (size_t i = 0; i < t->n_specials; i++) tt_free(t->specials[i].text);
    tt_free(t->specials);
    tt__bpe_release(&t->bpe);
    tt_free(t);
}

int32_t tt_tokenizer_size(const tt_tokenizer *t) {
    return t->bpe.n_ids;
}

int32_t tt_tokenizer_bos_id(const tt_tokenizer *t) {
    return t->bos_id;
}

int32_t tt_tokenizer_eos_id(const tt_tokenizer *t) {
    return t->eos_id;
}

int32_t tt_tokenizer_pad_id(const tt_tokenizer *t) {
    return t->pad_id;
}

tt_status tt__tokenizer_add_special(tt_tokenizer *t, const char *text, size_t size, int32_t id,
                                    bool normalised, tt_err *err) {
    if (size == 0) return tt_fail(err, TT_E_FORMAT, "special token %d has an empty text", id);
    if (t->n_specials >= TT_MAX_SPECIAL_TOKENS)
        return tt_fail(err, TT_E_FORMAT, "more than %d special tokens", TT_MAX_SPECIAL_TOKENS);
    tt__special *grown = tt_realloc(t->specials, (t->n_specials + 1) * sizeof *grown);
    if (!grown) return tt_fail_nomem(err, "special tokens", sizeof *grown);
    t->specials = grown;
    tt_buf copy;
    tt_buf_init(&copy, TT_MAX_TOKENIZER_BYTES);
    tt_status status =
        normalised ? tt__normalise(text, size, &copy, err) : tt_buf_append(&copy, text, size, err);
    if (status != TT_OK) {
        tt_buf_release(&copy);
        return status;
    }
    t->specials[t->n_specials++] =
        (tt__special){.text = copy.data, .size = copy.size, .id = id, .normalised = normalised};
    return TT_OK;
}

void tt__tokenizer_remove_special(tt_tokenizer *t, int32_t id) {
    size_t kept = 0;
    for (size_t i = 0; i < t->n_specials; i++)
        if (t->specials[i].id == id)
            tt_free(t->specials[i].text);
        else
            t->specials[kept++] = t->specials[i];
    t->n_specials = kept;
}

static bool is_special_id(const tt_tokenizer *t, int32_t id) {
    for (size_t i = 0; i < t->n_specials; i++)
        if (t->specials[i].id == id) return true;
    return false;
}

static tt_status find_marker(tt_tokenizer *t, const char *name, int32_t *id, tt_err *err) {
    *id = tt__bpe_find(&t->bpe, (tt__name){name, strlen(name)});
    if (*id < 0) return tt_fail(err, TT_E_FORMAT, "vocabulary: no token %s", name);
    if (is_special_id(t, *id)) return TT_OK;
    return tt__tokenizer_add_special(t, name, strlen(name), *id, false, err);
}

tt_status tt__tokenizer_finish(tt_tokenizer *t, tt_err *err) {
    TT_TRY(find_marker(t, TT__BOS_NAME, &t->bos_id, err));
    TT_TRY(find_marker(t, TT__EOS_NAME, &t->eos_id, err));
    if (t->pad_id < 0) t->pad_id = t->eos_id;
    tt__bpe_seal(&t->bpe, t->eos_id); /* CLIP's token for what it does not know is its end marker */
    return TT_OK;
}

/* ---- the built-in vocabulary ----------------------------------------------------------------- */

/* src/text/data/clip_merges.txt.gz, placed by the build. */
extern const unsigned char tt__clip_merges_gz[], tt__clip_merges_gz_end[];

enum {
    CLIP_IDS = 49408,
    CLIP_MERGES = CLIP_IDS - 2 * 256 - 2,
    CLIP_MERGES_BYTES = 524605,  /* of the text */
    MERGE_LINE_EXTRA_BYTES = 2,  /* a space and a line's end, which names do not have */
    ALPHABET_NAME_BYTES = 2 + 4, /* at most, with "</w>" */
    GZIP_WINDOW = 15 + 16        /* zlib: the largest window, a gzip header */
};

static void *zlib_alloc(void *context, unsigned n, unsigned size) {
    (void)context;
    size_t bytes;
    return tt_mul_size(n, size, &bytes) ? tt_alloc(bytes) : NULL;
}

static void zlib_free(void *context, void *p) {
    (void)context;
    tt_free(p);
}

/* Unpacks the whole table into `text`, [CLIP_MERGES_BYTES]. */
static tt_status inflate_merges(char *text, tt_err *err) {
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    z.next_in = (z_const Bytef *)tt__clip_merges_gz;
    z.avail_in = (uInt)(tt__clip_merges_gz_end - tt__clip_merges_gz);
    z.next_out = (Bytef *)text;
    z.avail_out = CLIP_MERGES_BYTES;
    int result = inflateInit2(&z, GZIP_WINDOW);
    if (result == Z_OK) {
        result = inflate(&z, Z_FINISH);
        inflateEnd(&z);
    }
    if (result == Z_STREAM_END && z.avail_out == 0) return TT_OK;
    if (result == Z_MEM_ERROR)
        return tt_fail_nomem(err, "unpacking the merge table", CLIP_MERGES_BYTES);
    return tt_fail(err, TT_E_INTERNAL, "built-in merge table: zlib error %d, %u bytes missing",
                   result, z.avail_out);
}

/* The ids 0-255 are the bytes in the alphabet's own order: first those that stand for themselves.
 */
static tt_status add_clip_bytes(tt__bpe *b, tt_err *err) {
    int32_t id = 0;
    for (int32_t c = 0; id < 256; c++) {
        int byte = tt__bpe_character_byte(c);
        if (byte < 0) continue;
        char text[ALPHABET_NAME_BYTES];
        size_t size = tt__bpe_byte_name((unsigned char)byte, text);
        memcpy(text + size, WORD_END, WORD_END_BYTES);
        TT_TRY(tt__bpe_add_token(b, id, (tt__name){text, size}, err));
        TT_TRY(tt__bpe_add_token(b, 256 + id++, (tt__name){text, size + WORD_END_BYTES}, err));
    }
    return TT_OK;
}

static tt_status add_clip_merges(tt__bpe *b, const char *text, size_t size, tt_err *err) {
    const char *at = text, *end = text + size;
    for (int32_t rank = 0; rank < CLIP_MERGES; rank++) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const char *line_end = space ? memchr(space, '\n', (size_t)(end - space)) : NULL;
        if (!line_end)
            return tt_fail(err, TT_E_INTERNAL, "built-in merge table: it ends at rank %d", rank);
        tt__name left = {at, (size_t)(space - at)};
        tt__name right = {space + 1, (size_t)(line_end - space - 1)};
        TT_TRY(tt__bpe_add_joined(b, 2 * 256 + rank, left, right, err));
        at = line_end + 1;
    }
    return TT_OK;
}

static tt_status load_clip(tt_tokenizer *t, const char *merges, tt_err *err) {
    tt__name bos = {TT__BOS_NAME, strlen(TT__BOS_NAME)};
    tt__name eos = {TT__EOS_NAME, strlen(TT__EOS_NAME)};
    size_t text_bytes = CLIP_MERGES_BYTES - CLIP_MERGES * MERGE_LINE_EXTRA_BYTES +
                        2 * 256 * ALPHABET_NAME_BYTES + bos.size + eos.size;
    TT_TRY(tt__bpe_init(&t->bpe, CLIP_IDS, text_bytes, CLIP_MERGES, err));
    TT_TRY(add_clip_bytes(&t->bpe, err));
    TT_TRY(add_clip_merges(&t->bpe, merges, CLIP_MERGES_BYTES, err));
    TT_TRY(tt__bpe_add_token(&t->bpe, CLIP_IDS - 2, bos, err));
    TT_TRY(tt__bpe_add_token(&t->bpe, CLIP_IDS - 1, eos, err));
    return tt__tokenizer_finish(t, err);
}

tt_status tt_tokenizer_open(tt_tokenizer **out, tt_err *err) {
    tt_tokenizer *t = NULL;
    tt_status status = TT_OK;
    *out = NULL;
    char *merges = tt_alloc(CLIP_MERGES_BYTES);
    if (!merges) return tt_fail_nomem(err, "merge table", CLIP_MERGES_BYTES);
    TT_TRY_OUT(inflate_merges(merges, err));
    TT_TRY_OUT(tt__tokenizer_new(&t, err));
    TT_TRY_OUT(load_clip(t, merges, err));
    *out = t;
    t = NULL;
out:
    tt_tokenizer_close(t);
    tt_free(merges);
    return status;
}

/* ---- text to ids ----------------------------------------------------------------------------- */

/* One call of encode: what every level needs. */
typedef struct walk {
    const tt_tokenizer *t;
    tt_tokens *out;
    tt__bpe_scratch scratch;
    tt_buf normal;   /* the normalised text of the stretch at hand */
    tt__special pad; /* borrowed text; size 0 when the padding token is a special token anyway */
} walk;

/* A special token found in a text. */
typedef struct match {
    size_t begin, end;
    int32_t id;
} match;

static void match_one(const tt__special *s, const char *text, size_t size, size_t at, match *m) {
    size_t longest = m->end - m->begin;
    if (s->size > longest && s->size <= size - at && !memcmp(s->text, text + at, s->size))
        *m = (match){at, at + s->size, s->id};
}

/* The first special token at or after `at`, the longest if several start there. */
static bool find_special(const walk *w, bool normalised, const char *text, size_t size, size_t at,
                         match *m) {
    for (; at < size; at++) {
        *m = (match){at, at, -1};
        for (size_t i = 0; i < w->t->n_specials; i++)
            if (w->t->specials[i].normalised == normalised)
                match_one(&w->t->specials[i], text, size, at, m);
        if (!normalised && w->pad.size) match_one(&w->pad, text, size, at, m);
        if (m->id >= 0) return true;
    }
    return false;
}

/* A marker spelt out by lower casing is text, but in three words: "<|", its name, "|>". */
static tt_status encode_piece(walk *w, const char *piece, size_t size, tt_err *err) {
    enum { BRACKET = 2 };
    const tt__bpe *b = &w->t->bpe;
    bool is_marker = size == strlen(TT__BOS_NAME) && !memcmp(piece, TT__BOS_NAME, size);
    is_marker |= size == strlen(TT__EOS_NAME) && !memcmp(piece, TT__EOS_NAME, size);
    if (!is_marker) return tt__bpe_encode(b, &w->scratch, piece, size, w->out, err);
    const char *close = piece + size - BRACKET;
    TT_TRY(tt__bpe_encode(b, &w->scratch, piece, BRACKET, w->out, err));
    TT_TRY(tt__bpe_encode(b, &w->scratch, piece + BRACKET, size - 2 * BRACKET, w->out, err));
    return tt__bpe_encode(b, &w->scratch, close, BRACKET, w->out, err);
}

/* Normalised text without special tokens. */
static tt_status encode_pieces(walk *w, const char *text, size_t size, tt_err *err) {
    size_t begin, end = 0;
    while (tt__next_piece(text, size, end, &begin, &end))
        TT_TRY(encode_piece(w, text + begin, end - begin, err));
    return TT_OK;
}

/* Raw text without special tokens that are looked for in raw text. */
static tt_status encode_stretch(walk *w, const char *raw, size_t raw_size, tt_err *err) {
    w->normal.size = 0;
    TT_TRY(tt__normalise(raw, raw_size, &w->normal, err));
    const char *text = w->normal.data ? w->normal.data : "";
    size_t size = w->normal.size, at = 0;
    match m;
    while (find_special(w, true, text, size, at, &m)) {
        TT_TRY(encode_pieces(w, text + at, m.begin - at, err));
        TT_TRY(tt__tokens_push(w->out, m.id, err));
        at = m.end;
    }
    return encode_pieces(w, text + at, size - at, err);
}

static tt_status encode_text(walk *w, const char *text, size_t size, tt_err *err) {
    size_t at = 0;
    match m;
    while (find_special(w, false, text, size, at, &m)) {
        TT_TRY(encode_stretch(w, text + at, m.begin - at, err));
        TT_TRY(tt__tokens_push(w->out, m.id, err));
        at = m.end;
    }
    return encode_stretch(w, text + at, size - at, err);
}

static tt_status check_id(const tt_tokenizer *t, const char *what, int32_t id, tt_err *err) {
    if (id >= 0 && id < t->bpe.n_ids && t->bpe.spans[id].size) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "%s %d is not in the vocabulary of %d", what, id,
                   t->bpe.n_ids);
}

/* Its text is borrowed from the vocabulary. */
static tt__special pad_special(const tt_tokenizer *t, int32_t pad_id) {
    tt__bpe_span span = t->bpe.spans[pad_id];
    if (is_special_id(t, pad_id)) return (tt__special){0};
    return (tt__special){.text = t->bpe.text + span.start, .size = span.size, .id = pad_id};
}

tt_status tt_tokenizer_encode(const tt_tokenizer *t, const char *text, size_t size, int32_t pad_id,
                              tt_tokens *out, tt_err *err) {
    enum { NFC_GROWTH = 3, LOWERCASE_GROWTH = 2 }; /* of UTF-8, at most */
    size_t bad_at = 0, n_before = out->n;
    TT_TRY(check_id(t, "padding token", pad_id, err));
    if (size > TT_MAX_TOKENIZER_BYTES)
        return tt_fail(err, TT_E_INVALID, "text: %zu bytes, the limit is %zu", size,
                       TT_MAX_TOKENIZER_BYTES);
    if (!tt_utf8_is_valid(text, size, &bad_at))
        return tt_fail_at(err, TT_E_INVALID, (int64_t)bad_at, "text is not valid UTF-8 at byte %zu",
                          bad_at);
    if (size == 0) return TT_OK;
    walk w = {.t = t, .out = out, .pad = pad_special(t, pad_id)};
    tt_buf_init(&w.normal, NFC_GROWTH * LOWERCASE_GROWTH * TT_MAX_TOKENIZER_BYTES);
    tt_status status = encode_text(&w, text, size, err);
    tt_buf_release(&w.normal);
    tt__bpe_scratch_release(&w.scratch);
    if (status != TT_OK) out->n = n_before;
    return status;
}

tt_status tt_tokenizer_pad(const tt_tokenizer *t, const tt_tokens *tokens, int32_t pad_id,
                           int n_positions, int32_t *ids, tt_err *err) {
    enum { N_MARKERS = 2 };
    TT_TRY(check_id(t, "padding token", pad_id, err));
    if (n_positions < N_MARKERS)
        return tt_fail(err, TT_E_INVALID, "%d positions cannot hold the two markers", n_positions);
    size_t room = (size_t)n_positions - N_MARKERS, n = tokens->n < room ? tokens->n : room;
    ids[0] = t->bos_id;
    if (n) memcpy(ids + 1, tokens->ids, n * sizeof *ids);
    ids[n + 1] = t->eos_id;
    for (size_t i = n + N_MARKERS; i < (size_t)n_positions; i++) ids[i] = pad_id;
    return TT_OK;
}

/* ---- ids to text ----------------------------------------------------------------------------- */

/* Appends the bytes a name stands for; a character outside the alphabet (an added token's) as it
 * is. */
static tt_status append_name(const tt__bpe *b, int32_t id, tt_buf *bytes, tt_err *err) {
    const char *name = b->text + b->spans[id].start;
    size_t size = b->spans[id].size;
    bool ends_word =
        size > WORD_END_BYTES && !memcmp(name + size - WORD_END_BYTES, WORD_END, WORD_END_BYTES);
    if (ends_word) size -= WORD_END_BYTES;
    for (size_t at = 0, next; at < size; at = next) {
        int byte = tt__bpe_character_byte(tt__decode_utf8(name, size, at, &next));
        char one = (char)byte;
        if (byte >= 0)
            TT_TRY(tt_buf_append(bytes, &one, 1, err));
        else
            TT_TRY(tt_buf_append(bytes, name + at, next - at, err));
    }
    return ends_word ? tt_buf_append(bytes, " ", 1, err) : TT_OK;
}

/* Appends `bytes` with U+FFFD in place of each byte that is no part of a character. */
static tt_status append_repaired(const char *bytes, size_t size, tt_buf *out, tt_err *err) {
    static const char REPLACEMENT[] = "\xef\xbf\xbd";
    for (size_t at = 0; at < size;) {
        size_t n_good = size - at;
        bool whole = tt_utf8_is_valid(bytes + at, size - at, &n_good);
        TT_TRY(tt_buf_append(out, bytes + at, n_good, err));
        if (whole) return TT_OK;
        TT_TRY(tt_buf_puts(out, REPLACEMENT, err));
        at += n_good + 1;
    }
    return TT_OK;
}

tt_status tt_tokenizer_decode(const tt_tokenizer *t, const int32_t *ids, size_t n, tt_buf *out,
                              tt_err *err) {
    tt_status status = TT_OK;
    tt_buf bytes;
    tt_buf_init(&bytes, out->limit_bytes);
    for (size_t i = 0; i < n; i++) {
        TT_TRY_OUT(check_id(t, "token", ids[i], err));
        TT_TRY_OUT(append_name(&t->bpe, ids[i], &bytes, err));
    }
    if (bytes.size && bytes.data[bytes.size - 1] == ' ') bytes.size--;
    if (bytes.size) status = append_repaired(bytes.data, bytes.size, out, err);
out:
    tt_buf_release(&bytes);
    return status;
}
