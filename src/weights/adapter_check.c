/* What kind of change a module's parts make, and whether every shape fits: once, when the file is opened, so that applying
 * can only fail for I/O and memory. Shapes are compared as [first dimension, product of the others]: a matrix may be
 * stored as a 1x1 convolution and the other way round. */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "weights/adapter_parts.h"

enum { SHAPE_BYTES = 200 };

tt_status tt__patch_fail(const tt_adapter *a, const tt__patch *p, tt_err *err, const char *format,
                         ...) {
    char text[SHAPE_BYTES * 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return tt_fail(err, TT_E_FORMAT, "lora %s: module %s: %s", a->report.name, p->alias, text);
}

/* ---- dimensions ------------------------------------------------------------------------------------- */

static int64_t first_of(const tt_st_tensor *t) {
    return t->info.rank ? t->info.shape[0] : 1;
}

/* No overflow: the bytes are in the file. */
static int64_t others_of(const tt_st_tensor *t) {
    int64_t n = 1;
    for (int i = 1; i < t->info.rank; i++) n *= t->info.shape[i];
    return n;
}

static void describe(char out[SHAPE_BYTES], const tt_st_tensor *t) {
    size_t at = (size_t)snprintf(out, SHAPE_BYTES, "[");
    for (int i = 0; i < t->info.rank && at < SHAPE_BYTES; i++)
        at += (size_t)snprintf(out + at, SHAPE_BYTES - at, "%s%lld", i ? ", " : "",
                               (long long)t->info.shape[i]);
    if (at < SHAPE_BYTES) snprintf(out + at, SHAPE_BYTES - at, "]");
}

typedef struct checker {
    const tt_adapter *a;
    tt__patch *p;
    tt_err *err;
} checker;

static tt_status fail_shape(const checker *c, tt__part part, int64_t first, int64_t others) {
    char found[SHAPE_BYTES];
    describe(found, c->p->parts[part]);
    return tt__patch_fail(c->a, c->p, c->err, "%s has shape %s, expected [%lld, %lld]",
                          tt__part_name(part), found, (long long)first, (long long)others);
}

static tt_status need(const checker *c, tt__part part) {
    if (c->p->parts[part]) return TT_OK;
    return tt__patch_fail(c->a, c->p, c->err, "%s is missing", tt__part_name(part));
}

static tt_status need_shape(const checker *c, tt__part part, int64_t first, int64_t others) {
    TT_TRY(need(c, part));
    const tt_st_tensor *t = c->p->parts[part];
    return first_of(t) == first && others_of(t) == others ? TT_OK
                                                          : fail_shape(c, part, first, others);
}

static tt_status need_count(const checker *c, tt__part part, int64_t n) {
    TT_TRY(need(c, part));
    const tt_st_tensor *t = c->p->parts[part];
    return first_of(t) * others_of(t) == n ? TT_OK : fail_shape(c, part, n, 1);
}

static tt_status set_rank(const checker *c, int64_t rank) {
    if (rank < 1) return tt__patch_fail(c->a, c->p, c->err, "its rank is 0");
    c->p->rank = rank;
    return TT_OK;
}

/* A core [r1, r2, kernel]: what Tucker's form has between two factors, [rows, r1] and [r2, in]. */
static tt_status check_core(const checker *c, tt__part core, int64_t r1, int64_t r2) {
    TT_TRY(need(c, core));
    const tt_st_tensor *t = c->p->parts[core];
    bool fits = t->info.rank >= 3 && t->info.shape[1] == r2 && first_of(t) == r1 &&
                others_of(t) == r2 * c->p->taps;
    return fits ? TT_OK : fail_shape(c, core, r1, r2 * c->p->taps);
}

/* ---- kinds ------------------------------------------------------------------------------------------ */

static tt_status check_lora(const checker *c) {
    tt__patch *p = c->p;
    TT_TRY(need(c, TT__LORA_DOWN));
    TT_TRY(need(c, TT__LORA_UP));
    if (p->parts[TT__LORA_BIAS]) TT_TRY(need_count(c, TT__LORA_BIAS, p->out));
    int64_t rank = first_of(p->parts[TT__LORA_DOWN]);
    TT_TRY(set_rank(c, rank));
    if (!p->parts[TT__LORA_MID]) {
        TT_TRY(need_shape(c, TT__LORA_DOWN, rank, p->in * p->taps));
        return need_shape(c, TT__LORA_UP, p->out, rank);
    }
    int64_t up_rank = others_of(p->parts[TT__LORA_UP]);
    TT_TRY(need_shape(c, TT__LORA_DOWN, rank, p->in));
    TT_TRY(need_shape(c, TT__LORA_UP, p->out, up_rank));
    return check_core(c, TT__LORA_MID, up_rank, rank);
}

/* w1 or w2 of a LoHa. */
static tt_status check_hada(const checker *c, tt__part a, tt__part b, tt__part core) {
    tt__patch *p = c->p;
    TT_TRY(need(c, a));
    TT_TRY(need(c, b));
    int64_t rank = first_of(p->parts[b]);
    TT_TRY(set_rank(c, rank));
    if (!p->parts[core]) {
        TT_TRY(need_shape(c, b, rank, p->in * p->taps));
        return need_shape(c, a, p->out, rank);
    }
    TT_TRY(need_shape(c, b, rank, p->in));
    TT_TRY(need_shape(c, a, first_of(p->parts[a]), p->out));
    return check_core(c, core, first_of(p->parts[a]), rank);
}

static tt_status check_loha(const checker *c) {
    TT_TRY(check_hada(c, TT__HADA_W1_A, TT__HADA_W1_B, TT__HADA_T1));
    return check_hada(c, TT__HADA_W2_A, TT__HADA_W2_B, TT__HADA_T2);
}

/* The factors of w1 and w2, each whole or a product. Rank stays 0 when both are whole. */
static tt_status check_lokr(const checker *c) {
    tt__patch *p = c->p;
    int64_t o1, i1, o2, i2;
    if (p->parts[TT__LOKR_W1]) {
        o1 = first_of(p->parts[TT__LOKR_W1]);
        i1 = others_of(p->parts[TT__LOKR_W1]);
    } else {
        TT_TRY(need(c, TT__LOKR_W1_A));
        TT_TRY(need(c, TT__LOKR_W1_B));
        TT_TRY(set_rank(c, first_of(p->parts[TT__LOKR_W1_B])));
        o1 = first_of(p->parts[TT__LOKR_W1_A]);
        i1 = others_of(p->parts[TT__LOKR_W1_B]);
        TT_TRY(need_shape(c, TT__LOKR_W1_A, o1, p->rank));
    }
    if (o1 < 1 || i1 < 1 || p->out % o1 != 0 || p->in % i1 != 0)
        return tt__patch_fail(c->a, p, c->err, "lokr_w1 [%lld, %lld] does not divide [%lld, %lld]",
                              (long long)o1, (long long)i1, (long long)p->out, (long long)p->in);
    o2 = p->out / o1;
    i2 = p->in / i1;
    if (p->parts[TT__LOKR_W2]) return need_shape(c, TT__LOKR_W2, o2, i2 * p->taps);
    TT_TRY(need(c, TT__LOKR_W2_A));
    TT_TRY(need(c, TT__LOKR_W2_B));
    int64_t rank = first_of(p->parts[TT__LOKR_W2_B]);
    TT_TRY(set_rank(c, rank));
    if (!p->parts[TT__LOKR_T2]) {
        TT_TRY(need_shape(c, TT__LOKR_W2_B, rank, i2 * p->taps));
        return need_shape(c, TT__LOKR_W2_A, o2, rank);
    }
    TT_TRY(need_shape(c, TT__LOKR_W2_B, rank, i2));
    TT_TRY(need_shape(c, TT__LOKR_W2_A, first_of(p->parts[TT__LOKR_W2_A]), o2));
    return check_core(c, TT__LOKR_T2, first_of(p->parts[TT__LOKR_W2_A]), rank);
}

static tt_status check_glora(const checker *c) {
    tt__patch *p = c->p;
    for (int part = TT__GLORA_A1; part <= TT__GLORA_B2; part++) TT_TRY(need(c, (tt__part)part));
    const tt_st_tensor *a1 = p->parts[TT__GLORA_A1], *a2 = p->parts[TT__GLORA_A2];
    bool is_new = first_of(a1) == p->in && others_of(a2) == p->in &&
                  first_of(p->parts[TT__GLORA_B1]) == p->out;
    p->is_old = !is_new;
    tt__part up = is_new ? TT__GLORA_B1 : TT__GLORA_B2, down = is_new ? TT__GLORA_B2 : TT__GLORA_B1;
    tt__part in = is_new ? TT__GLORA_A1 : TT__GLORA_A2, out = is_new ? TT__GLORA_A2 : TT__GLORA_A1;
    TT_TRY(set_rank(c, first_of(p->parts[out])));
    TT_TRY(need_shape(c, in, p->in, p->rank));
    TT_TRY(need_shape(c, out, p->rank, p->in));
    TT_TRY(need_shape(c, down, first_of(p->parts[down]), p->in * p->taps));
    return need_shape(c, up, p->out, first_of(p->parts[down]));
}

static tt_status read_number(const tt_adapter *a, const tt_st_tensor *t, float *out, tt_err *err) {
    if (t->info.dtype >
        TT_F8_E5M2) { /* a whole number, little-endian as our machines; none is negative */
        uint64_t whole = 0;
        TT_TRY(tt_safetensors_read(a->file, t, 0, &whole, tt_dtype_size(t->info.dtype), err));
        *out = (float)whole;
        return TT_OK;
    }
    tt__values v = {0};
    TT_TRY(tt__values_read(&v, a, t, 0, 1, err));
    *out = v.data[0];
    tt__values_release(&v);
    return TT_OK;
}

static tt_status check_ia3(const checker *c) {
    tt__patch *p = c->p;
    if (p->parts[TT__PEFT_IA3]) {
        const tt_st_tensor *t = p->parts[TT__PEFT_IA3];
        p->on_input = first_of(t) == 1 && others_of(t) == p->in;
        return p->on_input ? TT_OK : need_count(c, TT__PEFT_IA3, p->out);
    }
    float on_input;
    TT_TRY(need(c, TT__IA3));
    if (!p->parts[TT__ON_INPUT])
        return tt_fail(c->err, TT_E_FORMAT,
                       "lora %s is no adapter: it holds whole weights, like %s.weight",
                       c->a->report.name, p->alias);
    TT_TRY(need_count(c, TT__ON_INPUT, 1));
    TT_TRY(read_number(c->a, p->parts[TT__ON_INPUT], &on_input, c->err));
    p->on_input = on_input != 0.0f;
    return need_count(c, TT__IA3, p->on_input ? p->in : p->out);
}

/* Larger blocks would take minutes to solve; trainers cut a layer into 4 blocks or more, of 2560 rows at most in SDXL. */
enum { MAX_BLOCK = 4096 };

static tt_status fail_blocks(const checker *c) {
    char found[SHAPE_BYTES];
    describe(found, c->p->parts[TT__OFT_BLOCKS]);
    return tt__patch_fail(c->a, c->p, c->err,
                          "oft_blocks %s does not cut %lld rows into blocks of at most %d", found,
                          (long long)c->p->out, MAX_BLOCK);
}

/* [n, b, b] with n b = o; BOFT [m, n, b, b]: the widest of its m butterflies, 2^(m-1) b rows, must divide o too. */
static tt_status check_oft(const checker *c) {
    const tt_tensor_info *info = &c->p->parts[TT__OFT_BLOCKS]->info;
    int64_t out = c->p->out;
    if (info->rank != 3 && info->rank != 4) return fail_blocks(c);
    const int64_t *shape = info->shape + info->rank - 3;
    int64_t n = shape[0], b = shape[1];
    if (n < 1 || b < 1 || shape[2] != b || n > out || b > out || n * b != out || b > MAX_BLOCK)
        return fail_blocks(c);
    if (info->rank == 4) {
        int64_t m = info->shape[0];
        c->p->kind = TT__BOFT;
        if (b % 2 != 0 || m < 1 || m > 40 || b > out >> (m - 1) || out % (b << (m - 1)) != 0)
            return fail_blocks(c);
    }
    return c->p->parts[TT__RESCALE] ? need_count(c, TT__RESCALE, out) : TT_OK;
}

/* ---- dora ------------------------------------------------------------------------------------------- */

static tt_status check_dora(const checker *c) {
    tt__patch *p = c->p;
    const tt_st_tensor *t = p->parts[TT__DORA_SCALE];
    if (p->parts[TT__MAGNITUDE]) {
        if (t) return tt__patch_fail(c->a, p, c->err, "two magnitudes of DoRA");
        TT_TRY(need_count(c, TT__MAGNITUDE, p->out));
    } else if (t) {
        p->by_column = t->info.rank > 1 && first_of(t) == 1 && p->out != 1;
        TT_TRY(need_count(c, TT__DORA_SCALE, p->by_column ? p->in : p->out));
    } else {
        return TT_OK;
    }
    if (p->kind == TT__LORA || p->kind == TT__LOHA || p->kind == TT__LOKR || p->kind == TT__GLORA ||
        p->kind == TT__NO_KIND)
        return TT_OK;
    return tt__patch_fail(c->a, p, c->err, "DoRA goes with LoRA, LoHa, LoKr and GLoRA only");
}

/* ---- a patch ---------------------------------------------------------------------------------------- */

/* The kind that a part belongs to; TT__NO_KIND: to several or to none. */
static tt__kind kind_of(tt__part part) {
    if (part <= TT__LORA_BIAS) return TT__LORA;
    if (part >= TT__HADA_W1_A && part <= TT__HADA_T2) return TT__LOHA;
    if (part >= TT__LOKR_W1 && part <= TT__LOKR_T2) return TT__LOKR;
    if (part >= TT__GLORA_A1 && part <= TT__GLORA_B2) return TT__GLORA;
    if (part >= TT__IA3 && part <= TT__PEFT_IA3) return TT__IA3_KIND;
    if (part == TT__OFT_BLOCKS || part == TT__RESCALE) return TT__OFT;
    if (part == TT__DIFF) return TT__FULL;
    if (part == TT__SET_WEIGHT) return TT__SET;
    return TT__NO_KIND;
}

bool tt__patch_is_empty(const tt__patch *p) {
    return p->kind == TT__NO_KIND && !p->parts[TT__DIFF_B];
}

static tt_status find_kind(const checker *c) {
    for (int part = 0; part < TT__N_PARTS; part++) {
        tt__kind kind = c->p->parts[part] ? kind_of((tt__part)part) : TT__NO_KIND;
        if (kind == TT__NO_KIND) continue;
        if (c->p->kind != TT__NO_KIND && c->p->kind != kind)
            return tt__patch_fail(c->a, c->p, c->err, "parts of two kinds (%s)",
                                  tt__part_name((tt__part)part));
        c->p->kind = kind;
    }
    return TT_OK;
}

static tt_status find_sizes(const checker *c) {
    tt__patch *p = c->p;
    char name[TT__NAME_BYTES];
    tt_tensor_info info = {0};
    for (int i = 0; i < (p->is_fused ? TT__THIRDS : 1); i++) {
        snprintf(name, sizeof name, "%s.weight", c->a->modules[p->modules[i]].stem);
        TT_TRY(tt_checkpoint_info(c->a->checkpoint, name, &info, c->err));
        int64_t rows = info.rank > 0 ? info.shape[0] : 1;
        if (i > 0 && rows * i != p->out)
            return tt__patch_fail(c->a, p, c->err, "q, k and v of this model differ in size");
        p->out += rows;
    }
    p->in = info.rank > 1 ? info.shape[1] : 1;
    p->taps = 1;
    for (int i = 2; i < info.rank; i++) p->taps *= info.shape[i];
    return TT_OK;
}

static tt_status check_kind(const checker *c) {
    tt__patch *p = c->p;
    switch (p->kind) {
    case TT__NO_KIND:
        return TT_OK; /* a bias, or nothing: see tt__patch_is_empty */
    case TT__LORA:
        return check_lora(c);
    case TT__LOHA:
        return check_loha(c);
    case TT__LOKR:
        return check_lokr(c);
    case TT__GLORA:
        return check_glora(c);
    case TT__IA3_KIND:
        return check_ia3(c);
    case TT__OFT:
    case TT__BOFT:
        TT_TRY(need(c, TT__OFT_BLOCKS));
        return check_oft(c);
    case TT__FULL:
        return need_shape(c, TT__DIFF, p->out, p->in * p->taps);
    case TT__SET:
        return need_shape(c, TT__SET_WEIGHT, p->out, p->in * p->taps);
    case TT__N_KINDS:
        break;
    }
    return TT_OK;
}

/* What needs whole rows and columns of the fused matrix cannot be cut into thirds. */
static tt_status check_fused(const checker *c) {
    const tt__patch *p = c->p;
    bool is_sum = p->kind == TT__LORA || p->kind == TT__LOHA || p->kind == TT__LOKR ||
                  p->kind == TT__FULL || p->kind == TT__SET || p->kind == TT__NO_KIND;
    if (!p->is_fused || (is_sum && !p->by_column)) return TT_OK;
    return tt_fail(c->err, TT_E_UNSUPPORTED,
                   "lora %s: module %s: this kind is not supported on a fused projection",
                   c->a->report.name, p->alias);
}

static tt_status check_dtypes(const checker *c) {
    for (int i = 0; i < TT__N_PARTS; i++) {
        const tt_st_tensor *t = c->p->parts[i];
        bool may_be_whole = i == TT__ALPHA || i == TT__ON_INPUT;
        if (t && t->info.dtype > TT_F8_E5M2 && !may_be_whole)
            return tt__patch_fail(c->a, c->p, c->err, "%s has dtype %s, expected a floating type",
                                  tt__part_name((tt__part)i), tt_dtype_name(t->info.dtype));
    }
    return TT_OK;
}

static tt_status find_alpha(const checker *c) {
    tt__patch *p = c->p;
    p->scale = 1.0f;
    if (!p->parts[TT__ALPHA]) return TT_OK;
    TT_TRY(need_count(c, TT__ALPHA, 1));
    TT_TRY(read_number(c->a, p->parts[TT__ALPHA], &p->alpha, c->err));
    if (!isfinite(p->alpha)) return tt__patch_fail(c->a, p, c->err, "its alpha is not finite");
    if (p->rank) p->scale = p->alpha / (float)p->rank;
    return TT_OK;
}

tt_status tt__patch_check(const tt_adapter *a, tt__patch *p, tt_err *err) {
    checker c = {a, p, err};
    TT_TRY(check_dtypes(&c));
    TT_TRY(find_kind(&c));
    TT_TRY(find_sizes(&c));
    TT_TRY(check_kind(&c));
    TT_TRY(check_dora(&c));
    if (p->parts[TT__DIFF_B]) TT_TRY(need_count(&c, TT__DIFF_B, p->out));
    TT_TRY(check_fused(&c));
    return find_alpha(&c);
}
