/* Files that lack one tensor, as damaged downloads, careless merges and other architectures do: each is refused with the
 * tensor's name, or that of one beside it. Filling in what is missing, or leaving out the part that it is of, would be a wrong
 * picture without a word. A tensor is taken away by changing its name's first letter in the file's header: names that no network
 * has are passed over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "support/golden_model.h"
#include "tintype/engine.h"

/* Two levels, transformers of depth 1 and 2, text encoders of five layers: models.py has it as "quirks". */
static const char model[] = "quirks";

static char path[PATH_MAX], folder[] = "/tmp/tt_damage_XXXXXX";

static int write_model(void **state) {
    (void)state;
    tt_err err;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    return tt_golden_model_write(model, TT_GOLDEN_LDM, path, &err) == TT_OK ? 0 : -1;
}

static int remove_model(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* Where the name begins in the file. */
static long find_name(FILE *file, const char *name) {
    uint64_t size;
    char quoted[256];
    rewind(file);
    assert_int_equal(fread(&size, sizeof size, 1, file), 1);
    char *header = tt_alloc(size + 1);
    assert_non_null(header);
    assert_int_equal(fread(header, 1, size, file), size);
    snprintf(quoted, sizeof quoted, "\"%s\"", name);
    const char *at = strstr(header, quoted);
    if (!at) fail_msg("the model has no tensor %s", name);
    long place = (long)sizeof size + (at - header) + 1;
    tt_free(header);
    return place;
}

static void put_letter(FILE *file, long place, char letter) {
    assert_int_equal(fseek(file, place, SEEK_SET), 0);
    assert_int_equal(fputc(letter, file), letter);
    assert_int_equal(fflush(file), 0);
}

static tt_status open_without(const char *name, tt_err *err) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    long place = find_name(file, name);
    put_letter(file, place, '_');
    tt_engine_options options;
    tt_engine *engine = NULL;
    tt_engine_options_defaults(&options);
    options.model_path = path;
    options.precision = TT_PRECISION_F32;
    tt_status status = tt_engine_open(&options, &engine, err);
    tt_engine_close(engine);
    put_letter(file, place, name[0]);
    fclose(file);
    return status;
}

#define UNET   "model.diffusion_model."
#define TEXT_1 "conditioner.embedders.0.transformer.text_model."
#define TEXT_2 "conditioner.embedders.1.model."
#define VAE    "first_stage_model."
#define DOWN_1 "unet.down_blocks.1.attentions.0."

static void what_is_missing_is_named(void **state) {
    (void)state;
    static const struct {
        const char *missing, *said;
    } cases[] = {
        /* biases: zeros would do, and be wrong */
        {UNET "out.2.bias", "no tensor unet.conv_out.bias"},
        {UNET "time_embed.0.bias", "no tensor unet.time_embedding.linear_1.bias"},
        {UNET "input_blocks.4.0.emb_layers.1.bias",
         "no tensor unet.down_blocks.1.resnets.0.time_emb_proj.bias"},
        {UNET "input_blocks.4.1.transformer_blocks.1.attn1.to_out.0.bias",
         "no tensor " DOWN_1 "transformer_blocks.1.attn1.to_out.0.bias"},
        {UNET "input_blocks.4.1.transformer_blocks.1.ff.net.0.proj.bias",
         "no tensor " DOWN_1 "transformer_blocks.1.ff.net.0.proj.bias"},
        {TEXT_1 "encoder.layers.1.mlp.fc1.bias", "no tensor te1.text_model.encoder.layers.1.mlp"},
        {TEXT_2 "transformer.resblocks.1.attn.in_proj_bias",
         "no tensor te2.text_model.encoder.layers.1.self_attn.q_proj.bias"},
        {VAE "decoder.conv_out.bias", "no tensor vae.decoder.conv_out.bias"},
        {VAE "decoder.mid.attn_1.proj_out.bias",
         "no tensor vae.decoder.mid_block.attentions.0.to_out.0.bias"},
        /* by these parts are found and counted */
        {UNET "input_blocks.4.1.transformer_blocks.1.norm1.weight",
         "tensor " DOWN_1 "transformer_blocks.1."},
        {UNET "input_blocks.4.1.norm.weight", "tensor " DOWN_1},
        {TEXT_1 "encoder.layers.2.layer_norm1.weight",
         "no tensor te1.text_model.encoder.layers.2.layer_norm1.weight"},
        {TEXT_2 "transformer.resblocks.3.ln_1.weight",
         "no tensor te2.text_model.encoder.layers.3.layer_norm1.weight"},
        {VAE "decoder.up.0.block.1.conv1.weight", "tensor vae.decoder.up_blocks.1.resnets.1."},
        {VAE "decoder.mid.attn_1.q.weight", "tensor vae.decoder.mid_block.attentions.0."},
        {VAE "post_quant_conv.weight", "tensor vae.post_quant_conv.bias"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tt_err err = {0};
        if (open_without(cases[i].missing, &err) == TT_OK)
            fail_msg("a model without %s was opened", cases[i].missing);
        if (!strstr(err.message, cases[i].said))
            fail_msg("without %s: expected \"%s\", found \"%s\"", cases[i].missing, cases[i].said,
                     err.message);
    }
}

/* What no picture needs may be missing: the last layer of the first encoder is never read. */
static void what_is_not_needed_may_be_missing(void **state) {
    (void)state;
    tt_err err = {0};
    if (open_without(TEXT_1 "encoder.layers.4.mlp.fc2.bias", &err)) fail_msg("%s", err.message);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(what_is_not_needed_may_be_missing),
    };
    return cmocka_run_group_tests(tests, write_model, remove_model);
}
