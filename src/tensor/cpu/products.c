/* Matrix products and convolutions of the CPU back-end: bf16 by kernels of our own (gemm.h) where the CPU multiplies bf16, all
 * else by oneDNN. A weight says by whom it was packed: `packed` is oneDNN's description.
 *
 * oneDNN packs a weight once, in the layout it prefers for a middle-sized problem; primitives for
 * the sizes that occur are described at first use (in rehearsal), compiled before they run, and kept in a table
 * keyed by everything that went into them. A 1x1 convolution without stride or padding is a matrix product in NHWC, and
 * is packed as one. */
#include <string.h>

#include "base/alloc.h"
#include "tensor/cpu/cpu.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/int8.h"

/* The problem size for which layouts are chosen: rows of a product, rows and columns of a picture.
 */
enum { TYPICAL_ROWS = 512, TYPICAL_SIDE = 32 };

enum {
    CACHE_SLOTS = 8192,                 /* a power of two */
    CACHE_TRIM_AT = CACHE_SLOTS * 3 / 8 /* a UNet and VAE of one size need about 150 */
};

typedef struct slot {
    tt_dnn_spec spec;
    tt_dnn_primitive *primitive; /* NULL: free */
} slot;

struct tt_cpu_cache {
    int n;
    slot slots[CACHE_SLOTS];
};

tt_status tt__cpu_cache_new(tt_cpu_cache **out, tt_err *err) {
    *out = tt_alloc(sizeof **out);
    return *out ? TT_OK : tt_fail_nomem(err, "the table of primitives", sizeof **out);
}

static void clear(tt_cpu_cache *cache) {
    for (int i = 0; i < CACHE_SLOTS; i++) {
        tt__dnn_primitive_free(cache->slots[i].primitive);
        cache->slots[i].primitive = NULL;
    }
    cache->n = 0;
}

void tt__cpu_cache_free(tt_cpu_cache *cache) {
    if (!cache) return;
    clear(cache);
    tt_free(cache);
}

void tt__cpu_cache_trim(tt_cpu_cache *cache) {
    if (cache->n >= CACHE_TRIM_AT) clear(cache);
}

/* FNV-1a over the bytes of the spec (which has no indeterminate padding, see onednn.h). */
static size_t hash_of(const tt_dnn_spec *spec) {
    const unsigned char *p = (const unsigned char *)spec;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < sizeof *spec; i++) hash = (hash ^ p[i]) * 1099511628211u;
    return (size_t)(hash ^ hash >> 32);
}

/* The primitive for spec, made now if this is the first time. */
static tt_status primitive_for(tt_cpu_state *state, const tt_dnn_spec *spec, tt_dnn_primitive **out,
                               tt_err *err) {
    tt_cpu_cache *cache = state->cache;
    size_t at = hash_of(spec) & (CACHE_SLOTS - 1);
    while (cache->slots[at].primitive) {
        if (memcmp(&cache->slots[at].spec, spec, sizeof *spec) == 0) {
            *out = cache->slots[at].primitive;
            return TT_OK;
        }
        at = (at + 1) & (CACHE_SLOTS - 1);
    }
    if (cache->n > CACHE_SLOTS * 3 / 4)
        return tt_fail(err, TT_E_INTERNAL, "more than %d kernels in one pass", cache->n);
    TT_TRY(tt__dnn_primitive_new(state->dnn, spec, out, err));
    cache->slots[at] = (slot){*spec, *out};
    cache->n++;
    return TT_OK;
}

/* One after the other: oneDNN maps each piece of code by itself, and two threads that change the process's memory map spend more
 * time telling each other than they save (measured: 18 ms against 13 for 40 products). */
tt_status tt__cpu_compile(tt_ops *ops, tt_err *err) {
    tt_cpu_cache *cache = tt__cpu_state(ops)->cache;
    for (int i = 0; i < CACHE_SLOTS; i++)
        if (cache->slots[i].primitive) TT_TRY(tt__dnn_compile(cache->slots[i].primitive, err));
    return TT_OK;
}

static void product_spec(const tt_ops *ops, const tt_weight *w, int64_t rows, tt_dnn_spec *s) {
    memset(s, 0, sizeof *s);
    s->n = rows;
    s->h = s->w = 1;
    s->c_in = w->n_in;
    s->c_out = w->n_out;
    s->dtype = (int32_t)ops->dtype;
    s->has_bias = w->bias != NULL;
}

static void conv_spec(const tt_ops *ops, const tt_weight *w, int64_t n, int64_t height,
                      int64_t width, tt_dnn_spec *s) {
    product_spec(ops, w, n, s);
    s->h = height;
    s->w = width;
    s->kernel = w->conv.kernel;
    s->stride = w->conv.stride;
    s->pad_top = w->conv.pad_top;
    s->pad_left = w->conv.pad_left;
    s->pad_bottom = w->conv.pad_bottom;
    s->pad_right = w->conv.pad_right;
}

static void spec_epilogue(const tt_epilogue *e, tt_dnn_spec *s) {
    s->act = (int32_t)e->act;
    s->has_mul = e->mul != NULL;
    s->has_add = e->add != NULL;
}

static tt_status pack(tt_ops *ops, tt_weight *w, const tt_dnn_spec *spec, const void *plain,
                      tt_err *err) {
    tt_dnn_layout *layout;
    size_t size;
    TT_TRY(tt__dnn_pack(tt__cpu_state(ops)->dnn, spec, plain, &layout, &w->data, &size, err));
    w->packed = layout;
    w->size_bytes += size;
    ops->weight_bytes += size;
    return TT_OK;
}

/* NULL: oneDNN. */
static const tt_gemm_kernels *own_kernels(tt_ops *ops) {
    return ops->dtype == TT_BF16 ? tt__gemm_kernels(&tt__cpu_state(ops)->features) : NULL;
}

static const tt_gemm_kernels *kernels_for(tt_ops *ops, const tt_weight *w) {
    return w->scales ? tt__int8_kernels(&tt__cpu_state(ops)->features) : own_kernels(ops);
}

tt_status tt__cpu_pack_linear(tt_ops *ops, tt_weight *w, const void *plain, tt_err *err) {
    tt_dnn_spec spec;
    if (own_kernels(ops)) return tt__gemm_pack_linear(ops, w, plain, err);
    product_spec(ops, w, TYPICAL_ROWS, &spec);
    return pack(ops, w, &spec, plain, err);
}

tt_status tt__cpu_pack_conv(tt_ops *ops, tt_weight *w, const void *plain, tt_err *err) {
    tt_dnn_spec spec;
    if (tt__conv_is_product(&w->conv)) return tt__cpu_pack_linear(ops, w, plain, err);
    if (own_kernels(ops)) return tt__gemm_pack_conv(ops, w, plain, err);
    conv_spec(ops, w, 1, TYPICAL_SIDE, TYPICAL_SIDE, &spec);
    return pack(ops, w, &spec, plain, err);
}

void tt__cpu_unpack(tt_ops *ops, tt_weight *w) {
    (void)ops;
    tt__dnn_layout_free(w->packed);
    w->packed = NULL;
}

/* Rewrites w into the layout that p reads. The weight stays the same numbers, hence the const outside. */
static tt_status fit_layout(tt_ops *ops, const tt_dnn_primitive *p, tt_weight *w, tt_err *err) {
    tt_dnn_layout *layout;
    void *data;
    size_t size, bias_bytes = w->bias ? (size_t)w->n_out * sizeof *w->bias : 0;
    if (tt__dnn_layout_fits(p, w->packed)) return TT_OK;
    TT_TRY(
        tt__dnn_repack(tt__cpu_state(ops)->dnn, p, w->packed, w->data, &layout, &data, &size, err));
    tt__dnn_layout_free(w->packed);
    tt_free(w->data);
    ops->weight_bytes += size + bias_bytes - w->size_bytes;
    w->packed = layout;
    w->data = data;
    w->size_bytes = size + bias_bytes;
    return TT_OK;
}

static tt_status run(tt_ops *ops, const tt_dnn_spec *spec, const tt_weight *w, const tt_tensor *x,
                     const tt_epilogue *e, tt_tensor *y, tt_err *err) {
    tt_cpu_state *state = tt__cpu_state(ops);
    tt_dnn_primitive *primitive = NULL;
    void *scratch = NULL;
    TT_TRY(primitive_for(state, spec, &primitive, err));
    TT_TRY(fit_layout(ops, primitive, (tt_weight *)(uintptr_t)w, err));
    TT_TRY(tt_scratch_take(&ops->scratch, tt__dnn_scratch_bytes(primitive), &scratch, err));
    tt_status status = TT_OK;
    if (!ops->scratch.measuring) {
        const tt_dnn_args args = {.x = x->data,
                                  .weights = w->data,
                                  .bias = w->bias,
                                  .mul = e->mul ? e->mul->data : NULL,
                                  .add = e->add ? e->add->data : NULL,
                                  .y = y->data,
                                  .scratch = scratch};
        status = tt__dnn_run(state->dnn, primitive, &args, err);
    }
    tt_scratch_give(&ops->scratch, scratch);
    return status;
}

tt_status tt__cpu_linear(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                         tt_tensor *y, tt_err *err) {
    tt_dnn_spec spec;
    if (!w->packed) return tt__gemm_linear(ops, kernels_for(ops, w), w, x, e, y, err);
    product_spec(ops, w, tt_tensor_rows(x), &spec);
    spec_epilogue(e, &spec);
    return run(ops, &spec, w, x, e, y, err);
}

int64_t tt__cpu_gated_rows(tt_ops *ops, bool is_int8) {
    return is_int8 || own_kernels(ops) ? TT_GEMM_TILE : 0;
}

tt_status tt__cpu_gated(tt_ops *ops, const tt_weight *w, tt_activation act, const tt_tensor *x,
                        tt_tensor *y, tt_err *err) {
    return tt__gemm_gated(ops, kernels_for(ops, w), w, act, x, y, err);
}

tt_status tt__cpu_conv(tt_ops *ops, const tt_weight *w, const tt_tensor *x, const tt_epilogue *e,
                       tt_tensor *y, tt_err *err) {
    tt_dnn_spec spec;
    if (tt__conv_is_product(&w->conv)) return tt__cpu_linear(ops, w, x, e, y, err);
    if (!w->packed) return tt__gemm_conv(ops, kernels_for(ops, w), w, x, e, y, err);
    conv_spec(ops, w, x->n, x->h, x->w, &spec);
    spec_epilogue(e, &spec);
    if (e->add && e->add->data != y->data && !ops->scratch.measuring)
        memcpy(y->data, e->add->data, (size_t)tt_tensor_count(y) * tt_dtype_size(y->dtype));
    return run(ops, &spec, w, x, e, y, err);
}

/* By oneDNN each output is made beside the others and then put among them. */
static tt_status upsample_in_parts(tt_ops *ops, const tt_weight *w, const tt_tensor *x,
                                   tt_tensor *y, tt_err *err) {
    const tt_epilogue nothing = {.act = TT_ACT_NONE};
    tt_tensor part;
    TT_TRY(tt_scratch_new(ops, x->n, x->h, x->w, y->c, &part, err));
    for (int phase = 0; phase < TT__PARTS; phase++) {
        TT_TRY(tt__cpu_conv(ops, w->parts[phase], x, &nothing, &part, err));
        if (!ops->scratch.measuring) tt__cpu_spread(&part, phase, y);
    }
    tt_scratch_free(ops, &part);
    return TT_OK;
}

tt_status tt__cpu_upsample_conv(tt_ops *ops, const tt_weight *w, const tt_tensor *x, tt_tensor *y,
                                tt_err *err) {
    if (w->parts[0]->packed) return upsample_in_parts(ops, w, x, y, err);
    return tt__gemm_upsample_conv(ops, kernels_for(ops, w->parts[0]), w, x, y, err);
}
