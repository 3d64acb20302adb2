/* See loader_adapters.h. A set is one row of pointers, one per job of the recipe: NULL where the loaded weight stays.
 *
 *     slot of job j  =  in use ? in_use->weights[j] : loaded[j]
 *
 * Making a set is loading once more, only for the jobs that it touches and with the adapters applied between reading and
 * packing: where they are plain LoRA in pieces of rows, so that f32 exists only in the cache. Then the product of the factors
 * and the clearing of fresh memory are the largest costs. Nothing is kept unpacked: a copy of the base in f32 would be twice
 * the model. Bytes are counted as numbers times their width; back-ends may pad a little. */
#include "nn/loader_adapters.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/memory.h"
#include "nn/loader_parts.h"

enum { DEFAULT_SETS = 3 };
/* At least two sets that change every matrix of SDXL's attentions, in bf16; one that changes all its matrices has 6 GB. */
#define LEAST_BYTES (4 * TT_GIB)

/* What makes two sets the same. Compared as bytes: zeroed before it is filled. */
typedef struct set_key {
    int n;
    struct {
        tt_adapter_identity file;
        tt_adapter_strength strength;
    } uses[TT_MAX_ADAPTER_USES];
} set_key;

typedef struct adapted_set {
    struct adapted_set *next; /* used before this one */
    set_key key;
    tt_weight **weights; /* owned, and what they point to: [n_jobs] */
    int n_weights;
    size_t bytes;
} adapted_set;

struct tt_adapters {
    const tt_loader *recipe; /* borrowed */
    tt_adapters_options options;
    tt__job **jobs; /* owned list of borrowed jobs */
    int n_jobs;
    tt_weight **loaded;  /* owned list: what the slots held; the weights are the networks' */
    adapted_set *in_use; /* owned; NULL: the model as loaded */
    adapted_set *kept;   /* owned list, most recently used first */
    tt_adapters_info info;
};

void tt_adapters_options_defaults(tt_adapters_options *options) {
    uint64_t left = tt_memory_available_bytes(NULL),
             half = left == TT_MEMORY_UNKNOWN ? 0 : left / 2;
    size_t bytes = half > LEAST_BYTES ? (size_t)half : LEAST_BYTES;
    *options = (tt_adapters_options){.max_sets = DEFAULT_SETS, .max_bytes = bytes};
}

tt_adapters_info tt_adapters_get_info(const tt_adapters *a) {
    return a->info;
}

/* ---- sets ------------------------------------------------------------------------------------------- */

static void free_set(const tt_adapters *a, adapted_set *set) {
    if (!set) return;
    for (int i = 0; set->weights && i < a->n_jobs; i++)
        tt_weight_free(a->jobs[i]->ops, set->weights[i]);
    tt_free(set->weights);
    tt_free(set);
}

static tt_status new_set(const tt_adapters *a, const set_key *key, adapted_set **out, tt_err *err) {
    adapted_set *set = *out = tt_alloc(sizeof *set);
    if (set) set->weights = tt_alloc((size_t)a->n_jobs * sizeof *set->weights);
    if (!set || !set->weights) {
        free_set(a, set);
        return tt_fail_nomem(err, "a set of adapters", (size_t)a->n_jobs * sizeof *set->weights);
    }
    set->key = *key;
    return TT_OK;
}

static void count_kept(tt_adapters *a) {
    a->info.n_kept = 0;
    a->info.kept_bytes = 0;
    for (const adapted_set *s = a->kept; s; s = s->next) {
        a->info.n_kept++;
        a->info.kept_bytes += s->bytes;
    }
}

/* Drops what was used longest ago until the rest, and `more` when it joins them (may be NULL), is within the limits. */
static void trim_kept(tt_adapters *a, const adapted_set *more) {
    size_t bytes = more ? more->bytes : 0;
    int n = more ? 1 : 0;
    adapted_set **at = &a->kept;
    while (*at && n < a->options.max_sets && bytes <= a->options.max_bytes &&
           (*at)->bytes <= a->options.max_bytes - bytes) {
        bytes += (*at)->bytes;
        n++;
        at = &(*at)->next;
    }
    for (adapted_set *set = *at, *next; set; set = next) {
        next = set->next;
        free_set(a, set);
    }
    *at = NULL;
    count_kept(a);
}

static void fill_slots(const tt_adapters *a) {
    for (int i = 0; i < a->n_jobs; i++) {
        tt_weight *own = a->in_use ? a->in_use->weights[i] : NULL;
        *a->jobs[i]->slot = own ? own : a->loaded[i];
    }
}

/* The set in use becomes a kept one, and `set` (owned from here; NULL: the model as loaded) is in use. */
static void use_set(tt_adapters *a, adapted_set *set) {
    if (a->in_use) {
        a->in_use->next = a->kept;
        a->kept = a->in_use;
    }
    a->in_use = set;
    fill_slots(a);
    trim_kept(a, NULL);
    a->info.n_uses = set ? set->key.n : 0;
    a->info.n_weights = set ? set->n_weights : 0;
    a->info.used_bytes = set ? set->bytes : 0;
}

/* Takes the set out of the kept ones; NULL: not there. */
static adapted_set *take_kept(tt_adapters *a, const set_key *key) {
    for (adapted_set **at = &a->kept; *at; at = &(*at)->next) {
        adapted_set *set = *at;
        if (memcmp(&set->key, key, sizeof *key) != 0) continue;
        *at = set->next;
        set->next = NULL;
        return set;
    }
    return NULL;
}

/* ---- which jobs ------------------------------------------------------------------------------------- */

typedef struct adapting {
    const tt_adapters *a;
    const tt_adapter_use *uses[TT_MAX_ADAPTER_USES]; /* those that change something */
    int n_uses;
    adapted_set *set;
    int *touched; /* owned: numbers of jobs */
    int n_touched;
} adapting;

static bool is_touched(const adapting *w, const char *module, const char *leaf) {
    char name[TT_NAME_BYTES];
    tt_name(name, "%s.%s", module, leaf);
    for (int i = 0; i < w->n_uses; i++)
        if (tt_adapter_touches(w->uses[i]->adapter, name, &w->uses[i]->strength)) return true;
    return false;
}

static bool touches_bias(const adapting *w, const tt__job *job) {
    for (int i = 0; job->kind != TT__JOB_EMBEDDING && i < job->n_names; i++)
        if (is_touched(w, job->names[i], "bias")) return true;
    return false;
}

static bool touches_job(const adapting *w, const tt__job *job) {
    for (int i = 0; i < job->n_names; i++)
        if (is_touched(w, job->names[i], "weight")) return true;
    return touches_bias(w, job);
}

static tt_status find_touched(adapting *w, tt_err *err) {
    const tt_adapters *a = w->a;
    w->touched = tt_alloc((size_t)a->n_jobs * sizeof *w->touched);
    if (!w->touched) return tt_fail_nomem(err, "the list of tensors", (size_t)a->n_jobs);
    for (int i = 0; i < a->n_jobs; i++) {
        const tt__job *job = a->jobs[i];
        if (!touches_job(w, job)) continue;
        size_t count;
        TT_TRY(tt__job_count(job, &count, err));
        w->set->bytes += tt__job_kept_bytes(job, count) + (size_t)job->n_out * sizeof(float);
        w->set->n_weights++;
        w->touched[w->n_touched++] = i;
    }
    return TT_OK;
}

/* ---- making one weight ------------------------------------------------------------------------------ */

typedef struct blocks { /* one thread's memory */
    tt__block piece, weight, bias;
} blocks;

/* Numbers (in f32) of a piece: with the factors' rows that go with it, within the second-level cache. */
enum { PIECE_NUMBERS = 128 << 10, PIECE_ROWS = 24 /* a multiple of the product's tiles */ };

/* A number is not finite when all its exponent bits are set. */
static bool all_finite(const float *values, size_t n) {
    const uint32_t exponent = 0x7f800000u;
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return !bad;
}

static tt_status fail_not_finite(const adapting *w, const char *name, tt_err *err) {
    return tt_fail(err, TT_E_FORMAT,
                   "with lora %s tensor %s is not finite: the adapter does not fit this model, or "
                   "its strength is too large",
                   tt_adapter_get_report(w->uses[0]->adapter)->name, name);
}

/* One tensor from the checkpoint (zeros: a bias that it does not have), with all adapters applied. */
static tt_status read_adapted(const adapting *w, const char *name, float *out, size_t n,
                              tt_err *err) {
    const tt_checkpoint *c = w->a->recipe->checkpoint;
    if (tt_checkpoint_has(c, name))
        TT_TRY(tt_checkpoint_read(c, name, TT_F32, -1, NULL, out, err));
    else
        memset(out, 0, n * sizeof *out);
    for (int i = 0; i < w->n_uses; i++)
        TT_TRY(tt_adapter_apply(w->uses[i]->adapter, name, &w->uses[i]->strength, out, n, err));
    return all_finite(out, n) ? TT_OK : fail_not_finite(w, name, err);
}

/* One tensor on its way into the back-end's format. */
typedef struct tensor {
    char name[TT_NAME_BYTES];
    int64_t rows, columns;
    tt_dtype dtype;
    char *out;
} tensor;

static size_t row_bytes(const tensor *t) {
    return (size_t)t->columns * tt_dtype_size(t->dtype);
}

static bool goes_by_rows(const adapting *w, const tensor *t) {
    for (int i = 0; i < w->n_uses; i++)
        if (!tt_adapter_goes_by_rows(w->uses[i]->adapter, t->name, &w->uses[i]->strength))
            return false;
    return true;
}

static void close_rows(tt_adapter_rows **rows, int n) {
    for (int i = 0; i < n; i++) tt_adapter_rows_close(rows[i]);
}

static tt_status open_rows(const adapting *w, const tensor *t, tt_adapter_rows **rows,
                           tt_err *err) {
    for (int i = 0; i < w->n_uses; i++) {
        const tt_adapter_use *use = w->uses[i];
        tt_status status = tt_adapter_rows_open(use->adapter, t->name, &use->strength, t->rows,
                                                t->columns, &rows[i], err);
        if (status == TT_OK) continue;
        close_rows(rows, i);
        return status;
    }
    return TT_OK;
}

/* In f32 straight to its place, else through `space`. */
static tt_status make_piece(const adapting *w, const tensor *t, tt_adapter_rows *const *rows,
                            int64_t first, int64_t n, float *space, tt_err *err) {
    char *out = t->out + (size_t)first * row_bytes(t);
    float *values = t->dtype == TT_F32 ? (float *)(void *)out : space;
    size_t count = (size_t)(n * t->columns);
    TT_TRY(
        tt_checkpoint_read_rows(w->a->recipe->checkpoint, t->name, TT_F32, first, n, values, err));
    for (int i = 0; i < w->n_uses; i++) tt_adapter_rows_apply(rows[i], first, n, values);
    if (!all_finite(values, count)) return fail_not_finite(w, t->name, err);
    if (t->dtype != TT_F32) tt_convert(out, t->dtype, values, TT_F32, count);
    return TT_OK;
}

/* What one piece needs stays in the cache from its reading to its rounding. */
static tt_status make_by_rows(const adapting *w, const tensor *t, tt__block *space, tt_err *err) {
    tt_adapter_rows *rows[TT_MAX_ADAPTER_USES];
    int64_t step = PIECE_NUMBERS / t->columns / PIECE_ROWS * PIECE_ROWS;
    if (step < PIECE_ROWS) step = PIECE_ROWS;
    if (step > t->rows) step = t->rows;
    TT_TRY(tt__block_reserve(space, (size_t)(step * t->columns) * sizeof(float), err));
    TT_TRY(open_rows(w, t, rows, err));
    tt_status status = TT_OK;
    for (int64_t i = 0; status == TT_OK && i < t->rows; i += step) {
        int64_t n = t->rows - i < step ? t->rows - i : step;
        status = make_piece(w, t, rows, i, n, space->data, err);
    }
    close_rows(rows, w->n_uses);
    return status;
}

static tt_status make_whole(const adapting *w, const tensor *t, tt__block *space, tt_err *err) {
    size_t count = (size_t)(t->rows * t->columns);
    if (t->dtype == TT_F32) return read_adapted(w, t->name, (float *)(void *)t->out, count, err);
    TT_TRY(tt__block_reserve(space, count * sizeof(float), err));
    TT_TRY(read_adapted(w, t->name, space->data, count, err));
    tt_convert(t->out, t->dtype, space->data, TT_F32, count);
    return TT_OK;
}

static tt_status read_job(const adapting *w, const tt__job *job, bool has_bias, blocks *b,
                          tt_err *err) {
    size_t count;
    TT_TRY(tt__job_count(job, &count, err));
    tensor t = {.dtype = tt__job_dtype(job), .columns = (int64_t)count / job->n_out};
    TT_TRY(tt__block_reserve(&b->weight, count * tt_dtype_size(t.dtype), err));
    TT_TRY(tt__block_reserve(&b->bias, (size_t)job->n_out * sizeof(float), err));
    t.out = b->weight.data;
    float *bias = b->bias.data;
    for (int i = 0; i < job->n_names; i++) {
        tt_tensor_info info;
        tt_name(t.name, "%s.weight", job->names[i]);
        TT_TRY(tt_checkpoint_info(w->a->recipe->checkpoint, t.name, &info, err));
        t.rows = info.shape[0];
        TT_TRY(goes_by_rows(w, &t) ? make_by_rows(w, &t, &b->piece, err)
                                   : make_whole(w, &t, &b->piece, err));
        t.out += (size_t)t.rows * row_bytes(&t);
        tt_name(t.name, "%s.bias", job->names[i]);
        if (has_bias) TT_TRY(read_adapted(w, t.name, bias, (size_t)t.rows, err));
        bias += t.rows;
    }
    return TT_OK;
}

static tt_status adapt_job(const adapting *w, int number, blocks *b, tt_err *err) {
    const tt__job *job = w->a->jobs[number];
    bool has_bias = job->has_bias || touches_bias(w, job);
    TT_TRY(read_job(w, job, has_bias, b, err));
    return tt__job_pack(job, b->weight.data, has_bias ? b->bias.data : NULL,
                        &w->set->weights[number], err);
}

static tt_status adapt_all(const adapting *w, tt_err *err) {
    tt_err first_error = {0};
    atomic_int status = TT_OK;
#pragma omp parallel num_threads(tt_ops_threads(w->a->jobs[0]->ops))
    {
        blocks t = {0};
#pragma omp for schedule(dynamic)
        for (int i = 0; i < w->n_touched; i++) {
            tt_err own;
            if (atomic_load(&status) != TT_OK) continue;
            tt_status s = adapt_job(w, w->touched[i], &t, &own);
            if (s == TT_OK) continue;
            int none = TT_OK;
            if (atomic_compare_exchange_strong(&status, &none, (int)s)) first_error = own;
        }
        tt_free(t.piece.data);
        tt_free(t.weight.data);
        tt_free(t.bias.data);
    }
    if (atomic_load(&status) != TT_OK && err) *err = first_error;
    return (tt_status)atomic_load(&status);
}

/* ---- switching -------------------------------------------------------------------------------------- */

static tt_status make_set(const adapting *wanted, const set_key *key, adapted_set **out,
                          tt_err *err) {
    adapting w = *wanted;
    TT_TRY(new_set(w.a, key, &w.set, err));
    tt_status status = find_touched(&w, err);
    if (status == TT_OK) status = adapt_all(&w, err);
    tt_free(w.touched);
    *out = status == TT_OK ? w.set : NULL;
    if (status != TT_OK) free_set(w.a, w.set);
    return status;
}

static void recycle(const tt_adapters *a, void (*call)(tt_ops *)) {
    for (int i = 0; i < a->n_jobs; i++)
        if (i == 0 || a->jobs[i]->ops != a->jobs[i - 1]->ops) call(a->jobs[i]->ops);
}

/* A new set, in the memory of those that have to go for it: before it is made, so that the peak is bounded. */
static tt_status replace_oldest(tt_adapters *a, const adapting *wanted, const set_key *key,
                                adapted_set **out, tt_err *err) {
    recycle(a, tt_ops_recycle_begin);
    trim_kept(a, a->in_use);
    tt_status status = make_set(wanted, key, out, err);
    recycle(a, tt_ops_recycle_end);
    return status;
}

static bool changes_nothing(const tt_adapter_strength *s) {
    return s->unet == 0.0f && s->te1 == 0.0f && s->te2 == 0.0f;
}

static tt_status collect(adapting *w, set_key *key, const tt_adapter_use *uses, int n_uses,
                         tt_err *err) {
    memset(key, 0, sizeof *key);
    if (n_uses < 0 || n_uses > TT_MAX_ADAPTER_USES)
        return tt_fail(err, TT_E_INVALID, "%d LoRAs at once, the limit is %d", n_uses,
                       TT_MAX_ADAPTER_USES);
    for (int i = 0; i < n_uses; i++) {
        TT_TRY(tt_adapter_strength_check(&uses[i].strength, err));
        if (changes_nothing(&uses[i].strength)) continue;
        w->uses[w->n_uses++] = &uses[i];
        key->uses[key->n].file = tt_adapter_get_identity(uses[i].adapter);
        key->uses[key->n++].strength = uses[i].strength;
    }
    return TT_OK;
}

tt_status tt_adapters_set(tt_adapters *a, const tt_adapter_use *uses, int n_uses, tt_err *err) {
    int64_t start = tt_clock_us();
    adapting w = {.a = a};
    set_key key;
    TT_TRY(collect(&w, &key, uses, n_uses, err));
    bool is_same = a->in_use ? memcmp(&a->in_use->key, &key, sizeof key) == 0 : key.n == 0;
    adapted_set *set = is_same || key.n == 0 ? NULL : take_kept(a, &key);
    bool is_new = !is_same && key.n > 0 && !set;
    if (is_new) TT_TRY(replace_oldest(a, &w, &key, &set, err));
    if (!is_same) use_set(a, set);
    a->info.was_kept = !is_new;
    a->info.ms = (double)(tt_clock_us() - start) / 1000;
    return TT_OK;
}

/* ---- from and back to the loaded model -------------------------------------------------------------- */

static tt_status remember_loaded(tt_adapters *a, tt_err *err) {
    a->loaded = tt_alloc((size_t)a->n_jobs * sizeof *a->loaded);
    if (!a->loaded) return tt_fail_nomem(err, "the list of weights", (size_t)a->n_jobs);
    for (int i = 0; i < a->n_jobs; i++) {
        a->loaded[i] = *a->jobs[i]->slot;
        if (!a->loaded[i])
            return tt_fail(err, TT_E_INTERNAL, "adapters on a model that is not loaded");
    }
    return TT_OK;
}

tt_status tt_adapters_new(const tt_loader *recipe, const tt_adapters_options *options,
                          tt_adapters **out, tt_err *err) {
    *out = NULL;
    if (recipe->n_jobs == 0) return tt_fail(err, TT_E_INTERNAL, "adapters on an empty recipe");
    tt_adapters *a = tt_alloc(sizeof *a);
    if (!a) return tt_fail_nomem(err, "adapters", sizeof *a);
    a->recipe = recipe;
    a->options = *options;
    a->n_jobs = recipe->n_jobs;
    tt_status status = tt__loader_jobs(recipe, &a->jobs, err);
    if (status == TT_OK) status = remember_loaded(a, err);
    if (status == TT_OK) {
        *out = a;
        return TT_OK;
    }
    tt_free(a->loaded);
    tt_free(a->jobs);
    tt_free(a);
    return status;
}

void tt_adapters_free(tt_adapters *a) {
    if (!a) return;
    free_set(a, a->in_use);
    a->in_use = NULL;
    fill_slots(a);
    a->options.max_sets = 0;
    trim_kept(a, NULL);
    tt_free(a->loaded);
    tt_free(a->jobs);
    tt_free(a);
}
