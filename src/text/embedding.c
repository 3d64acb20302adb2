/* Reading textual inversions: which tensors a file has says what it is for; rows are converted to f32 once. */
#include "text/embedding.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/ascii.h"
#include "base/limits.h"
#include "tensor/tensor.h"
#include "weights/safetensors.h"

static const char SUFFIX[] = ".safetensors";

struct tt_embedding {
    char *name; /* owned */
    int n_rows;
    int64_t widths[TT_EMBEDDING_ENCODERS];
    float *rows[TT_EMBEDDING_ENCODERS]; /* owned, [n_rows, width] */
};

void tt_embedding_close(tt_embedding *e) {
    if (!e) return;
    tt_free(e->name);
    for (int i = 0; i < TT_EMBEDDING_ENCODERS; i++) tt_free(e->rows[i]);
    tt_free(e);
}

const char *tt_embedding_name(const tt_embedding *e) {
    return e->name;
}
int tt_embedding_n_rows(const tt_embedding *e) {
    return e->n_rows;
}
const float *tt_embedding_rows(const tt_embedding *e, int which) {
    return e->rows[which];
}
int64_t tt_embedding_width(const tt_embedding *e, int which) {
    return e->widths[which];
}

tt_status tt_embedding_rename(tt_embedding *e, const char *name, tt_err *err) {
    if (strcmp(e->name, name) == 0) return TT_OK;
    char *copy = tt_strdup(name);
    if (!copy) return tt_fail_nomem(err, "an embedding's name", strlen(name) + 1);
    tt_free(e->name);
    e->name = copy;
    return TT_OK;
}

bool tt_embedding_is_mentioned(const char *text, size_t size, const char *name) {
    size_t n = strlen(name);
    for (size_t at = 0; n && n <= size && at <= size - n; at++) {
        size_t i = 0;
        while (i < n && tt_ascii_lower(text[at + i]) == tt_ascii_lower(name[i])) i++;
        if (i == n) return true;
    }
    return false;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

/* A tensor as rows and columns; one vector is one row. */
static tt_status find_shape(const tt_safetensors *file, const tt_st_tensor *t, int64_t *n_rows,
                            int64_t *width, tt_err *err) {
    const tt_tensor_info *info = &t->info;
    *n_rows = info->rank == 2 ? info->shape[0] : 1;
    *width = info->rank >= 1 ? info->shape[info->rank - 1] : 0;
    if (info->rank < 1 || info->rank > 2 || info->dtype > TT_F8_E5M2)
        return tt_fail(err, TT_E_FORMAT,
                       "%s: %s is %s of rank %d, expected floats [vectors, width]",
                       tt_safetensors_path(file), t->name, tt_dtype_name(info->dtype), info->rank);
    if (*n_rows < 1 || *n_rows > TT_MAX_EMBEDDING_ROWS)
        return tt_fail(err, TT_E_FORMAT, "%s: %s has %lld vectors, expected 1 to %d",
                       tt_safetensors_path(file), t->name, (long long)*n_rows,
                       TT_MAX_EMBEDDING_ROWS);
    return TT_OK;
}

/* Columns [first, first + width) of a tensor of `columns` columns, as f32. */
static tt_status read_rows(tt_embedding *e, const tt_safetensors *file, const tt_st_tensor *t,
                           int which, int64_t first, int64_t columns, tt_err *err) {
    size_t item = tt_dtype_size(t->info.dtype), width = (size_t)e->widths[which];
    size_t count, row_bytes = (size_t)columns * item;
    char *raw = tt_alloc(row_bytes);
    tt_status status = TT_OK;
    if (!tt_mul_size((size_t)e->n_rows, width, &count) || count > SIZE_MAX / sizeof(float))
        TT_TRY_OUT(tt_fail_nomem(err, "an embedding", SIZE_MAX));
    e->rows[which] = tt_alloc(count * sizeof(float));
    if (!raw || !e->rows[which])
        TT_TRY_OUT(tt_fail_nomem(err, "an embedding", row_bytes + count * sizeof(float)));
    for (size_t r = 0; r < (size_t)e->n_rows; r++) {
        TT_TRY_OUT(tt_safetensors_read(file, t, r * row_bytes, raw, row_bytes, err));
        tt_convert(e->rows[which] + r * width, TT_F32, raw + (size_t)first * item, t->info.dtype,
                   width);
    }
    for (size_t i = 0; i < count; i++)
        if (!isfinite(e->rows[which][i]))
            TT_TRY_OUT(tt_fail(err, TT_E_FORMAT, "%s: %s has a value that is not finite",
                               tt_safetensors_path(file), t->name));
out:
    tt_free(raw);
    return status;
}

static const char *family_of(int64_t width) {
    if (width == 768) return "Stable Diffusion 1";
    if (width == 1024) return "Stable Diffusion 2";
    if (width == 4096) return "a T5 text encoder";
    return "another model";
}

static tt_status fail_width(const tt_safetensors *file, const char *name, int64_t width,
                            int64_t expected, tt_err *err) {
    return tt_fail(err, TT_E_UNSUPPORTED,
                   "%s: %s has vectors of %lld values, as for %s; this model takes %lld",
                   tt_safetensors_path(file), name, (long long)width, family_of(width),
                   (long long)expected);
}

/* clip_l and clip_g. */
static tt_status read_pair(tt_embedding *e, const tt_safetensors *file,
                           const tt_st_tensor *const pair[], tt_err *err) {
    for (int i = 0; i < TT_EMBEDDING_ENCODERS; i++) {
        int64_t n_rows, width;
        TT_TRY(find_shape(file, pair[i], &n_rows, &width, err));
        if (width != e->widths[i]) return fail_width(file, pair[i]->name, width, e->widths[i], err);
        if (i > 0 && n_rows != e->n_rows)
            return tt_fail(err, TT_E_FORMAT, "%s: clip_l has %d vectors, clip_g has %lld",
                           tt_safetensors_path(file), e->n_rows, (long long)n_rows);
        e->n_rows = (int)n_rows;
        TT_TRY(read_rows(e, file, pair[i], i, 0, width, err));
    }
    return TT_OK;
}

/* One tensor for both encoders, side by side. */
static tt_status read_joined(tt_embedding *e, const tt_safetensors *file, const tt_st_tensor *t,
                             tt_err *err) {
    int64_t n_rows, width, expected = e->widths[0] + e->widths[1];
    TT_TRY(find_shape(file, t, &n_rows, &width, err));
    if (width != expected) return fail_width(file, t->name, width, expected, err);
    e->n_rows = (int)n_rows;
    TT_TRY(read_rows(e, file, t, 0, 0, width, err));
    return read_rows(e, file, t, 1, e->widths[0], width, err);
}

static tt_status read_file(tt_embedding *e, const tt_safetensors *file, tt_err *err) {
    const tt_st_tensor *pair[] = {tt_safetensors_find(file, "clip_l"),
                                  tt_safetensors_find(file, "clip_g")};
    const tt_st_tensor *joined = tt_safetensors_find(file, "emb_params");
    if (pair[0] && pair[1]) return read_pair(e, file, pair, err);
    if (pair[0] || pair[1])
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "%s: it has vectors for one text encoder (%s), this model has two",
                       tt_safetensors_path(file), pair[0] ? "clip_l" : "clip_g");
    if (!joined && tt_safetensors_count(file) == 1) joined = tt_safetensors_at(file, 0);
    if (joined) return read_joined(e, file, joined, err);
    return tt_fail(err, TT_E_UNSUPPORTED,
                   "%s: no textual inversion: it has neither clip_l and clip_g nor emb_params",
                   tt_safetensors_path(file));
}

static tt_status set_name(tt_embedding *e, const char *path, tt_err *err) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t size = strlen(name), suffix = sizeof SUFFIX - 1;
    if (size > suffix && strcmp(name + size - suffix, SUFFIX) == 0) size -= suffix;
    if (size == 0) return tt_fail(err, TT_E_INVALID, "%s: an embedding needs a name", path);
    e->name = tt_alloc(size + 1);
    if (!e->name) return tt_fail_nomem(err, "an embedding's name", size + 1);
    memcpy(e->name, name, size);
    return TT_OK;
}

tt_status tt_embedding_open(const char *path, const int64_t widths[TT_EMBEDDING_ENCODERS],
                            tt_embedding **out, tt_err *err) {
    tt_safetensors *file = NULL;
    tt_status status = TT_OK;
    *out = NULL;
    tt_embedding *e = tt_alloc(sizeof *e);
    if (!e) return tt_fail_nomem(err, "an embedding", sizeof *e);
    memcpy(e->widths, widths, sizeof e->widths);
    TT_TRY_OUT(set_name(e, path, err));
    TT_TRY_OUT(tt_safetensors_open(path, TT_ST_PREAD, &file, err));
    TT_TRY_OUT(read_file(e, file, err));
    *out = e;
    e = NULL;
out:
    tt_safetensors_close(file);
    tt_embedding_close(e);
    return status;
}
