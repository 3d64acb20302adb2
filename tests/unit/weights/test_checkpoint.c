/* The same tensors behind every layout, and reading them. The expected names and values come from a table written
 * by hand (support/layout_model.c), which shares no code with the mapping. */
#include "weights/checkpoint.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/layout_model.c"
#include "support/safetensors_writer.c"

/* ---- layouts ---------------------------------------------------------------------------------------- */

static void ldm_file_has_canonical_names(void **state) {
    (void)state;
    layout_write_ldm(TT_F16);
    tt_checkpoint *c = layout_opens(layout_file);
    layout_holds(c, NULL);
    assert_string_equal(tt_checkpoint_facts(c)->layout, "ldm file");
    assert_false(tt_checkpoint_has(c, "te1.text_model.embeddings.position_ids"));
    assert_int_equal(tt_checkpoint_count(c, "unet.down_blocks.%d.resnets.0.norm1.weight"), 2);
    assert_int_equal(tt_checkpoint_count(c, "unet.up_blocks.0.resnets.%d.norm1.weight"), 2);
    assert_int_equal(tt_checkpoint_count(c, "unet.nothing.%d"), 0);
    int64_t total = 0;
    for (int i = 0; i < LAYOUT_PAIRS; i++) total += (int64_t)layout_count(&layout_pairs[i]);
    assert_int_equal(tt_checkpoint_parameters(c, ""), total);
    assert_true(tt_checkpoint_parameters(c, "unet.") > 0 &&
                tt_checkpoint_parameters(c, "unet.") < total);
    tt_checkpoint_close(c);
}

static void folder_holds_the_same(void **state) {
    (void)state;
    static const layout_style styles[] = {
        {.suffix = ""},
        {.suffix = ".fp16"},
        {.suffix = "", .old_vae = true, .bare_te1 = true},
        {.suffix = "", .sharded = true, .index = "diffusion_pytorch_model.safetensors.index.json"},
        {.suffix = "",
         .sharded = true,
         .index = "diffusion_pytorch_model.safetensors.index.fp16.json"},
        {.suffix = "",
         .sharded = true,
         .index = "diffusion_pytorch_model.fp16.safetensors.index.json"},
    };
    for (size_t i = 0; i < sizeof styles / sizeof *styles; i++) {
        layout_write_folder(&styles[i], TT_F16);
        layout_check(layout_folder, NULL);
    }
}

static void folder_prefers_the_file_without_variant(void **state) {
    (void)state;
    layout_write_folder(&(layout_style){.suffix = ""}, TT_F16);
    char path[256];
    snprintf(path, sizeof path, "%s/unet/diffusion_pytorch_model.fp16.safetensors", layout_folder);
    st_save_bytes(path, "broken", 6);
    layout_check(layout_folder, NULL);
}

static void networks_alone_open_without_prefix(void **state) {
    (void)state;
    static const char *const alone[] = {"unet", "vae"};
    for (int i = 0; i < 2; i++) {
        st_writer w;
        st_begin(&w);
        layout_add_ldm(&w, alone[i], false, TT_F32);
        st_save(&w, layout_file);
        layout_check(layout_file, alone[i]);
        layout_write_folder(&(layout_style){.suffix = ""}, TT_F16);
        char path[256];
        snprintf(path, sizeof path, "%s/%s/diffusion_pytorch_model.safetensors", layout_folder,
                 alone[i]);
        layout_check(path, alone[i]);
    }
}

static void vae_prefix_of_other_tools_is_known(void **state) {
    (void)state;
    st_writer w;
    float values[LAYOUT_MAX_ELEMENTS];
    char name[256];
    st_begin(&w);
    for (int i = 0; i < LAYOUT_PAIRS; i++) {
        if (strcmp(layout_pairs[i].component, "vae") != 0) continue;
        layout_values(&layout_pairs[i], values);
        snprintf(name, sizeof name, "vae.%s", layout_pairs[i].ldm);
        st_add_f32(&w, name, TT_F16, layout_pairs[i].rank, layout_pairs[i].shape, values);
    }
    st_save(&w, layout_file);
    layout_check(layout_file, "vae");
}

static void second_encoder_may_use_transformers_names(void **state) {
    (void)state;
    static const char *const prefixes[] = {"conditioner.embedders.1.model.",
                                           "conditioner.embedders.1.transformer."};
    for (int k = 0; k < 2; k++) {
        st_writer w;
        float values[LAYOUT_MAX_ELEMENTS];
        char name[256];
        st_begin(&w);
        layout_add_ldm(&w, "unet", true, TT_F16);
        for (int i = 0; i < LAYOUT_PAIRS; i++) {
            if (strcmp(layout_pairs[i].component, "te2") != 0) continue;
            layout_values(&layout_pairs[i], values);
            snprintf(name, sizeof name, "%s%s", prefixes[k], layout_pairs[i].canonical);
            st_add_f32(&w, name, TT_F16, layout_pairs[i].rank, layout_pairs[i].shape, values);
        }
        st_save(&w, layout_file);
        layout_check(layout_file, "te2");
    }
}

static void shipped_model_is_complete(void **state) {
    (void)state;
    tt_checkpoint *c = layout_opens(TT_SOURCE_DIR "/models/tintype-tiny.safetensors");
    static const char *const components[] = {"unet", "vae", "te1", "te2"};
    tt_err err;
    for (int i = 0; i < 4; i++)
        assert_int_equal(tt_checkpoint_require(c, components[i], &err), TT_OK);
    assert_int_equal(tt_checkpoint_count(c, "unet.down_blocks.%d.resnets.0.norm1.weight"), 3);
    assert_int_equal(tt_checkpoint_count(c, "vae.decoder.up_blocks.%d.resnets.0.norm1.weight"), 4);
    assert_int_equal(
        tt_checkpoint_count(c, "unet.mid_block.attentions.0.transformer_blocks.%d.norm1.weight"),
        2);
    const tt_model_facts *f = tt_checkpoint_facts(c);
    assert_int_equal(f->text[0].heads, 1);
    assert_string_equal(f->text[0].activation, "quick_gelu");
    assert_string_equal(f->text[1].activation, "gelu");
    assert_int_equal(f->text[0].pad_id, 49407);
    assert_int_equal(f->text[1].pad_id, 0);
    assert_int_equal(f->defaults.steps, 24);
    assert_true(f->defaults.guidance == 4.5);
    assert_string_equal(f->defaults.sampler, "dpmpp_2m_karras");
    tt_checkpoint_close(c);
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static void shapes_are_checked_and_squeezed(void **state) {
    (void)state;
    layout_write_ldm(TT_F16);
    tt_checkpoint *c = layout_opens(layout_file);
    float values[LAYOUT_MAX_ELEMENTS];
    tt_err err;
    const char *name = "vae.decoder.mid_block.attentions.0.to_q.weight";
    tt_tensor_info info;
    assert_int_equal(tt_checkpoint_info(c, name, &info, &err), TT_OK);
    assert_int_equal(info.rank, 2); /* a 1x1 convolution in the file */
    assert_int_equal(
        tt_checkpoint_read(c, name, TT_F32, 4, (int64_t[]){16, 16, 1, 1}, values, &err), TT_OK);
    assert_int_equal(tt_checkpoint_read(c, name, TT_F32, 2, (int64_t[]){16, 8}, values, &err),
                     TT_E_FORMAT);
    assert_non_null(strstr(err.message, "shape [16,16], expected [16,8]"));
    assert_int_equal(tt_checkpoint_read(c, name, TT_F32, -1, NULL, values, &err), TT_OK);
    assert_int_equal(tt_checkpoint_read(c, "unet.conv_shortcut", TT_F32, -1, NULL, values, &err),
                     TT_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "has no tensor unet.conv_shortcut"));
    tt_checkpoint_close(c);
}

static void bf16_reads_are_rounded(void **state) {
    (void)state;
    layout_write_ldm(TT_F32);
    tt_checkpoint *c = layout_opens(layout_file);
    float values[LAYOUT_MAX_ELEMENTS];
    uint16_t found[LAYOUT_MAX_ELEMENTS];
    for (int i = 0; i < LAYOUT_PAIRS; i++) {
        char name[256];
        layout_name(name, sizeof name, &layout_pairs[i]);
        layout_values(&layout_pairs[i], values);
        assert_int_equal(tt_checkpoint_read(c, name, TT_BF16, -1, NULL, found, NULL), TT_OK);
        for (size_t k = 0; k < layout_count(&layout_pairs[i]); k++)
            assert_int_equal(found[k], tt_f32_to_bf16(values[k]));
    }
    tt_checkpoint_close(c);
}

/* Larger than a chunk, so that the pieces have to fit together; also as a transposed view. */
static void large_tensors_are_read_in_pieces(void **state) {
    (void)state;
    enum { ROWS = 700, COLUMNS = 900 };
    float *values = malloc(sizeof(float) * ROWS * COLUMNS),
          *found = malloc(sizeof(float) * ROWS * COLUMNS);
    layout_fill(values, "large", ROWS * COLUMNS);
    static const tt_dtype dtypes[] = {TT_F16, TT_F32, TT_F64};
    for (int k = 0; k < 3; k++) {
        st_writer w;
        st_begin(&w);
        st_add(&w, "a", TT_U8, 1, (int64_t[]){1}, NULL); /* makes everything unaligned */
        layout_add_ldm(&w, "unet", true, TT_F16);
        const char *name = "conditioner.embedders.1.model.text_projection";
        const char *plain = "conditioner.embedders.1.model.token_embedding.weight";
        if (dtypes[k] == TT_F64) {
            double *wide = malloc(sizeof(double) * ROWS * COLUMNS);
            for (int i = 0; i < ROWS * COLUMNS; i++) wide[i] = (double)values[i];
            st_add(&w, name, TT_F64, 2, (int64_t[]){ROWS, COLUMNS}, wide);
            st_add(&w, plain, TT_F64, 2, (int64_t[]){ROWS, COLUMNS}, wide);
            free(wide);
        } else {
            st_add_f32(&w, name, dtypes[k], 2, (int64_t[]){ROWS, COLUMNS}, values);
            st_add_f32(&w, plain, dtypes[k], 2, (int64_t[]){ROWS, COLUMNS}, values);
        }
        st_save(&w, layout_file);
        for (int map = 0; map < 2; map++) {
            tt_checkpoint *c;
            assert_int_equal(tt_checkpoint_open_with(
                                 layout_file, &(tt_checkpoint_options){.map = map}, &c, NULL),
                             TT_OK);
            assert_int_equal(tt_checkpoint_read(c, "te2.text_projection.weight", TT_F32, 2,
                                                (int64_t[]){COLUMNS, ROWS}, found, NULL),
                             TT_OK);
            for (int i = 0; i < ROWS; i++)
                for (int j = 0; j < COLUMNS; j++)
                    if (found[j * ROWS + i] != values[i * COLUMNS + j])
                        fail_msg("transposed %d %d", i, j);
            assert_int_equal(tt_checkpoint_read(c,
                                                "te2.text_model.embeddings.token_embedding.weight",
                                                TT_F32, 2, (int64_t[]){ROWS, COLUMNS}, found, NULL),
                             TT_OK);
            assert_memory_equal(found, values, sizeof(float) * ROWS * COLUMNS);
            tt_checkpoint_close(c);
        }
    }
    free(values);
    free(found);
}

/* Of a matrix as it is stored and of one that is stored the other way round, in steps that do not divide it. */
static void rows_are_those_of_the_whole(void **state) {
    (void)state;
    enum { ROWS = 40, COLUMNS = 12, STEP = 7 };
    static const char *const names[] = {"te2.text_model.embeddings.token_embedding.weight",
                                        "te2.text_projection.weight"};
    float values[ROWS * COLUMNS], whole[ROWS * COLUMNS], found[ROWS * COLUMNS];
    st_writer w;
    layout_fill(values, "rows", ROWS * COLUMNS);
    st_begin(&w);
    layout_add_ldm(&w, "unet", true, TT_F16);
    st_add_f32(&w, "conditioner.embedders.1.model.token_embedding.weight", TT_F16, 2,
               (int64_t[]){ROWS, COLUMNS}, values);
    st_add_f32(&w, "conditioner.embedders.1.model.text_projection", TT_F16, 2,
               (int64_t[]){COLUMNS, ROWS}, values);
    st_save(&w, layout_file);
    tt_checkpoint *c = layout_opens(layout_file);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(tt_checkpoint_read(c, names[k], TT_F32, -1, NULL, whole, NULL), TT_OK);
        for (int i = 0; i < ROWS; i += STEP) {
            int n = ROWS - i < STEP ? ROWS - i : STEP;
            assert_int_equal(
                tt_checkpoint_read_rows(c, names[k], TT_F32, i, n, found + i * COLUMNS, NULL),
                TT_OK);
        }
        assert_memory_equal(found, whole, sizeof whole);
    }
    static const int64_t outside[][2] = {
        {-1, 1}, {0, ROWS + 1}, {ROWS, 1}, {1, -1}, {1, INT64_MAX}};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_int_equal(
            tt_checkpoint_read_rows(c, names[0], TT_F32, outside[i][0], outside[i][1], found, NULL),
            TT_E_INVALID);
    tt_checkpoint_close(c);
}

static void values_that_are_not_finite_are_named(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const tt_dtype dtypes[] = {TT_F32, TT_F16, TT_BF16};
    for (int k = 0; k < 3; k++) {
        float values[16] = {0};
        values[5] = bad[k];
        st_writer w;
        st_begin(&w);
        layout_add_ldm(&w, "vae", true, TT_F16);
        st_add_f32(&w, "conditioner.embedders.1.model.token_embedding.weight", dtypes[k], 2,
                   (int64_t[]){4, 4}, values);
        st_save(&w, layout_file);
        tt_checkpoint *c = layout_opens(layout_file);
        tt_err err;
        for (int to = TT_F32; to <= TT_F16; to++) {
            float out[16];
            assert_int_equal(tt_checkpoint_read(c,
                                                "te2.text_model.embeddings.token_embedding.weight",
                                                (tt_dtype)to, -1, NULL, out, &err),
                             TT_E_FORMAT);
            assert_non_null(strstr(err.message, "token_embedding.weight: element 5 is"));
            assert_non_null(strstr(err.message, layout_file));
        }
        tt_checkpoint_close(c);
    }
}

static void fp8_weights_are_scaled(void **state) {
    (void)state;
    static const char *const suffixes[] = {"scale_weight", "weight_scale"};
    for (int k = 0; k < 2; k++) {
        st_writer w;
        char name[128];
        uint8_t weights[16];
        for (int i = 0; i < 16; i++) weights[i] = (uint8_t)(0x30 + i); /* E4M3 */
        float scale = 0.25f;
        st_begin(&w);
        layout_add_ldm(&w, "unet", true, TT_F16);
        const char *stem = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.";
        snprintf(name, sizeof name, "%sweight", stem);
        st_add(&w, name, TT_F8_E4M3, 2, (int64_t[]){4, 4}, weights);
        snprintf(name, sizeof name, "%s%s", stem, suffixes[k]);
        st_add(&w, name, TT_F32, 0, NULL, &scale);
        st_add(&w, "scaled_fp8", TT_F8_E4M3, 1, (int64_t[]){0}, NULL);
        st_save(&w, layout_file);
        tt_checkpoint *c = layout_opens(layout_file);
        float plain[16], found[16];
        tt_convert(plain, TT_F32, weights, TT_F8_E4M3, 16);
        assert_int_equal(
            tt_checkpoint_read(c,
                               "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight",
                               TT_F32, -1, NULL, found, NULL),
            TT_OK);
        for (int i = 0; i < 16; i++) assert_true(found[i] == plain[i] * 0.25f);
        tt_checkpoint_close(c);
    }
}

static void integers_are_no_weights(void **state) {
    (void)state;
    st_writer w;
    st_begin(&w);
    layout_add_ldm(&w, "vae", true, TT_F16);
    st_add(&w, "conditioner.embedders.1.model.token_embedding.weight", TT_I64, 1, (int64_t[]){2},
           NULL);
    st_save(&w, layout_file);
    tt_checkpoint *c = layout_opens(layout_file);
    tt_err err;
    float out[2];
    assert_int_equal(tt_checkpoint_read(c, "te2.text_model.embeddings.token_embedding.weight",
                                        TT_F32, -1, NULL, out, &err),
                     TT_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "dtype I64"));
    tt_checkpoint_close(c);
}

static void *read_everything(void *c) {
    for (int round = 0; round < 3; round++) layout_holds(c, NULL);
    return NULL;
}

static void threads_read_at_once(void **state) {
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    layout_write_ldm(TT_F16);
    tt_checkpoint *c = layout_opens(layout_file);
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, read_everything, c);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    tt_checkpoint_close(c);
}

static void opening_survives_any_allocation_failing(void **state) {
    (void)state;
    const char *paths[2] = {layout_file, layout_folder};
    layout_write_ldm(TT_F16);
    layout_write_folder(&(layout_style){.suffix = "",
                                        .sharded = true,
                                        .index = "diffusion_pytorch_model.safetensors.index.json"},
                        TT_F16);
    for (int i = 0; i < 2; i++) {
        tt_status status = TT_E_NOMEM;
        for (int64_t n = 0; status != TT_OK; n++) {
            tt_err err = {0};
            tt_checkpoint *c;
            tt_alloc_fail_after(n);
            status = tt_checkpoint_open(paths[i], &c, &err);
            tt_alloc_fail_after(-1);
            if (status == TT_OK)
                tt_checkpoint_close(c);
            else
                assert_int_equal(status, TT_E_NOMEM);
        }
    }
}

static void reading_survives_any_allocation_failing(void **state) {
    (void)state;
    static const char *const names[] = {"te2.text_projection.weight", "unet.conv_in.weight"};
    layout_write_ldm(TT_F16);
    tt_checkpoint *c = layout_opens(layout_file);
    float out[LAYOUT_MAX_ELEMENTS];
    for (int i = 0; i < 2; i++) {
        tt_status status = TT_E_NOMEM;
        int64_t n = 0;
        for (; status != TT_OK; n++) {
            tt_alloc_fail_after(n);
            status = tt_checkpoint_read(c, names[i], TT_F32, -1, NULL, out, NULL);
            tt_alloc_fail_after(-1);
            assert_true(status == TT_OK || status == TT_E_NOMEM);
        }
        assert_int_equal(n, i == 0 ? 3 : 2);
    }
    tt_checkpoint_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ldm_file_has_canonical_names),
        cmocka_unit_test(folder_holds_the_same),
        cmocka_unit_test(folder_prefers_the_file_without_variant),
        cmocka_unit_test(networks_alone_open_without_prefix),
        cmocka_unit_test(vae_prefix_of_other_tools_is_known),
        cmocka_unit_test(second_encoder_may_use_transformers_names),
        cmocka_unit_test(shipped_model_is_complete),
        cmocka_unit_test(shapes_are_checked_and_squeezed),
        cmocka_unit_test(bf16_reads_are_rounded),
        cmocka_unit_test(large_tensors_are_read_in_pieces),
        cmocka_unit_test(rows_are_those_of_the_whole),
        cmocka_unit_test(values_that_are_not_finite_are_named),
        cmocka_unit_test(fp8_weights_are_scaled),
        cmocka_unit_test(integers_are_no_weights),
        cmocka_unit_test(threads_read_at_once),
        cmocka_unit_test(opening_survives_any_allocation_failing),
        cmocka_unit_test(reading_survives_any_allocation_failing),
    };
    return cmocka_run_group_tests(tests, layout_begin, layout_end);
}
