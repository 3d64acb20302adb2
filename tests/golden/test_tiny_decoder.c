/* Tiny decoders against diffusers' AutoencoderTiny, from both spellings of the same file. Measured: f32 is within 4e-6 of
 * diffusers', bf16 above 50 dB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/counter.h"
#include "support/golden_data.h"
#include "support/golden_network.h"
#include "support/json_tree.h"
#include "support/psnr.h"
#include "support/safetensors_writer.h"
#include "vae/tiny.h"

#define LARGEST_ERROR      1e-4
#define SMALLEST_BF16_PSNR 35.0

enum { COLOURS = 3, MAX_RANK = 4, PATH_BYTES = 160, NAME_BYTES = 128 };

static char folder[PATH_BYTES / 2], taesd_file[PATH_BYTES], diffusers_file[PATH_BYTES];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tt-tiny-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(taesd_file, sizeof taesd_file, "%s/taesdxl_decoder.safetensors", folder);
    snprintf(diffusers_file, sizeof diffusers_file, "%s/diffusion_pytorch_model.safetensors",
             folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(taesd_file);
    unlink(diffusers_file);
    return rmdir(folder);
}

static int64_t at(json_object *list, size_t i) {
    return json_object_get_int64(json_object_array_get_idx(list, i));
}

static float *values_of(const char *case_name, const char *name, size_t count, float scale) {
    char full[2 * NAME_BYTES];
    float *values = tt_alloc(count * sizeof *values);
    assert_non_null(values);
    snprintf(full, sizeof full, "tiny/%s/%s", case_name, name);
    tt_counter_fill(full, scale, 0, values, count);
    return values;
}

/* "decoder.layers.2.conv.0.weight" is "3.conv.0.weight" in TAESD's own file. */
static void taesd_name(const char *name, char out[NAME_BYTES]) {
    char *rest;
    long place = strtol(name + strlen("decoder.layers."), &rest, 10);
    snprintf(out, NAME_BYTES, "%ld%s", place + 1, rest);
}

/* Both files; diffusers' has an encoder too, of which nothing is read. */
static void write_files(json_object *c, tt_dtype dtype) {
    static const int64_t encoder_shape[] = {8, 3, 3, 3};
    st_writer taesd, diffusers;
    json_object *tensors = member(c, "tensors");
    st_begin(&taesd);
    st_begin(&diffusers);
    st_add(&diffusers, "encoder.layers.0.weight", dtype, MAX_RANK, encoder_shape, NULL);
    for (size_t i = 0; i < json_object_array_length(tensors); i++) {
        json_object *t = json_object_array_get_idx(tensors, i), *dims = member(t, "shape");
        const char *name = tt_golden_string(t, "name");
        int rank = (int)json_object_array_length(dims);
        int64_t shape[MAX_RANK];
        size_t count = 1;
        char other[NAME_BYTES];
        for (int k = 0; k < rank; k++) count *= (size_t)(shape[k] = at(dims, (size_t)k));
        float *values = values_of(tt_golden_string(c, "name"), name, count,
                                  (float)tt_golden_number(t, "scale"));
        taesd_name(name, other);
        st_add_f32(&taesd, other, dtype, rank, shape, values);
        st_add_f32(&diffusers, name, dtype, rank, shape, values);
        tt_free(values);
    }
    st_save(&taesd, taesd_file);
    st_save(&diffusers, diffusers_file);
}

typedef struct sizes {
    int64_t channels, h, w, factor;
} sizes;

static sizes sizes_of(json_object *c) {
    json_object *latent = member(c, "latent");
    sizes s = {tt_golden_int(c, "channels"), at(latent, 0), at(latent, 1), 1};
    for (size_t i = 1; i < json_object_array_length(member(c, "blocks")); i++) s.factor *= 2;
    return s;
}

static float *latent_of(json_object *c, const sizes *s) {
    size_t count = (size_t)(s->channels * s->h * s->w);
    float *nchw = values_of(tt_golden_string(c, "name"), "latent", count,
                            (float)tt_golden_number(c, "scale"));
    float *nhwc = tt_alloc(count * sizeof *nhwc);
    assert_non_null(nhwc);
    tt_golden_to_nhwc(nchw, nhwc, 1, s->channels, s->h, s->w);
    tt_free(nchw);
    return nhwc;
}

/* The picture [3, h, w] of file `path` with one back-end; memory only as rehearsed. */
static float *picture_of(json_object *c, const char *path, const tt_ops_options *options) {
    const sizes s = sizes_of(c);
    tt_ops *ops;
    tt_tiny_decoder *d;
    tt_err err;
    TT_GOLDEN_OK(tt_ops_open(options, &ops, &err), err);
    TT_GOLDEN_OK(tt_tiny_decoder_open(path, ops, &d, &err), err);
    assert_int_equal(tt_tiny_decoder_channels(d), s.channels);
    assert_int_equal(tt_tiny_decoder_factor(d), s.factor);
    int64_t h = s.h * s.factor, w = s.w * s.factor;
    size_t bytes = (size_t)(h * w * COLOURS) * sizeof(float);
    float *latent = latent_of(c, &s), *picture = tt_alloc(bytes), *nchw = tt_alloc(bytes);
    tt_ops_plan_begin(ops);
    TT_GOLDEN_OK(tt_tiny_decode(d, NULL, s.h, s.w, NULL, &err), err);
    TT_GOLDEN_OK(tt_ops_plan_end(ops, &err), err);
    TT_GOLDEN_OK(tt_ops_prepare(ops, &err), err);
    tt_alloc_fail_after(0); /* nothing is allocated now */
    tt_status status = tt_tiny_decode(d, latent, s.h, s.w, picture, &err);
    tt_alloc_fail_after(-1);
    TT_GOLDEN_OK(status, err);
    tt_golden_to_nchw(picture, nchw, 1, COLOURS, h, w);
    tt_tiny_decoder_close(d);
    tt_ops_close(ops);
    tt_free(latent);
    tt_free(picture);
    return nchw;
}

static void check(json_object *c, const char *path, const tt_ops_options *options) {
    const char *name = tt_golden_string(c, "name");
    const sizes s = sizes_of(c);
    tt_npy expected = tt_golden_array("expected/tiny/%s.npy", name);
    assert_int_equal(expected.count, s.h * s.w * s.factor * s.factor * COLOURS);
    float *picture = picture_of(c, path, options);
    double worst = tt_max_error(picture, expected.data, expected.count);
    double psnr = tt_psnr_f32(picture, expected.data, expected.count, 2);
    print_message("%s, %s %s: %.1e, %.1f dB\n", name,
                  options->backend == TT_BACKEND_REF ? "ref" : "cpu", tt_dtype_name(options->dtype),
                  worst, psnr);
    if (options->dtype == TT_F32)
        assert_true(worst < LARGEST_ERROR);
    else
        assert_true(psnr > SMALLEST_BF16_PSNR);
    tt_free(picture);
    tt_npy_release(&expected);
}

/* The row of expected/tiny.json called `name`; json_object_put it. */
static json_object *case_called(const char *name) {
    json_object *cases = tt_golden_cases("expected/tiny.json"), *found = NULL;
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        json_object *c = json_object_array_get_idx(cases, i);
        if (strcmp(tt_golden_string(c, "name"), name) == 0) found = json_object_get(c);
    }
    json_object_put(cases);
    assert_non_null(found);
    return found;
}

static void decoding_agrees_with_diffusers(void **state) {
    const tt_ops_options f32 = {.backend = TT_BACKEND_CPU, .dtype = TT_F32, .n_threads = 1};
    const tt_ops_options bf16 = {.backend = TT_BACKEND_CPU, .dtype = TT_BF16, .n_threads = 1};
    json_object *c = case_called(*state);
    write_files(c, TT_F32);
    check(c, taesd_file, &f32);
    check(c, diffusers_file, &f32);
    check(c, folder, &f32); /* which holds diffusers' file */
    check(c, taesd_file, &bf16);
    json_object_put(c);
}

static void the_reference_agrees_too(void **state) {
    const tt_ops_options ref = {.backend = TT_BACKEND_REF, .dtype = TT_F32, .n_threads = 1};
    json_object *c = case_called(*state);
    write_files(c, TT_F32);
    check(c, taesd_file, &ref);
    json_object_put(c);
}

/* TAESD's files are in f16. */
static void files_in_f16_are_read(void **state) {
    const tt_ops_options f32 = {.backend = TT_BACKEND_CPU, .dtype = TT_F32, .n_threads = 1};
    json_object *c = case_called(*state);
    tt_npy expected = tt_golden_array("expected/tiny/%s.npy", (const char *)*state);
    write_files(c, TT_F16);
    float *picture = picture_of(c, taesd_file, &f32);
    double psnr = tt_psnr_f32(picture, expected.data, expected.count, 2);
    print_message("%s in F16: %.1f dB\n", (const char *)*state, psnr);
    assert_true(psnr > SMALLEST_BF16_PSNR);
    tt_free(picture);
    tt_npy_release(&expected);
    json_object_put(c);
}

int main(void) {
#define WITH_CASE(test, name) \
    { name "_" #test, test, make_folder, remove_folder, name }
    const struct CMUnitTest tests[] = {
        WITH_CASE(decoding_agrees_with_diffusers, "taesdxl"),
        WITH_CASE(decoding_agrees_with_diffusers, "short"),
        WITH_CASE(decoding_agrees_with_diffusers, "sixteen"),
        WITH_CASE(the_reference_agrees_too, "short"),
        WITH_CASE(the_reference_agrees_too, "sixteen"),
        WITH_CASE(files_in_f16_are_read, "taesdxl"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
