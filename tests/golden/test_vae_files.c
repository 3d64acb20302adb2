/* Other VAEs than the model's own: named files and folders, and the same VAE in f32 where bf16 cannot hold its values. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/golden_data.h"
#include "support/golden_engine.h"
#include "support/psnr.h"
#include "weights/safetensors.h"

#define SMALLEST_PSNR 60.0

static tt_golden_path model_path(const char *name, tt_golden_layout layout) {
    tt_golden_path path;
    tt_err err;
    if (tt_golden_model(name, layout, &path, &err)) fail_msg("%s", err.message);
    return path;
}

static tt_engine_options kernel_options(void) {
    static tt_golden_path path;
    path = model_path("kernel", TT_GOLDEN_LDM);
    tt_engine_options o;
    tt_engine_options_defaults(&o);
    o.model_path = path.text;
    o.precision = o.vae_precision = TT_PRECISION_F32;
    o.n_threads = 1;
    return o;
}

static tt_result picture_with(const tt_engine_options *options, json_object *row) {
    tt_engine *engine;
    tt_err err;
    const tt_request request = tt_golden_request(row);
    if (tt_engine_open(options, &engine, &err)) fail_msg("%s", err.message);
    tt_result result = tt_golden_generate(engine, &request);
    tt_engine_close(engine);
    return result;
}

static void another_vae_decodes_as_in_diffusers(void **state) {
    (void)state;
    json_object *rows = tt_golden_cases("expected/other-vae.json");
    json_object *row = json_object_array_get_idx(rows, 0);
    tt_npy expected = tt_golden_array("expected/other-vae.npy");
    tt_golden_path paths[3];
    paths[0] = model_path("vpred", TT_GOLDEN_LDM);    /* out of a model's file */
    paths[1] = model_path("vpred", TT_GOLDEN_FOLDER); /* out of a model's folder */
    snprintf(paths[2].text, sizeof paths[2].text, "%.4000s/vae", paths[1].text); /* alone */
    for (int i = 0; i < 3; i++) {
        tt_engine_options options = kernel_options();
        options.vae_path = paths[i].text;
        tt_result result = picture_with(&options, row);
        double psnr = tt_psnr_u8(result.pictures[0].rgb, expected.data, expected.count);
        if (!(psnr > SMALLEST_PSNR)) fail_msg("%s: %.1f dB", paths[i].text, psnr);
        tt_result_release(&result);
    }
    tt_npy_release(&expected);
    json_object_put(rows);
}

static void files_without_a_fitting_vae_are_refused(void **state) {
    (void)state;
    const char *const paths[] = {"/nonexistent/vae.safetensors", TT_SOURCE_DIR "/tests",
                                 TT_SOURCE_DIR "/README.md"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        tt_engine_options options = kernel_options();
        tt_engine *engine;
        tt_err err;
        options.vae_path = paths[i];
        assert_int_not_equal(tt_engine_open(&options, &engine, &err), TT_OK);
        assert_null(engine);
        assert_true(strlen(err.message) > 10);
    }
}

/* ---- values beyond bf16 ------------------------------------------------------------------------------ */

/* A copy of the kernel model whose decoder adds `bias` to red at its end. */
static void write_biased(const char *path, float bias) {
    tt_safetensors *file = NULL;
    tt_err err;
    uint64_t header_size;
    if (tt_golden_model_write("kernel", TT_GOLDEN_LDM, path, &err) ||
        tt_safetensors_open(path, TT_ST_PREAD, &file, &err))
        fail_msg("%s", err.message);
    const tt_st_tensor *t = tt_safetensors_find(file, "first_stage_model.decoder.conv_out.bias");
    assert_non_null(t);
    assert_int_equal(t->info.dtype, TT_F32);
    uint64_t at = t->offset;
    tt_safetensors_close(file);
    FILE *out = fopen(path, "r+b");
    assert_non_null(out);
    assert_int_equal(fread(&header_size, sizeof header_size, 1, out), 1);
    assert_int_equal(fseek(out, (long)(sizeof header_size + header_size + at), SEEK_SET), 0);
    assert_int_equal(fwrite(&bias, sizeof bias, 1, out), 1);
    assert_int_equal(fclose(out), 0);
}

static tt_engine *biased_engine(float bias, tt_precision vae_precision) {
    char folder[] = "/tmp/tintype-vae-XXXXXX", path[64];
    tt_engine_options options = kernel_options();
    tt_engine *engine;
    tt_err err;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    write_biased(path, bias);
    options.vae_path = path;
    options.vae_precision = vae_precision;
    if (tt_engine_open(&options, &engine, &err)) fail_msg("%s", err.message);
    unlink(path); /* it stays open; f32 weights are read from it later */
    rmdir(folder);
    return engine;
}

/* f32 ends at 3.4028e38; bf16's largest number is 3.3895e38, and 3.4e38 rounds to infinity. */
#define BEYOND_BF16 3.4e38f

static void what_bf16_cannot_hold_is_decoded_again_in_f32(void **state) {
    (void)state;
    json_object *rows = tt_golden_cases("expected/other-vae.json");
    tt_request request = tt_golden_request(json_object_array_get_idx(rows, 0));
    request.count = 2;
    tt_engine *exact = biased_engine(BEYOND_BF16, TT_PRECISION_F32);
    tt_engine *rough = biased_engine(BEYOND_BF16, TT_PRECISION_BF16);
    size_t before = tt_engine_get_info(rough)->weight_bytes;
    tt_result expected = tt_golden_generate(exact, &request);
    tt_result found = tt_golden_generate(rough, &request);
    for (int i = 0; i < 2; i++)
        tt_golden_same_picture(&found.pictures[i], &expected.pictures[i], "the second attempt");
    assert_int_equal(found.pictures[0].rgb[0], UINT8_MAX);
    assert_string_equal(found.vae_precision, "f32");
    assert_true(tt_engine_get_info(rough)->weight_bytes > before);
    tt_result_release(&expected);
    tt_result_release(&found);
    tt_engine_close(exact);
    tt_engine_close(rough);
    json_object_put(rows);
}

static void a_vae_that_bf16_holds_stays_in_bf16(void **state) {
    (void)state;
    json_object *rows = tt_golden_cases("expected/other-vae.json");
    const tt_request request = tt_golden_request(json_object_array_get_idx(rows, 0));
    tt_engine *rough = biased_engine(0, TT_PRECISION_BF16);
    tt_result found = tt_golden_generate(rough, &request);
    assert_string_equal(found.vae_precision, "bf16");
    tt_result_release(&found);
    tt_engine_close(rough);
    json_object_put(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_vae_decodes_as_in_diffusers),
        cmocka_unit_test(files_without_a_fitting_vae_are_refused),
        cmocka_unit_test(what_bf16_cannot_hold_is_decoded_again_in_f32),
        cmocka_unit_test(a_vae_that_bf16_holds_stays_in_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
