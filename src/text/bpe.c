/* See bpe.h.
 *
 * Opening has to be fast, because it stands before every first picture: all memory is asked for
 * once, and both tables are open addressing with linear probing at a load under one half. Merges
 * live in an array in order of rank, 12 bytes each; the hash table over them holds 4-byte ranks, so
 * that the whole fits in L2.
 *
 * Merging a word takes the pair of lowest rank (the leftmost of equals) until no neighbours merge.
 * A binary heap of candidate pairs makes that n log n; a candidate whose symbols have changed since
 * is recognised when it is popped, by what its pair would merge into now. */
#include "text/bpe.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

static const char WORD_END[] = "</w>";

enum {
    FIRST_TOKENS = 80,       /* a whole prompt, for most */
    FIRST_SCRATCH_BYTES = 64 /* a whole word, for nearly all */
};

/* ---- tables ---------------------------------------------------------------------------------- */

/* Slots for n entries at a load of at most one half. */
static uint32_t table_size(uint32_t n) {
    uint32_t size = 16;
    while (size < 2 * n) size *= 2;
    return size;
}

static uint64_t load(const char *text, size_t n_bytes) {
    uint64_t word = 0;
    memcpy(&word, text, n_bytes);
    return word;
}

/* 64 x 64 -> 128 bits, folded: the mixing step of both tables. */
static uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static const uint64_t ODD_A = 0x9e3779b97f4a7c15u, ODD_B = 0xd1b54a32d192ed03u;

/* Eight bytes at a time; the last load overlaps the one before, so that its size is constant. Speed counts:
 * opening the built-in vocabulary hashes 150000 names, most of them shorter than eight bytes. */
static uint32_t name_hash(tt__name name) {
    const char *text = name.text;
    size_t n = name.size;
    uint64_t h = n ^ ODD_A;
    for (; n > 8; n -= 8, text += 8) h = mix(h ^ load(text, 8), ODD_B);
    uint64_t last = n >= 4   ? load(text, 4) | load(text + n - 4, 4) << 32
                    : n == 3 ? load(text, 2) | load(text + 1, 2) << 16
                    : n == 2 ? load(text, 2)
                             : load(text, n);
    return (uint32_t)mix(h ^ last, ODD_B);
}

static uint32_t pair_hash(int32_t left, int32_t right) {
    return (uint32_t)mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right, ODD_B);
}

tt_status tt__bpe_init(tt__bpe *b, int32_t n_ids, size_t text_bytes, uint32_t max_merges,
                       tt_err *err) {
    *b = (tt__bpe){.unknown_id = -1};
    if (n_ids < 1 || n_ids > TT_MAX_VOCABULARY || max_merges > TT_MAX_VOCABULARY)
        return tt_fail(err, TT_E_FORMAT, "vocabulary: %d ids and %u merges, the limit is %d", n_ids,
                       max_merges, TT_MAX_VOCABULARY);
    if (text_bytes > TT_MAX_JSON_BYTES)
        return tt_fail(err, TT_E_FORMAT, "vocabulary: names of %zu bytes, the limit is %zu",
                       text_bytes, TT_MAX_JSON_BYTES);
    uint32_t name_slots = table_size((uint32_t)n_ids), merge_slots = table_size(max_merges);
    b->n_ids = n_ids;
    b->max_merges = max_merges;
    b->text_capacity = text_bytes;
    b->name_mask = name_slots - 1;
    b->merge_mask = merge_slots - 1;
    b->text = tt_alloc(text_bytes + 2 * TT__MAX_NAME_BYTES); /* and room to join two names in */
    b->spans = tt_alloc((size_t)n_ids * sizeof *b->spans);
    b->merges = tt_alloc((size_t)max_merges * sizeof *b->merges);
    b->name_slots = tt_alloc((size_t)name_slots * sizeof *b->name_slots);
    b->merge_slots = tt_alloc((size_t)merge_slots * sizeof *b->merge_slots);
    if (b->text && b->spans && b->merges && b->name_slots && b->merge_slots) return TT_OK;
    tt__bpe_release(b);
    return tt_fail_nomem(err, "vocabulary", text_bytes);
}

void tt__bpe_release(tt__bpe *b) {
    tt_free(b->text);
    tt_free(b->spans);
    tt_free(b->merges);
    tt_free(b->name_slots);
    tt_free(b->merge_slots);
    *b = (tt__bpe){.unknown_id = -1};
}

static bool has_name(const tt__bpe *b, uint32_t id, tt__name name) {
    tt__bpe_span span = b->spans[id];
    return span.size == name.size && !memcmp(b->text + span.start, name.text, name.size);
}

/* The slot that holds `name`, or the free one where it belongs. */
static uint32_t *name_slot(const tt__bpe *b, tt__name name) {
    uint32_t i = name_hash(name) & b->name_mask;
    while (b->name_slots[i] && !has_name(b, b->name_slots[i] - 1, name)) i = (i + 1) & b->name_mask;
    return &b->name_slots[i];
}

int32_t tt__bpe_find(const tt__bpe *b, tt__name name) {
    if (name.size == 0 || name.size > TT__MAX_NAME_BYTES) return -1;
    return (int32_t)*name_slot(b, name) - 1;
}

tt_status tt__bpe_add_token(tt__bpe *b, int32_t id, tt__name name, tt_err *err) {
    if (id < 0 || id >= b->n_ids)
        return tt_fail(err, TT_E_FORMAT, "vocabulary: token id %d, expected 0 to %d", id,
                       b->n_ids - 1);
    if (name.size == 0 || name.size > TT__MAX_NAME_BYTES)
        return tt_fail(err, TT_E_FORMAT,
                       "vocabulary: token %d: a name of %zu bytes, expected 1 to %d", id, name.size,
                       TT__MAX_NAME_BYTES);
    if (name.size > b->text_capacity - b->text_size)
        return tt_fail(err, TT_E_INTERNAL, "vocabulary: no room for the name of token %d", id);
    if (b->spans[id].size)
        return tt_fail(err, TT_E_FORMAT, "vocabulary: two tokens have the id %d", id);
    uint32_t *slot = name_slot(b, name);
    if (*slot)
        return tt_fail(err, TT_E_FORMAT, "vocabulary: tokens %u and %d have the same name",
                       *slot - 1, id);
    memmove(b->text + b->text_size, name.text, name.size); /* a joined name is there already */
    b->spans[id] = (tt__bpe_span){.start = (uint32_t)b->text_size, .size = (uint32_t)name.size};
    b->text_size += name.size;
    *slot = (uint32_t)id + 1;
    return TT_OK;
}

/* The slot of a pair, or the free one where it belongs. */
static uint32_t *merge_slot(const tt__bpe *b, int32_t left, int32_t right) {
    uint32_t i = pair_hash(left, right) & b->merge_mask;
    while (b->merge_slots[i]) {
        const tt__bpe_merge *merge = &b->merges[b->merge_slots[i] - 1];
        if (merge->left == left && merge->right == right) break;
        i = (i + 1) & b->merge_mask;
    }
    return &b->merge_slots[i];
}

static tt_status missing_token(const tt__bpe *b, tt__name name, tt_err *err) {
    return tt_fail(err, TT_E_FORMAT, "merge %u: \"%.*s\" is not in the vocabulary", b->n_merges,
                   (int)name.size, name.text);
}

/* Finds both sides of a merge and writes their join behind the names. */
static tt_status join(tt__bpe *b, tt__name left, tt__name right, tt__bpe_merge *merge,
                      tt__name *joined, tt_err *err) {
    *merge = (tt__bpe_merge){tt__bpe_find(b, left), tt__bpe_find(b, right), -1};
    if (merge->left < 0) return missing_token(b, left, err);
    if (merge->right < 0) return missing_token(b, right, err);
    char *text = b->text + b->text_size;
    memcpy(text, left.text, left.size);
    memcpy(text + left.size, right.text, right.size);
    *joined = (tt__name){text, left.size + right.size};
    return TT_OK;
}

static tt_status push_merge(tt__bpe *b, tt__bpe_merge merge, tt_err *err) {
    if (b->n_merges >= b->max_merges)
        return tt_fail(err, TT_E_INTERNAL, "merges: no room for more than %u", b->max_merges);
    uint32_t *slot = merge_slot(b, merge.left, merge.right);
    b->merges[b->n_merges++] = merge;
    *slot = b->n_merges;
    return TT_OK;
}

tt_status tt__bpe_add_merge(tt__bpe *b, tt__name left, tt__name right, tt_err *err) {
    tt__bpe_merge merge;
    tt__name joined;
    TT_TRY(join(b, left, right, &merge, &joined, err));
    merge.joined = tt__bpe_find(b, joined);
    if (merge.joined < 0) return missing_token(b, joined, err);
    return push_merge(b, merge, err);
}

tt_status tt__bpe_add_joined(tt__bpe *b, int32_t id, tt__name left, tt__name right, tt_err *err) {
    tt__bpe_merge merge;
    tt__name joined;
    TT_TRY(join(b, left, right, &merge, &joined, err));
    TT_TRY(tt__bpe_add_token(b, id, joined, err));
    merge.joined = id;
    return push_merge(b, merge, err);
}

/* ---- the byte alphabet ----------------------------------------------------------------------- */

/* Printable Latin-1 bytes stand for themselves; the other 68, in order, are U+0100 and up. */
static bool stands_for_itself(int byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

static int32_t alphabet_character(int byte) {
    if (stands_for_itself(byte)) return byte;
    if (byte <= ' ') return 0x100 + byte;
    return byte <= 0xa0 ? 0x100 + ' ' + 1 + (byte - 0x7f)
                        : 0x100 + ' ' + 1 + 34; /* 0xad: the last */
}

size_t tt__bpe_byte_name(unsigned char byte, char name[2]) {
    int32_t c = alphabet_character(byte);
    if (c < 0x80) {
        name[0] = (char)c;
        return 1;
    }
    name[0] = (char)(0xc0 | c >> 6);
    name[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

int tt__bpe_character_byte(int32_t character) {
    if (character < 0 || character > 0x100 + ' ' + 1 + 34) return -1;
    if (character < 0x100) return stands_for_itself(character) ? character : -1;
    int nth = character - 0x100;
    return nth <= ' ' ? nth : nth <= ' ' + 34 ? nth - ' ' - 1 + 0x7f : 0xad;
}

void tt__bpe_seal(tt__bpe *b, int32_t unknown_id) {
    for (int byte = 0; byte < 256; byte++) {
        char text[2 + sizeof WORD_END];
        size_t size = tt__bpe_byte_name((unsigned char)byte, text);
        memcpy(text + size, WORD_END, sizeof WORD_END);
        b->inner_ids[byte] = tt__bpe_find(b, (tt__name){text, size});
        b->last_ids[byte] = tt__bpe_find(b, (tt__name){text, size + sizeof WORD_END - 1});
    }
    b->unknown_id = unknown_id;
    tt_free(b->name_slots);
    b->name_slots = NULL;
}

/* ---- merging a word -------------------------------------------------------------------------- */

/* The word as a doubly linked list in an array. A symbol merged into its left neighbour has id
 * GONE. */
typedef struct tt__bpe_symbol {
    int32_t id;
    int32_t previous, next; /* -1: none */
} symbol;

/* "The symbol at `position` and its right neighbour merge into `joined`", as it was when noted. */
typedef struct tt__bpe_candidate {
    uint32_t rank;
    int32_t position;
    int32_t joined;
} candidate;

enum { GONE = -2 };

typedef struct merge_queue {
    candidate *heap; /* borrowed from the scratch; smallest first */
    size_t n;
} merge_queue;

static bool comes_before(candidate a, candidate b) {
    return a.rank != b.rank ? a.rank < b.rank : a.position < b.position;
}

static void queue_push(merge_queue *q, candidate c) {
    size_t i = q->n++;
    while (i > 0 && comes_before(c, q->heap[(i - 1) / 2])) {
        q->heap[i] = q->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    q->heap[i] = c;
}

static candidate queue_pop(merge_queue *q) {
    candidate first = q->heap[0], last = q->heap[--q->n];
    size_t i = 0;
    for (size_t child = 1; child < q->n; child = 2 * i + 1) {
        if (child + 1 < q->n && comes_before(q->heap[child + 1], q->heap[child])) child++;
        if (!comes_before(q->heap[child], last)) break;
        q->heap[i] = q->heap[child];
        i = child;
    }
    q->heap[i] = last;
    return first;
}

/* The rank + 1 of the merge of `position` and its right neighbour; 0 when they do not merge. */
static uint32_t merge_at(const tt__bpe *b, const symbol *symbols, int32_t position) {
    int32_t next = symbols[position].next;
    return next < 0 ? 0 : *merge_slot(b, symbols[position].id, symbols[next].id);
}

static void note_candidate(const tt__bpe *b, const symbol *symbols, int32_t position,
                           merge_queue *q) {
    uint32_t found = position < 0 ? 0 : merge_at(b, symbols, position);
    if (found) queue_push(q, (candidate){found - 1, position, b->merges[found - 1].joined});
}

static void merge_all(const tt__bpe *b, symbol *symbols, merge_queue *q) {
    while (q->n) {
        candidate c = queue_pop(q);
        symbol *left = &symbols[c.position];
        if (left->id == GONE) continue;
        uint32_t found = merge_at(b, symbols, c.position);
        if (!found || b->merges[found - 1].joined != c.joined) continue; /* out of date */
        symbol *right = &symbols[left->next];
        left->id = c.joined;
        left->next = right->next;
        right->id = GONE;
        if (left->next >= 0) symbols[left->next].previous = c.position;
        note_candidate(b, symbols, left->previous, q);
        note_candidate(b, symbols, c.position, q);
    }
}

/* A word of n bytes has at most n - 1 pairs at first and 2 new ones for each of n - 1 merges. */
static tt_status scratch_reserve(tt__bpe_scratch *s, size_t n, tt_err *err) {
    if (n <= s->capacity) return TT_OK;
    size_t capacity = s->capacity ? s->capacity : FIRST_SCRATCH_BYTES;
    while (capacity < n) capacity *= 2;
    tt__bpe_scratch_release(s);
    s->symbols = tt_alloc(capacity * sizeof *s->symbols);
    s->heap = tt_alloc(3 * capacity * sizeof *s->heap);
    if (!s->symbols || !s->heap) {
        tt__bpe_scratch_release(s);
        return tt_fail_nomem(err, "merging a word", capacity * sizeof *s->symbols);
    }
    s->capacity = capacity;
    return TT_OK;
}

void tt__bpe_scratch_release(tt__bpe_scratch *s) {
    tt_free(s->symbols);
    tt_free(s->heap);
    *s = (tt__bpe_scratch){0};
}

static int32_t byte_id(const tt__bpe *b, char byte, bool is_last) {
    int32_t id = (is_last ? b->last_ids : b->inner_ids)[(unsigned char)byte];
    return id >= 0 ? id : b->unknown_id;
}

tt_status tt__bpe_encode(const tt__bpe *b, tt__bpe_scratch *scratch, const char *word, size_t n,
                         tt_tokens *out, tt_err *err) {
    if (n > TT_MAX_TOKENIZER_BYTES * 3) /* NFC makes text up to three times as long */
        return tt_fail(err, TT_E_INVALID, "a word of %zu bytes is too long", n);
    TT_TRY(scratch_reserve(scratch, n, err));
    symbol *symbols = scratch->symbols;
    merge_queue queue = {.heap = scratch->heap};
    int32_t last = (int32_t)n - 1;
    for (int32_t i = 0; i <= last; i++)
        symbols[i] = (symbol){byte_id(b, word[i], i == last), i - 1, i < last ? i + 1 : -1};
    for (int32_t i = 0; i < last; i++) note_candidate(b, symbols, i, &queue);
    merge_all(b, symbols, &queue);
    for (int32_t i = 0; i >= 0; i = symbols[i].next)
        TT_TRY(tt__tokens_push(out, symbols[i].id, err));
    return TT_OK;
}

tt_status tt__tokens_push(tt_tokens *tokens, int32_t id, tt_err *err) {
    if (tokens->n >= TT_MAX_TOKENS)
        return tt_fail(err, TT_E_INVALID, "text: more than %d tokens", TT_MAX_TOKENS);
    if (tokens->n == tokens->capacity) {
        size_t capacity = tokens->capacity ? 2 * tokens->capacity : FIRST_TOKENS;
        int32_t *ids = tt_realloc(tokens->ids, capacity * sizeof *ids);
        if (!ids) return tt_fail_nomem(err, "token ids", capacity * sizeof *ids);
        tokens->ids = ids;
        tokens->capacity = capacity;
    }
    tokens->ids[tokens->n++] = id;
    return TT_OK;
}
