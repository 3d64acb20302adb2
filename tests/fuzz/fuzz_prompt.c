/* Prompts of any bytes. The first byte says the syntax and whether the rest is bytes as they stand or letters of the syntaxes'
 * own signs, which reach deeper; the second how many steps. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "text/chunks.h"
#include "text/prompt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { POSITIONS = 77, SIGNS_BYTES = 4096, MOST_STEPS = 40 };

static tt_tokenizer *clip; /* opened by the first input, for the whole run */

static void check(int condition) {
    if (!condition) abort();
}

/* What holds for every text that is accepted. */
static void check_segments(const tt_segments *s) {
    size_t at = 0, bad_at;
    for (size_t i = 0; i < s->n; i++) {
        check(s->items[i].begin == at);
        check(fabs(s->items[i].weight) <= TT_MAX_PROMPT_WEIGHT);
        check(!s->items[i].is_break || s->items[i].size == 0);
        at += s->items[i].size;
    }
    check(s->n >= 1 && at == s->text.size);
    check(tt_utf8_is_valid(s->text.data, s->text.size, &bad_at));
}

static void check_chunks(const tt_chunks *c) {
    size_t n_used = 0;
    for (int i = 0; i < c->n; i++) {
        size_t first = (size_t)i * POSITIONS;
        check(c->n_used[i] <= POSITIONS - 2);
        check(c->ids[first] == tt_tokenizer_bos_id(clip));
        check(c->ids[first + (size_t)c->n_used[i] + 1] == tt_tokenizer_eos_id(clip));
        for (size_t j = first; j < first + POSITIONS; j++)
            check(c->ids[j] >= 0 && c->ids[j] < tt_tokenizer_size(clip) && isfinite(c->weights[j]));
        n_used += (size_t)c->n_used[i];
    }
    check(n_used + c->n_cut == c->n_tokens);
}

static void encode(const char *text, size_t size, tt_prompt_syntax syntax) {
    tt_segments segments;
    tt_chunks chunks = {0};
    tt_chunk_options options = tt_chunk_options_for(syntax);
    options.n_positions = POSITIONS;
    options.pad_id = 0;
    if (tt_segments_parse(text, size, syntax, &segments, NULL) == TT_OK) {
        check_segments(&segments);
        if (tt_chunks_build(clip, &segments, &options, &chunks, NULL) == TT_OK)
            check_chunks(&chunks);
        tt_chunks_release(&chunks);
    }
    tt_segments_release(&segments);
}

static void schedule(const char *text, size_t size, tt_prompt_syntax syntax, int n_steps) {
    tt_prompt *p;
    tt_prompt_schedule s;
    if (tt_prompt_open(text, size, syntax, &p, NULL) != TT_OK) return;
    const tt_prompt *const prompts[] = {p, NULL};
    if (tt_prompt_schedule_init(&s, prompts, n_steps, NULL) == TT_OK) {
        for (int i = 0; i < n_steps; i++)
            check(s.variant_of_step[i] >= 0 && s.variant_of_step[i] < s.n_variants);
        for (int v = 0; v < s.n_variants; v++) {
            check(s.texts[v][0].size <= size);
            encode(s.texts[v][0].data, s.texts[v][0].size, syntax);
        }
        tt_prompt_schedule_release(&s);
    }
    tt_prompt_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char signs[] = "(([[))]]::||\\\\,.1- +\"a bc<lora:>";
    char text[SIGNS_BYTES];
    if (size < 2) return 0;
    if (!clip) check(tt_tokenizer_open(&clip, NULL) == TT_OK);
    tt_prompt_syntax syntax = (tt_prompt_syntax)(data[0] % TT_PROMPT_SYNTAXES);
    int n_steps = 1 + data[1] % MOST_STEPS;
    size_t n = size - 2;
    if (data[0] < 128) {
        schedule((const char *)data + 2, n, syntax, n_steps);
        return 0;
    }
    if (n > sizeof text) n = sizeof text;
    for (size_t i = 0; i < n; i++) text[i] = signs[data[i + 2] % (sizeof signs - 1)];
    schedule(text, n, syntax, n_steps);
    return 0;
}
