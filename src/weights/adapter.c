/* Opening an adapter: names, matching, checking, reporting. The table of aliases (some 6,000 short texts for SDXL) is made
 * anew for each file and dropped again: it takes a few milliseconds, which is less than keeping it would cost in rules about
 * who owns it. No weights are read here; the numbers come from the page cache when they are applied. */
#include "weights/adapter.h"

#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "weights/adapter_parts.h"

enum { FIRST_ENTRIES = 256, CHUNK_ELEMENTS = 16384 /* 128 KiB of f64, the widest */ };
/* 65536 keys of 512 bytes, and the model's own names in all spellings. */
#define ADAPTER_ARENA_BYTES (128 * TT_MIB)

tt_status tt__adapter_reserve(void **array, size_t *capacity, size_t count, size_t entry_bytes,
                              tt_err *err) {
    if (count < *capacity) return TT_OK;
    size_t wanted = *capacity ? 2 * *capacity : FIRST_ENTRIES;
    void *larger = tt_realloc(*array, wanted * entry_bytes);
    if (!larger) return tt_fail_nomem(err, "an adapter's modules", wanted * entry_bytes);
    *array = larger;
    *capacity = wanted;
    return TT_OK;
}

/* ---- numbers of a part ------------------------------------------------------------------------------ */

size_t tt__tensor_count(const tt_st_tensor *t) {
    return (size_t)(t->size / tt_dtype_size(t->info.dtype));
}

tt_status tt__values_new(tt__values *v, size_t n, tt_err *err) {
    size_t bytes;
    if (!tt_mul_size(n, sizeof *v->data, &bytes)) return tt_fail_nomem(err, "an adapter", SIZE_MAX);
    v->data = tt_alloc_aligned(bytes);
    v->n = n;
    return v->data ? TT_OK : tt_fail_nomem(err, "an adapter", bytes);
}

void tt__values_release(tt__values *v) {
    tt_free(v->data);
    *v = (tt__values){0};
}

static tt_status check_finite(const tt_adapter *a, const tt_st_tensor *t, const float *v, size_t n,
                              tt_err *err) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u)
            return tt_fail(err, TT_E_FORMAT, "lora %s: tensor %s: element %zu is not finite",
                           a->report.name, t->name, i);
    }
    return TT_OK;
}

static tt_status read_chunks(const tt_adapter *a, const tt_st_tensor *t, size_t first, float *out,
                             size_t n, void *chunk, tt_err *err) {
    size_t width = tt_dtype_size(t->info.dtype);
    for (size_t at = 0; at < n; at += CHUNK_ELEMENTS) {
        size_t m = n - at < CHUNK_ELEMENTS ? n - at : CHUNK_ELEMENTS;
        TT_TRY(tt_safetensors_read(a->file, t, (first + at) * width, chunk, m * width, err));
        tt_convert(out + at, TT_F32, chunk, t->info.dtype, m);
    }
    return TT_OK;
}

tt_status tt__values_read(tt__values *v, const tt_adapter *a, const tt_st_tensor *t, size_t first,
                          size_t n, tt_err *err) {
    size_t width = tt_dtype_size(t->info.dtype);
    void *chunk = tt_alloc_aligned((n < CHUNK_ELEMENTS ? n : CHUNK_ELEMENTS) * width);
    tt_status status = chunk ? tt__values_new(v, n, err)
                             : tt_fail_nomem(err, "an adapter", CHUNK_ELEMENTS * width);
    if (status == TT_OK) status = read_chunks(a, t, first, v->data, n, chunk, err);
    if (status == TT_OK) status = check_finite(a, t, v->data, n, err);
    tt_free(chunk);
    if (status != TT_OK) tt__values_release(v);
    return status;
}

/* ---- the report ------------------------------------------------------------------------------------- */

static const char *const kind_names[TT__N_KINDS] = {
    [TT__NO_KIND] = "bias", [TT__LORA] = "LoRA",    [TT__LOHA] = "LoHa", [TT__LOKR] = "LoKr",
    [TT__GLORA] = "GLoRA",  [TT__IA3_KIND] = "IA3", [TT__OFT] = "OFT",   [TT__BOFT] = "BOFT",
    [TT__FULL] = "full",    [TT__SET] = "set",
};

static void name_kind(tt_adapter_report *r, const char *name) {
    size_t n = strlen(r->kinds);
    snprintf(r->kinds + n, sizeof r->kinds - n, "%s%s", n ? ", " : "", name);
}

static bool is_changed(const tt_adapter *a, const tt__module *m) {
    for (int i = 0; i < m->n_patches; i++)
        if (!tt__patch_is_empty(&a->patches[m->patches[i]])) return true;
    return false;
}

static void report_patches(tt_adapter *a) {
    tt_adapter_report *r = &a->report;
    bool seen[TT__N_KINDS] = {0}, has_dora = false;
    for (size_t i = 0; i < a->n_patches; i++) {
        const tt__patch *p = &a->patches[i];
        if (tt__patch_is_empty(p)) continue;
        seen[p->kind] = true;
        has_dora = has_dora || p->parts[TT__DORA_SCALE] || p->parts[TT__MAGNITUDE];
        if (p->rank && (r->rank_min == 0 || p->rank < r->rank_min)) r->rank_min = p->rank;
        if (p->rank > r->rank_max) r->rank_max = p->rank;
    }
    if (has_dora) name_kind(r, "DoRA");
    for (int k = 1; k < TT__N_KINDS; k++)
        if (seen[k]) name_kind(r, kind_names[k]);
    if (!r->kinds[0]) name_kind(r, kind_names[TT__NO_KIND]);
    for (size_t i = 0; i < a->n_modules; i++)
        if (is_changed(a, &a->modules[i])) r->n_modules[a->modules[i].network]++;
}

const tt_adapter_report *tt_adapter_get_report(const tt_adapter *a) {
    return &a->report;
}

tt_adapter_identity tt_adapter_get_identity(const tt_adapter *a) {
    return a->identity;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static tt_status identify(tt_adapter *a, const char *path, tt_err *err) {
    struct stat st;
    const uint64_t ns_per_s = 1000000000;
    if (stat(path, &st) != 0) return tt_fail_errno(err, "cannot read", path);
    a->identity = (tt_adapter_identity){
        (uint64_t)st.st_dev, (uint64_t)st.st_ino, (uint64_t)st.st_size,
        (uint64_t)st.st_mtim.tv_sec * ns_per_s + (uint64_t)st.st_mtim.tv_nsec};
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    a->report.name = tt_arena_strndup(&a->arena, name, strlen(name));
    return a->report.name ? TT_OK : tt_fail_nomem(err, "an adapter's name", strlen(name));
}

static tt_status match_keys(tt_adapter *a, tt_err *err) {
    tt__aliases aliases = {0};
    tt_status status = tt__aliases_make(&aliases, a, err);
    if (status == TT_OK) status = tt__adapter_refuse_family(a, err);
    if (status == TT_OK) status = tt__adapter_read_keys(a, &aliases, err);
    tt__aliases_release(&aliases);
    return status == TT_OK ? tt__adapter_refuse_unmatched(a, err) : status;
}

/* The parts of a patch that changes nothing match nothing. */
static void count_unmatched(tt_adapter *a, const tt__patch *p) {
    tt_adapter_report *r = &a->report;
    for (int i = 0; i < TT__N_PARTS; i++) {
        if (!p->parts[i]) continue;
        r->n_matched--;
        if (r->n_unmatched++ < TT_ADAPTER_UNMATCHED_NAMED)
            r->unmatched[r->n_unmatched - 1] = p->parts[i]->name;
    }
}

static tt_status check_patches(tt_adapter *a, tt_err *err) {
    tt__alphas alphas = {0};
    tt_status status = tt__alphas_read(&alphas, a, err);
    for (size_t i = 0; status == TT_OK && i < a->n_patches; i++) {
        tt__patch *p = &a->patches[i];
        status = tt__patch_check(a, p, err);
        if (status == TT_OK) status = tt__alphas_scale(&alphas, a, p, &p->scale, err);
        if (status == TT_OK && tt__patch_is_empty(p)) count_unmatched(a, p);
    }
    tt__alphas_release(&alphas);
    return status == TT_OK ? tt__adapter_refuse_unmatched(a, err) : status;
}

static tt_status open_adapter(tt_adapter *a, const char *path, tt_err *err) {
    TT_TRY(identify(a, path, err));
    TT_TRY(tt_safetensors_open(path, TT_ST_PREAD, &a->file, err));
    tt__adapter_find_base_model(a);
    TT_TRY(match_keys(a, err));
    tt_status status = check_patches(a, err);
    if (status == TT_E_FORMAT) TT_TRY(tt__adapter_refuse_stated(a, err));
    if (status == TT_OK) report_patches(a);
    return status;
}

tt_status tt_adapter_open(const char *path, const tt_checkpoint *checkpoint, tt_adapter **out,
                          tt_err *err) {
    *out = NULL;
    tt_adapter *a = tt_alloc(sizeof *a);
    if (!a) return tt_fail_nomem(err, "an adapter", sizeof *a);
    a->checkpoint = checkpoint;
    tt_arena_init(&a->arena, ADAPTER_ARENA_BYTES);
    tt_status status = open_adapter(a, path, err);
    if (status != TT_OK) {
        tt_adapter_close(a);
        return status;
    }
    *out = a;
    return TT_OK;
}

void tt_adapter_close(tt_adapter *a) {
    if (!a) return;
    tt_safetensors_close(a->file);
    tt__names_release(&a->stems);
    tt_arena_release(&a->arena);
    tt_free(a->modules);
    tt_free(a->patches);
    tt_free(a);
}
