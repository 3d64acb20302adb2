/* Tiny decoders' files, right and wrong; what a pixel depends on; lost memory. Likeness to diffusers is tested in
 * tests/golden/test_tiny_decoder.c. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/safetensors_writer.c"
#include "vae/tiny.h"

enum { CHANNELS = 4, WIDTH = 4, FACTOR = 2, COLOURS = 3, MAX_COUNT = 1024, PATH_BYTES = 128 };

static char path[PATH_BYTES];
static tt_ops *ops;
static tt_err err;

static int begin(void **state) {
    const tt_ops_options options = {.backend = TT_BACKEND_REF, .dtype = TT_F32, .n_threads = 1};
    (void)state;
    snprintf(path, sizeof path, "/tmp/tt-tiny-%d.safetensors", (int)getpid());
    return tt_ops_open(&options, &ops, &err) == TT_OK ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    unlink(path);
    tt_ops_close(ops);
    return 0;
}

/* One block, a doubling, one block: names as in taesdxl_decoder.safetensors. */
static const struct {
    const char *name;
    int rank;
    int64_t shape[4];
} TENSORS[] = {
    {"1.weight", 4, {WIDTH, CHANNELS, 3, 3}},
    {"1.bias", 1, {WIDTH}},
    {"3.conv.0.weight", 4, {WIDTH, WIDTH, 3, 3}},
    {"3.conv.0.bias", 1, {WIDTH}},
    {"3.conv.2.weight", 4, {WIDTH, WIDTH, 3, 3}},
    {"3.conv.2.bias", 1, {WIDTH}},
    {"3.conv.4.weight", 4, {WIDTH, WIDTH, 3, 3}},
    {"3.conv.4.bias", 1, {WIDTH}},
    {"5.weight", 4, {WIDTH, WIDTH, 3, 3}},
    {"6.conv.0.weight", 4, {WIDTH, WIDTH, 3, 3}},
    {"6.conv.0.bias", 1, {WIDTH}},
    {"6.conv.2.weight", 4, {WIDTH, WIDTH, 3, 3}},
    {"6.conv.2.bias", 1, {WIDTH}},
    {"6.conv.4.weight", 4, {WIDTH, WIDTH, 3, 3}},
    {"6.conv.4.bias", 1, {WIDTH}},
    {"7.weight", 4, {COLOURS, WIDTH, 3, 3}},
    {"7.bias", 1, {COLOURS}},
};
enum { N_TENSORS = sizeof TENSORS / sizeof TENSORS[0] };

/* What is wrong with a file; zeros: nothing. */
typedef struct flaw {
    const char *without; /* this tensor */
    const char *reshaped;
    int rank;
    int64_t shape[4];
    const char *extra; /* a tensor more, [1] */
    const char *spoilt;
    float value; /* the first of that tensor */
    tt_dtype dtype;
} flaw;

static bool is(const char *a, const char *b) {
    return a && strcmp(a, b) == 0;
}

static void write_file(const flaw *f) {
    static const int64_t one[] = {1};
    st_writer w;
    float values[MAX_COUNT];
    st_begin(&w);
    for (int i = 0; i < N_TENSORS; i++) {
        const char *name = TENSORS[i].name;
        bool other = is(f->reshaped, name);
        if (is(f->without, name)) continue;
        for (int k = 0; k < MAX_COUNT; k++) values[k] = (float)((k * 37 + i) % 11 - 5) * 0.05f;
        if (is(f->spoilt, name)) values[0] = f->value;
        st_add_f32(&w, name, f->dtype, other ? f->rank : TENSORS[i].rank,
                   other ? f->shape : TENSORS[i].shape, values);
    }
    if (f->extra) st_add_f32(&w, f->extra, TT_F32, 1, one, values);
    st_save(&w, path);
}

static tt_tiny_decoder *opens(void) {
    tt_tiny_decoder *d;
    tt_status status = tt_tiny_decoder_open(path, ops, &d, &err);
    if (status != TT_OK) print_error("%s\n", err.message);
    assert_int_equal(status, TT_OK);
    return d;
}

/* The sentence is "<path>" and then this. */
static void refuses(const flaw *f, tt_status code, const char *sentence) {
    tt_tiny_decoder *d;
    char whole[TT_ERR_MESSAGE_BYTES];
    write_file(f);
    assert_int_equal(tt_tiny_decoder_open(path, ops, &d, &err), code);
    assert_null(d);
    snprintf(whole, sizeof whole, "%s%s", path, sentence);
    assert_string_equal(err.message, whole);
    assert_int_equal(tt_ops_weight_bytes(ops), 0);
}

static void shapes_tell_the_size(void **state) {
    (void)state;
    write_file(&(flaw){0});
    tt_tiny_decoder *d = opens();
    assert_int_equal(tt_tiny_decoder_channels(d), CHANNELS);
    assert_int_equal(tt_tiny_decoder_factor(d), FACTOR);
    tt_tiny_decoder_close(d);
    write_file(&(flaw){.without = "3.conv.2.bias"}); /* biases are optional */
    tt_tiny_decoder_close(opens());
    tt_tiny_decoder_close(NULL);
}

static void files_that_miss_or_hold_something_else_are_refused(void **state) {
    (void)state;
    refuses(&(flaw){.without = "3.conv.2.weight"}, TT_E_FORMAT,
            ": tensor 3.conv.2.weight is missing");
    refuses(&(flaw){.without = "5.weight"}, TT_E_FORMAT,
            ": layer 4 has no weights, and layer 5 is no convolution: tensors are missing");
    refuses(&(flaw){.without = "3.conv.0.weight"}, TT_E_FORMAT,
            ": layer 3 has no weights, and layer 4 is no convolution: tensors are missing");
    refuses(&(flaw){.without = "7.weight"}, TT_E_FORMAT,
            ": layer 7 has no weights, and layer 8 is no convolution: tensors are missing");
    refuses(&(flaw){.extra = "2.weight"}, TT_E_UNSUPPORTED, ": 2.* has weights, expected a ReLU");
    refuses(&(flaw){.extra = "3.skip.weight"}, TT_E_UNSUPPORTED,
            ": tensor 3.skip.weight is not part of a tiny decoder");
    refuses(&(flaw){.extra = "4.bias"}, TT_E_UNSUPPORTED,
            ": tensor 4.bias is not part of a tiny decoder");
    refuses(&(flaw){.extra = "05.weight"}, TT_E_UNSUPPORTED,
            ": tensor 05.weight is not part of a tiny decoder");
    refuses(&(flaw){.extra = "notes"}, TT_E_UNSUPPORTED,
            ": tensor notes is not part of a tiny decoder");
    refuses(&(flaw){.extra = "0.weight"}, TT_E_UNSUPPORTED,
            ": tensor 0.weight is not part of a tiny decoder");
    refuses(&(flaw){.extra = "99999999999999999999.weight"}, TT_E_UNSUPPORTED,
            ": a tiny decoder of more than 64 layers, which is not supported");
}

static void shapes_that_contradict_each_other_are_refused(void **state) {
    (void)state;
    refuses(&(flaw){.reshaped = "3.conv.2.weight", .rank = 4, .shape = {WIDTH, 7, 3, 3}},
            TT_E_FORMAT, ": tensor 3.conv.2.weight takes 7 channels, expected 4");
    refuses(&(flaw){.reshaped = "3.conv.4.weight",
                    .without = "3.conv.4.bias",
                    .rank = 4,
                    .shape = {6, WIDTH, 3, 3}},
            TT_E_FORMAT, ": block 3: makes 6 channels of 4, expected as many");
    refuses(&(flaw){.reshaped = "5.weight", .rank = 4, .shape = {WIDTH, WIDTH, 1, 1}}, TT_E_FORMAT,
            ": tensor 5.weight: expected a 3x3 convolution to 1 to 512 channels");
    refuses(&(flaw){.reshaped = "5.weight", .rank = 2, .shape = {WIDTH, WIDTH}}, TT_E_FORMAT,
            ": tensor 5.weight: expected a 3x3 convolution to 1 to 512 channels");
    refuses(&(flaw){.reshaped = "1.weight", .rank = 1, .shape = {WIDTH}}, TT_E_FORMAT,
            ": tensor 1.weight: expected a 3x3 convolution of latents");
    refuses(&(flaw){.reshaped = "1.bias", .rank = 1, .shape = {WIDTH + 1}}, TT_E_FORMAT,
            ": tensor 1.bias: expected shape [4]");
    refuses(
        &(flaw){
            .reshaped = "7.weight", .without = "7.bias", .rank = 4, .shape = {WIDTH, WIDTH, 3, 3}},
        TT_E_FORMAT, ": the last layer, 7, makes 4 channels, expected a convolution to 3");
    refuses(&(flaw){.reshaped = "1.weight", .rank = 4, .shape = {WIDTH, 13, 3, 3}},
            TT_E_UNSUPPORTED, ": 13 channels for 4 pixels per latent");
}

static void values_that_are_no_numbers_are_refused(void **state) {
    (void)state;
    refuses(&(flaw){.spoilt = "6.conv.4.weight", .value = NAN}, TT_E_FORMAT,
            ": tensor 6.conv.4.weight has values that are not numbers");
    refuses(&(flaw){.spoilt = "7.bias", .value = INFINITY, .dtype = TT_F16}, TT_E_FORMAT,
            ": tensor 7.bias has values that are not numbers");
}

static void other_networks_are_named(void **state) {
    (void)state;
    static const struct {
        const char *name, *what;
    } files[] = {
        {"decoder.up_blocks.0.resnets.0.conv1.weight", "a full VAE"},
        {"first_stage_model.decoder.up.0.block.0.norm1.weight", "a full VAE"},
        {"time_embedding.linear_1.weight", "a UNet"},
        {"model.diffusion_model.time_embed.0.weight", "a checkpoint with a UNet"},
        {"lora_unet_x.lora_up.weight", "a LoRA"},
        {"encoder.layers.0.weight", "the encoder of a tiny VAE alone"},
        {"text_model.embeddings.token_embedding.weight", "a text encoder"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char sentence[TT_ERR_MESSAGE_BYTES];
        snprintf(sentence, sizeof sentence,
                 " is %s, not a tiny decoder (taesdxl_decoder.safetensors, AutoencoderTiny)",
                 files[i].what);
        refuses(&(flaw){.without = "1.weight", .extra = files[i].name}, TT_E_UNSUPPORTED, sentence);
    }
    refuses(&(flaw){.without = "1.weight"}, TT_E_UNSUPPORTED,
            " is not a tiny decoder (taesdxl_decoder.safetensors, AutoencoderTiny): it has neither "
            "1.weight nor decoder.layers.0.weight");
}

static void missing_files_say_so(void **state) {
    (void)state;
    tt_tiny_decoder *d;
    char long_path[2 * PATH_MAX];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    assert_int_equal(tt_tiny_decoder_open("/nonexistent.safetensors", ops, &d, &err),
                     TT_E_NOT_FOUND);
    assert_int_equal(tt_tiny_decoder_open(TT_SOURCE_DIR "/tests", ops, &d, &err), TT_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "has no diffusion_pytorch_model.safetensors"));
    assert_int_equal(tt_tiny_decoder_open(long_path, ops, &d, &err), TT_E_INVALID);
    assert_int_equal(tt_tiny_decoder_open(TT_SOURCE_DIR "/README.md", ops, &d, &err), TT_E_FORMAT);
    assert_null(d);
}

static void decode(const tt_tiny_decoder *d, const float *latent, int64_t h, int64_t w,
                   float *picture) {
    tt_ops_plan_begin(ops);
    assert_int_equal(tt_tiny_decode(d, NULL, h, w, NULL, &err), TT_OK);
    assert_int_equal(tt_ops_plan_end(ops, &err), TT_OK);
    assert_int_equal(tt_tiny_decode(d, latent, h, w, picture, &err), TT_OK);
}

/* Four convolutions at the latents' size reach 4 of them; five at twice the size reach 5 pixels more. */
static void a_pixel_depends_on_latents_nearby_only(void **state) {
    enum { W = 20, REACH = 4 * FACTOR + 5, COUNT = W * FACTOR * FACTOR * COLOURS };
    (void)state;
    float latent[W * CHANNELS], one[COUNT], two[COUNT];
    for (int i = 0; i < W * CHANNELS; i++) latent[i] = sinf((float)i);
    write_file(&(flaw){0});
    tt_tiny_decoder *d = opens();
    decode(d, latent, 1, W, one);
    for (int i = 0; i < CHANNELS; i++) latent[i] += 1; /* leftmost latent: pixels 0 and 1 */
    decode(d, latent, 1, W, two);
    const int untouched = FACTOR + REACH;
    assert_memory_not_equal(one, two, FACTOR * COLOURS * sizeof *one);
    for (int row = 0; row < FACTOR; row++)
        assert_memory_equal(one + (row * W * FACTOR + untouched) * COLOURS,
                            two + (row * W * FACTOR + untouched) * COLOURS,
                            (size_t)(W * FACTOR - untouched) * COLOURS * sizeof *one);
    tt_tiny_decoder_close(d);
}

/* However far from usual latents are, 3 tanh(x / 3) is at most 3. */
static void wild_latents_are_bounded(void **state) {
    enum { COUNT = FACTOR * FACTOR * COLOURS };
    (void)state;
    const float wild[CHANNELS] = {1e30f, -1e30f, 1e4f, 0}, most[CHANNELS] = {90, -90, 90, 0};
    float one[COUNT], two[COUNT];
    write_file(&(flaw){0});
    tt_tiny_decoder *d = opens();
    decode(d, wild, 1, 1, one);
    decode(d, most, 1, 1, two);
    assert_memory_equal(one, two, sizeof one);
    for (int i = 0; i < COUNT; i++) assert_true(isfinite(one[i]));
    tt_tiny_decoder_close(d);
}

static void lost_allocations_are_told(void **state) {
    enum { MOST = 10000 };
    (void)state;
    write_file(&(flaw){0});
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK && n < MOST; n++) {
        tt_tiny_decoder *d;
        tt_alloc_fail_after(n);
        status = tt_tiny_decoder_open(path, ops, &d, &err);
        tt_alloc_fail_after(-1);
        assert_true(status == TT_OK || status == TT_E_NOMEM);
        assert_true((status == TT_OK) == (d != NULL));
        tt_tiny_decoder_close(d);
        assert_int_equal(tt_ops_weight_bytes(ops), 0);
    }
    assert_int_equal(status, TT_OK);
    assert_true(n > N_TENSORS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_tell_the_size),
        cmocka_unit_test(files_that_miss_or_hold_something_else_are_refused),
        cmocka_unit_test(shapes_that_contradict_each_other_are_refused),
        cmocka_unit_test(values_that_are_no_numbers_are_refused),
        cmocka_unit_test(other_networks_are_named),
        cmocka_unit_test(missing_files_say_so),
        cmocka_unit_test(a_pixel_depends_on_latents_nearby_only),
        cmocka_unit_test(wild_latents_are_bounded),
        cmocka_unit_test(lost_allocations_are_told),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
