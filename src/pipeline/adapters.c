/* Adapters of one request: found, opened, and put on the model before its texts are encoded.
 *
 * Their order is the request's, then the prompts' tags (prompt, second prompt, negative prompt, its second). The same file twice
 * is two uses. One whose scales are all 0 is opened and reported, and changes nothing. What making the set costs, and that a
 * failure leaves the set that was there, is told in nn/loader_adapters.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "pipeline/parts.h"

enum {
    MAX_KEPT = 8,      /* files that stay open: a descriptor and a table of names each */
    PATH_BYTES = 4096, /* Linux' PATH_MAX */
    NUMBER_BYTES = 32, /* a scale in decimal */
    PART_BYTES = 16,   /* the longest is "out11" */
};

/* ---- files ------------------------------------------------------------------------------------------ */

static tt_status open_adapter(const void *context, const char *path, void **out, tt_err *err) {
    const tt_engine *e = context;
    tt_adapter *adapter;
    TT_TRY(tt_adapter_open(path, e->checkpoint, &adapter, err));
    *out = adapter;
    return TT_OK;
}

static void close_adapter(void *adapter) {
    tt_adapter_close(adapter);
}

const tt__opened_kind *tt__adapter_files(void) {
    static const tt__opened_kind kind = {.what = "cannot read the adapter",
                                         .open = open_adapter,
                                         .close = close_adapter,
                                         .max_kept = MAX_KEPT,
                                         .max_bytes = UINT64_MAX};
    return &kind;
}

/* ---- parts ------------------------------------------------------------------------------------------ */

static bool parse_number(const char *text, size_t size, float *out) {
    char copy[NUMBER_BYTES + 1] = {0}, *end;
    if (size == 0 || size > NUMBER_BYTES || strspn(text, "+-.0123456789eE") < size) return false;
    memcpy(copy, text, size);
    *out = strtof(copy, &end);
    return *end == '\0' && isfinite(*out);
}

static void trim(const char **text, size_t *size) {
    while (*size && **text == ' ') ++*text, --*size;
    while (*size && (*text)[*size - 1] == ' ') --*size;
}

/* "in04=0.5" */
static tt_status set_part(tt_adapter_strength *s, const char *text, size_t size, tt_err *err) {
    const char *equals = memchr(text, '=', size), *name = text;
    size_t name_size = equals ? (size_t)(equals - text) : 0;
    const char *value = equals ? equals + 1 : text;
    size_t value_size = equals ? size - name_size - 1 : 0;
    char part[PART_BYTES + 1] = {0};
    float number = 0;
    trim(&name, &name_size);
    trim(&value, &value_size);
    if (!equals || name_size == 0 || name_size > PART_BYTES ||
        !parse_number(value, value_size, &number))
        return tt_fail(err, TT_E_INVALID,
                       "parts: expected name=number like unet=0.8, found \"%.*s\"",
                       (int)(size < 40 ? size : 40), text);
    memcpy(part, name, name_size);
    return tt_adapter_strength_set(s, part, number, err);
}

static tt_status read_strength(const tt_request_adapter *a, tt_adapter_strength *out, tt_err *err) {
    *out = tt_adapter_strength_all(a->scale);
    for (const char *at = a->parts; at && *at;) {
        size_t size = strcspn(at, ",");
        TT_TRY(set_part(out, at, size, err));
        at += size + (at[size] == ',');
    }
    return tt_adapter_strength_check(out, err);
}

/* ---- checks ----------------------------------------------------------------------------------------- */

tt_status tt__check_adapters(const tt_request *r, tt_err *err) {
    if (r->n_adapters < 0 || r->n_adapters > TT_MAX_REQUEST_ADAPTERS)
        return tt_fail(err, TT_E_INVALID, "adapters: expected 0 to %d, found %d",
                       TT_MAX_REQUEST_ADAPTERS, r->n_adapters);
    if (r->n_adapters > 0 && !r->adapters)
        return tt_fail(err, TT_E_INVALID, "adapters: %d are counted and none is given",
                       r->n_adapters);
    for (int i = 0; i < r->n_adapters; i++) {
        const tt_request_adapter *a = &r->adapters[i];
        tt_adapter_strength strength;
        if (!a->path || !a->path[0])
            return tt_fail(err, TT_E_INVALID, "adapter %d: a path is missing", i + 1);
        tt_status status = read_strength(a, &strength, err);
        if (status != TT_OK) return tt_fail_prefix(err, status, "adapter %d", i + 1);
    }
    return TT_OK;
}

/* ---- the list --------------------------------------------------------------------------------------- */

static bool changes_nothing(const tt_adapter_strength *s) {
    return s->unet == 0 && s->te1 == 0 && s->te2 == 0;
}

/* Text that may be cut to fit, at a character's end. */
static void copy_cut(char *out, size_t size, const char *text) {
    size_t n = strlen(text);
    if (n >= size) n = size - 1;
    while (n && text[n] && ((unsigned char)text[n] & 0xC0) == 0x80) n--; /* inside a character */
    memcpy(out, text, n);
    out[n] = '\0';
}

/* The file's name without its folder and ending. */
static void name_of_path(char *out, size_t size, const char *path) {
    static const char ending[] = ".safetensors";
    const char *slash = strrchr(path, '/');
    copy_cut(out, size, slash ? slash + 1 : path);
    size_t n = strlen(out), suffix = sizeof ending - 1;
    if (n > suffix && strcmp(out + n - suffix, ending) == 0) out[n - suffix] = '\0';
}

static void report_file(tt_result_adapter *row, const tt_adapter_report *report) {
    copy_cut(row->kinds, sizeof row->kinds, report->kinds);
    copy_cut(row->base_model, sizeof row->base_model, report->base_model);
    row->rank_min = report->rank_min;
    row->rank_max = report->rank_max;
    row->n_unet = report->n_modules[0];
    row->n_te1 = report->n_modules[1];
    row->n_te2 = report->n_modules[2];
    row->n_keys = report->n_keys;
    row->n_matched = report->n_matched;
    row->n_unmatched = report->n_unmatched;
    for (int i = 0; i < TT_UNMATCHED_NAMED && i < TT_ADAPTER_UNMATCHED_NAMED; i++)
        if (report->unmatched[i])
            copy_cut(row->unmatched[i], sizeof row->unmatched[i], report->unmatched[i]);
}

/* One more adapter: opened, reported, and among the uses unless it changes nothing. */
static tt_status add_adapter(tt_generation *g, const tt_request_adapter *wanted,
                             const tt_adapter_strength *strength, bool from_prompt, tt_err *err) {
    const tt__opened_file *file;
    TT_TRY(tt__opened_get(&g->engine->adapter_files, g->engine, wanted->path, &file, err));
    tt_result_adapter *row = &g->result->adapters[g->result->n_adapters++];
    *row = (tt_result_adapter){.from_prompt = from_prompt,
                               .unet = strength->unet,
                               .te1 = strength->te1,
                               .te2 = strength->te2};
    if (wanted->name)
        copy_cut(row->name, sizeof row->name, wanted->name);
    else
        name_of_path(row->name, sizeof row->name, wanted->path);
    if (wanted->parts) copy_cut(row->parts, sizeof row->parts, wanted->parts);
    if (strlen(wanted->path) < sizeof row->path)
        copy_cut(row->path, sizeof row->path, wanted->path);
    report_file(row, tt_adapter_get_report(file->thing));
    if (changes_nothing(strength)) return TT_OK;
    if (g->n_uses == TT_MAX_ADAPTER_USES)
        return tt_fail(err, TT_E_INVALID, "adapters: more than %d that change something",
                       TT_MAX_ADAPTER_USES);
    g->uses[g->n_uses++] = (tt_adapter_use){.adapter = file->thing, .strength = *strength};
    return TT_OK;
}

static tt_status add_tag(tt_generation *g, const tt_prompt_lora *lora, tt_err *err) {
    const tt_request *r = g->request;
    char path[PATH_BYTES] = "";
    TT_TRY(r->find_adapter(r->find_adapter_context, lora->name, path, sizeof path, err));
    tt_adapter_strength strength = tt_adapter_strength_all(lora->te);
    strength.unet = lora->unet;
    return add_adapter(g, &(tt_request_adapter){.path = path, .name = lora->name}, &strength, true,
                       err);
}

static size_t count_tags(const tt__words *w) {
    size_t total = 0, n;
    for (int side = 0; side < TT__SIDES; side++)
        for (int i = 0; i < TT_PROMPT_ENCODERS; i++)
            if (w->prompts[side][i]) {
                tt_prompt_loras(w->prompts[side][i], &n);
                total += n;
            }
    return total;
}

static tt_status add_tags(tt_generation *g, tt_err *err) {
    for (int side = TT__SIDES - 1; side >= 0; side--)
        for (int i = 0; i < TT_PROMPT_ENCODERS; i++) {
            if (!g->words.prompts[side][i]) continue;
            size_t n;
            const tt_prompt_lora *loras = tt_prompt_loras(g->words.prompts[side][i], &n);
            for (size_t k = 0; k < n; k++) TT_TRY(add_tag(g, &loras[k], err));
        }
    return TT_OK;
}

static tt_status list_adapters(tt_generation *g, tt_err *err) {
    const tt_request *r = g->request;
    size_t n = (size_t)r->n_adapters + count_tags(&g->words);
    if (n == 0) return TT_OK;
    g->result->adapters = tt_alloc(n * sizeof *g->result->adapters);
    if (!g->result->adapters)
        return tt_fail_nomem(err, "the list of adapters", n * sizeof *g->result->adapters);
    for (int i = 0; i < r->n_adapters; i++) {
        tt_adapter_strength strength;
        TT_TRY(read_strength(&r->adapters[i], &strength, err));
        TT_TRY(add_adapter(g, &r->adapters[i], &strength, false, err));
    }
    return add_tags(g, err);
}

tt_status tt__apply_adapters(tt_generation *g, tt_err *err) {
    int64_t start = tt_clock_us();
    tt_engine *e = g->engine;
    TT_TRY(list_adapters(g, err));
    TT_TRY(tt_adapters_set(e->adapters, g->uses, g->n_uses, err));
    tt__count_weights(e);
    g->result->adapters_were_kept = g->n_uses > 0 && tt_adapters_get_info(e->adapters).was_kept;
    g->result->timings.adapters_ms = (double)(tt_clock_us() - start) / 1000;
    return TT_OK;
}
