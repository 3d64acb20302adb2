/* A tiny decoder's file. It is a torch Sequential, so names are places in it, and places without weights are told by what is
 * missing. The two spellings differ by a prefix and by one place, which TAESD gives to the tanh:
 *
 *     taesdxl_decoder.safetensors      AutoencoderTiny
 *      1.weight .bias                  decoder.layers.0.weight .bias     convolution, channels to width
 *      2                               1                                 ReLU
 *      3.conv.0 .2 .4 .weight .bias    2.conv.0 .2 .4 .weight .bias      block; 3 of them
 *      6                               5                                 doubling
 *      7.weight                        6.weight                          convolution; some have a bias, some have none
 *     ...                             ...                                twice more, then
 *     18.conv...                      17.conv...                         block
 *     19.weight .bias                 18.weight .bias                    convolution to 3 colours
 *
 * A name that fits nowhere is refused, as it would change the picture. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "vae/tiny_parts.h"
#include "weights/safetensors.h"

/* TAESD's are 64 wide. A file that asks for more than this would be slower than the VAE that it stands in for. */
enum { MAX_WIDTH = 512, KERNEL = 3, TAPS = KERNEL * KERNEL };
/* Pixels per latent in each direction: TAESD has 8. */
enum { MAX_FACTOR = 16 };
enum { NAME_BYTES = 128, PATH_BYTES = 4096 };
enum { TOO_FAR = 2 * TT__TINY_MAX_LAYERS }; /* a place beyond all that are counted */

typedef struct spelling {
    const char *prefix;
    int first; /* place of the first convolution */
} spelling;

static const spelling SPELLINGS[] = {{"", 1}, {"decoder.layers.", 0}};

typedef struct reader {
    tt_tiny_decoder *d;
    const tt_safetensors *file;
    const spelling *spelling;
    int64_t width; /* channels after the last layer read */
} reader;

/* ---- what kind of file ------------------------------------------------------------------------------ */

static const struct {
    const char *mark, *what;
} STRANGERS[] = {
    {"model.diffusion_model.", "a checkpoint with a UNet"},
    {"time_embedding.", "a UNet"},
    {"time_embed.", "a UNet"},
    {"lora", "a LoRA"},
    {"decoder.up", "a full VAE"},
    {"text_model.", "a text encoder"},
    {"encoder.layers.", "the encoder of a tiny VAE alone"},
};

static tt_status refuse(const tt_safetensors *file, tt_err *err) {
    static const char wanted[] =
        "not a tiny decoder (taesdxl_decoder.safetensors, AutoencoderTiny)";
    const char *path = tt_safetensors_path(file);
    size_t n = tt_safetensors_count(file);
    for (size_t k = 0; k < sizeof STRANGERS / sizeof *STRANGERS; k++)
        for (size_t i = 0; i < n; i++)
            if (strstr(tt_safetensors_at(file, i)->name, STRANGERS[k].mark))
                return tt_fail(err, TT_E_UNSUPPORTED, "%s is %s, %s", path, STRANGERS[k].what,
                               wanted);
    return tt_fail(err, TT_E_UNSUPPORTED, "%s is %s: it has neither %s%d.weight nor %s%d.weight",
                   path, wanted, SPELLINGS[0].prefix, SPELLINGS[0].first, SPELLINGS[1].prefix,
                   SPELLINGS[1].first);
}

/* The name of a tensor, or of a part of it, at a place. */
static const char *name_of(const reader *r, int place, const char *rest, char out[NAME_BYTES]) {
    snprintf(out, NAME_BYTES, "%s%d%s", r->spelling->prefix, place, rest);
    return out;
}

static const tt_st_tensor *find(const reader *r, int place, const char *rest) {
    char name[NAME_BYTES];
    return tt_safetensors_find(r->file, name_of(r, place, rest, name));
}

static tt_status find_spelling(reader *r, tt_err *err) {
    for (size_t i = 0; i < sizeof SPELLINGS / sizeof *SPELLINGS; i++) {
        r->spelling = &SPELLINGS[i];
        if (find(r, SPELLINGS[i].first, ".weight")) return TT_OK;
    }
    return refuse(r->file, err);
}

/* ---- the sequence ------------------------------------------------------------------------------------ */

/* The place and the rest of a decoder's tensor; false: not one of the decoder. A place that is no number is -1. */
static bool parse_name(const reader *r, const char *name, long *place, const char **rest) {
    size_t n = strlen(r->spelling->prefix);
    char *end;
    if (strncmp(name, r->spelling->prefix, n) != 0) return false;
    *place = strtol(name + n, &end, 10);
    if (end == name + n || *place < 0) *place = -1;
    if (*place > TOO_FAR) *place = TOO_FAR;
    *rest = end;
    return true;
}

static bool fits(const tt__tiny_layer *layer, const char *rest) {
    static const char *const of_conv[] = {".weight", ".bias"};
    static const char *const of_block[] = {".conv.0.weight", ".conv.0.bias",   ".conv.2.weight",
                                           ".conv.2.bias",   ".conv.4.weight", ".conv.4.bias"};
    const char *const *known = layer->kind == TT__TINY_CONV ? of_conv : of_block;
    int n = layer->kind == TT__TINY_CONV    ? sizeof of_conv / sizeof *of_conv
            : layer->kind == TT__TINY_BLOCK ? sizeof of_block / sizeof *of_block
                                            : 0;
    for (int i = 0; i < n; i++)
        if (strcmp(rest, known[i]) == 0) return true;
    return false;
}

/* Each of the decoder's tensors has been read: its name is the one that was asked for. */
static tt_status check_names(const reader *r, tt_err *err) {
    for (size_t i = 0; i < tt_safetensors_count(r->file); i++) {
        const char *name = tt_safetensors_at(r->file, i)->name, *rest;
        char asked[NAME_BYTES];
        long place;
        if (!parse_name(r, name, &place, &rest)) continue;
        long at = place - r->spelling->first;
        if (place < 0 || at < 0 || !fits(&r->d->layers[at], rest) ||
            strcmp(name_of(r, (int)place, rest, asked), name) != 0)
            return tt_fail(err, TT_E_UNSUPPORTED, "%s: tensor %s is not part of a tiny decoder",
                           tt_safetensors_path(r->file), name);
    }
    return TT_OK;
}

static tt_status count_layers(reader *r, tt_err *err) {
    long last = r->spelling->first;
    for (size_t i = 0; i < tt_safetensors_count(r->file); i++) {
        const char *rest;
        long place;
        if (parse_name(r, tt_safetensors_at(r->file, i)->name, &place, &rest) && place > last)
            last = place;
    }
    if (last - r->spelling->first >= TT__TINY_MAX_LAYERS)
        return tt_fail(err, TT_E_UNSUPPORTED,
                       "%s: a tiny decoder of more than %d layers, which is not supported",
                       tt_safetensors_path(r->file), TT__TINY_MAX_LAYERS);
    r->d->n_layers = (int)(last - r->spelling->first) + 1;
    return TT_OK;
}

/* What stands at place i; a doubling is always followed by a convolution. */
static tt_status find_kind(const reader *r, int i, tt__tiny_kind *out, tt_err *err) {
    char name[NAME_BYTES];
    int place = r->spelling->first + i;
    bool is_conv = find(r, place, ".weight"), is_block = find(r, place, ".conv.0.weight");
    *out = is_conv    ? TT__TINY_CONV
           : is_block ? TT__TINY_BLOCK
           : i == 1   ? TT__TINY_RELU
                      : TT__TINY_DOUBLE;
    if (i == 1 && *out != TT__TINY_RELU)
        return tt_fail(err, TT_E_UNSUPPORTED, "%s: %s* has weights, expected a ReLU",
                       tt_safetensors_path(r->file), name_of(r, place, ".", name));
    if (*out != TT__TINY_DOUBLE || find(r, place + 1, ".weight")) return TT_OK;
    return tt_fail(
        err, TT_E_FORMAT,
        "%s: layer %d has no weights, and layer %d is no convolution: tensors are missing",
        tt_safetensors_path(r->file), place, place + 1);
}

/* ---- weights ------------------------------------------------------------------------------------------- */

static bool all_finite(const float *values, size_t n) {
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += values[i] * 0; /* NaN as soon as one is not finite */
    return sum == 0;
}

static tt_status convert(const reader *r, const tt_st_tensor *t, const void *stored, size_t count,
                         tt_dtype dtype, void *out, tt_err *err) {
    float *values = tt_alloc(count * sizeof *values);
    if (!values) return tt_fail_nomem(err, "reading a tensor", count * sizeof *values);
    tt_convert(values, TT_F32, stored, t->info.dtype, count);
    bool is_good = all_finite(values, count);
    if (is_good) tt_convert(out, dtype, values, TT_F32, count);
    tt_free(values);
    if (is_good) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "%s: tensor %s has values that are not numbers",
                   tt_safetensors_path(r->file), t->name);
}

/* All values as dtype; tt_free *out. The caller has bounded the size. */
static tt_status read_values(const reader *r, const tt_st_tensor *t, tt_dtype dtype, void **out,
                             tt_err *err) {
    if (t->info.dtype > TT_F8_E5M2)
        return tt_fail(err, TT_E_UNSUPPORTED, "%s: tensor %s: dtype %s is not a floating type",
                       tt_safetensors_path(r->file), t->name, tt_dtype_name(t->info.dtype));
    size_t count = (size_t)t->size / tt_dtype_size(t->info.dtype);
    tt_status status = TT_OK;
    void *stored = tt_alloc((size_t)t->size);
    *out = tt_alloc(count * tt_dtype_size(dtype));
    if (!stored || !*out) TT_TRY_OUT(tt_fail_nomem(err, "reading a tensor", t->size));
    TT_TRY_OUT(tt_safetensors_read(r->file, t, 0, stored, (size_t)t->size, err));
    TT_TRY_OUT(convert(r, t, stored, count, dtype, *out, err));
out:
    tt_free(stored);
    if (status == TT_OK) return TT_OK;
    tt_free(*out);
    *out = NULL;
    return status;
}

static tt_status check_weight(const reader *r, const tt_st_tensor *t, const char *name,
                              int64_t c_in, tt_err *err) {
    const char *path = tt_safetensors_path(r->file);
    if (!t) return tt_fail(err, TT_E_FORMAT, "%s: tensor %s is missing", path, name);
    const int64_t *s = t->info.shape;
    if (t->info.rank != 4 || s[2] != KERNEL || s[3] != KERNEL || s[0] < 1 || s[0] > MAX_WIDTH)
        return tt_fail(err, TT_E_FORMAT,
                       "%s: tensor %s: expected a 3x3 convolution to 1 to %d channels", path, name,
                       MAX_WIDTH);
    if (s[1] == c_in) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "%s: tensor %s takes %lld channels, expected %lld", path, name,
                   (long long)s[1], (long long)c_in);
}

static tt_status check_bias(const reader *r, const tt_st_tensor *bias, int64_t n, tt_err *err) {
    if (!bias || (bias->info.rank == 1 && bias->info.shape[0] == n)) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "%s: tensor %s: expected shape [%lld]",
                   tt_safetensors_path(r->file), bias->name, (long long)n);
}

/* The convolution `name`, from r->width channels to as many as it makes. */
static tt_status read_conv(reader *r, const char *name, tt_weight **slot, tt_err *err) {
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "%s.weight", name);
    const tt_st_tensor *weight = tt_safetensors_find(r->file, full);
    TT_TRY(check_weight(r, weight, full, r->width, err));
    snprintf(full, sizeof full, "%s.bias", name);
    const tt_st_tensor *bias = tt_safetensors_find(r->file, full);
    TT_TRY(check_bias(r, bias, weight->info.shape[0], err));
    const tt_conv_shape shape = {weight->info.shape[0], r->width, KERNEL, 1, 1, 1, 1, 1};
    void *plain = NULL, *offsets = NULL;
    tt_status status = TT_OK;
    TT_TRY_OUT(read_values(r, weight, tt_ops_dtype(r->d->ops), &plain, err));
    if (bias) TT_TRY_OUT(read_values(r, bias, TT_F32, &offsets, err));
    TT_TRY_OUT(tt_weight_conv(r->d->ops, plain, offsets, &shape, slot, err));
    r->width = shape.c_out;
out:
    tt_free(plain);
    tt_free(offsets);
    return status;
}

static tt_status read_block(reader *r, int place, tt__tiny_layer *layer, tt_err *err) {
    char name[NAME_BYTES], rest[16]; /* ".conv.4" */
    int64_t width = r->width;
    for (int k = 0; k < TT__TINY_BLOCK_CONVS; k++) {
        snprintf(rest, sizeof rest, ".conv.%d", 2 * k);
        TT_TRY(read_conv(r, name_of(r, place, rest, name), &layer->convs[k], err));
    }
    if (r->width == width) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "%s: block %s: makes %lld channels of %lld, expected as many",
                   tt_safetensors_path(r->file), name_of(r, place, "", name), (long long)r->width,
                   (long long)width);
}

static tt_status read_layer(reader *r, int i, tt_err *err) {
    char name[NAME_BYTES];
    tt__tiny_layer *layer = &r->d->layers[i];
    int place = r->spelling->first + i;
    TT_TRY(find_kind(r, i, &layer->kind, err));
    switch (layer->kind) {
    case TT__TINY_CONV:
        return read_conv(r, name_of(r, place, "", name), &layer->convs[0], err);
    case TT__TINY_BLOCK:
        return read_block(r, place, layer, err);
    case TT__TINY_DOUBLE:
        r->d->factor *= 2;
        if (r->d->factor <= MAX_FACTOR) return TT_OK;
        return tt_fail(err, TT_E_UNSUPPORTED, "%s: more than %d pixels per latent and direction",
                       tt_safetensors_path(r->file), MAX_FACTOR);
    case TT__TINY_RELU:
        return TT_OK;
    }
    return TT_OK;
}

/* The width that the first convolution takes is that of the latents. */
static tt_status begin(reader *r, tt_err *err) {
    const tt_st_tensor *first = find(r, r->spelling->first, ".weight");
    r->width = first->info.rank == 4 ? first->info.shape[1] : 0;
    r->d->channels = r->width;
    r->d->factor = 1;
    if (r->width >= 1 && r->width <= MAX_WIDTH) return TT_OK;
    return tt_fail(err, TT_E_FORMAT, "%s: tensor %s: expected a 3x3 convolution of latents",
                   tt_safetensors_path(r->file), first->name);
}

static tt_status check_end(const reader *r, tt_err *err) {
    const tt_tiny_decoder *d = r->d;
    char name[NAME_BYTES];
    int last = r->spelling->first + d->n_layers - 1;
    if (d->layers[d->n_layers - 1].kind != TT__TINY_CONV || r->width != TT__TINY_COLOURS)
        return tt_fail(err, TT_E_FORMAT,
                       "%s: the last layer, %s, makes %lld channels, expected a convolution to %d",
                       tt_safetensors_path(r->file), name_of(r, last, "", name),
                       (long long)r->width, TT__TINY_COLOURS);
    int64_t room = (int64_t)d->factor * d->factor * TT__TINY_COLOURS;
    if (d->channels <= room) return TT_OK;
    return tt_fail(err, TT_E_UNSUPPORTED, "%s: %lld channels for %d pixels per latent",
                   tt_safetensors_path(r->file), (long long)d->channels, d->factor * d->factor);
}

static tt_status read_all(reader *r, tt_err *err) {
    TT_TRY(find_spelling(r, err));
    TT_TRY(count_layers(r, err));
    TT_TRY(begin(r, err));
    for (int i = 0; i < r->d->n_layers; i++) TT_TRY(read_layer(r, i, err));
    TT_TRY(check_names(r, err));
    return check_end(r, err);
}

/* A folder's file: diffusers writes one of two names. */
static tt_status file_of(const char *path, char out[PATH_BYTES], tt_err *err) {
    static const char *const names[] = {"diffusion_pytorch_model.safetensors",
                                        "diffusion_pytorch_model.fp16.safetensors"};
    if (!tt_file_is_directory(path)) {
        if (snprintf(out, PATH_BYTES, "%s", path) < PATH_BYTES) return TT_OK;
        return tt_fail(err, TT_E_INVALID, "the tiny decoder's path is longer than %d bytes",
                       PATH_BYTES - 1);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        TT_TRY(tt_path_join(out, PATH_BYTES, path, names[i], err));
        if (tt_file_exists(out)) return TT_OK;
    }
    return tt_fail(err, TT_E_NOT_FOUND, "%s: the folder has no %s", path, names[0]);
}

tt_status tt__tiny_read(tt_tiny_decoder *d, const char *path, tt_err *err) {
    char file[PATH_BYTES];
    tt_safetensors *opened;
    TT_TRY(file_of(path, file, err));
    TT_TRY(tt_safetensors_open(file, TT_ST_PREAD, &opened, err));
    reader r = {.d = d, .file = opened};
    tt_status status = read_all(&r, err);
    tt_safetensors_close(opened);
    return status;
}
