/* The shipped model draws its reference pictures: made by tools/tiny-model in f32 from the same file, by another
 * implementation (torch), kept in data/shipped.
 *
 * That implementation starts from noise * sigma and asks the UNet at fractional timesteps, as A1111 does; diffusers' ways would be
 * 45 to 53 dB apart from it. Measured on the CPU: 84 to 89 dB, the LoRA's picture too. A new model file brings new references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <png.h>

#include "base/alloc.h"
#include "support/cuda.h"
#include "support/golden_data.h"
#include "support/golden_engine.h"

#define SMALLEST_CPU_PSNR  70.0
#define SMALLEST_PSNR      50.0
#define SMALLEST_BF16_PSNR 30.0 /* the same picture to the eye */
#define OLD_PHOTO          TT_SOURCE_DIR "/models/tintype-old-photo.safetensors"

static tt_picture read_png(const char *name) {
    char relative[256];
    png_image image = {.version = PNG_IMAGE_VERSION};
    snprintf(relative, sizeof relative, "shipped/%s", name);
    if (!png_image_begin_read_from_file(&image, tt_golden_data_path(relative)))
        fail_msg("%s: %s", relative, image.message);
    image.format = PNG_FORMAT_RGB;
    tt_picture p = {.width = (int)image.width, .height = (int)image.height};
    p.rgb = tt_alloc(PNG_IMAGE_SIZE(image));
    assert_non_null(p.rgb);
    if (!png_image_finish_read(&image, NULL, p.rgb, 0, NULL))
        fail_msg("%s: %s", relative, image.message);
    return p;
}

/* The references' "euler" runs over the whole range of noise, which is our schedule "normal". */
static tt_request make_request(json_object *row) {
    tt_request r;
    tt_request_defaults(NULL, &r);
    const char *sampler = tt_golden_string(row, "sampler");
    const char *negative = tt_golden_string(row, "negative");
    bool is_euler = strcmp(sampler, "euler") == 0;
    r.prompt = tt_golden_string(row, "prompt");
    r.negative_prompt = strcmp(negative, "zeros") == 0 ? NULL : negative;
    r.sampler = is_euler ? "euler" : "dpmpp_2m";
    r.schedule = is_euler ? "normal" : "karras";
    r.steps = tt_golden_int(row, "steps");
    r.guidance = (float)tt_golden_number(row, "cfg");
    r.seed = (uint64_t)tt_golden_number(row, "seed");
    r.width = tt_golden_int(row, "width");
    r.height = tt_golden_int(row, "height");
    r.count = 1;
    r.compat = "a1111";
    r.noise = "cpu";
    r.negative_policy = "zeros";
    return r;
}

typedef struct device_case {
    tt_device device;
    tt_precision precision;
    double smallest_psnr;
} device_case;

static void references_are_drawn_again(void **state) {
    const device_case *c = *state;
    if (c->device == TT_DEVICE_CUDA && !tt_has_cuda()) skip();
    const tt_golden_engine_options options = {.precision = c->precision, .device = c->device};
    tt_engine *engine = tt_golden_engine(&options);
    json_object *rows = tt_golden_cases("shipped/refs.json");
    int checked = 0, bad = 0;
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        tt_request request = make_request(row);
        const char *lora = tt_golden_string(row, "lora");
        const tt_request_adapter adapter = {.path = OLD_PHOTO,
                                            .scale = (float)tt_golden_number(row, "lora_weight")};
        if (lora) assert_non_null(strstr(OLD_PHOTO, lora));
        request.adapters = &adapter;
        request.n_adapters = lora ? 1 : 0;
        tt_result found = tt_golden_generate(engine, &request);
        tt_picture expected = read_png(tt_golden_string(row, "image"));
        double psnr = tt_golden_picture_psnr(&found.pictures[0], &expected);
        print_message("%s: %.1f dB\n", tt_golden_string(row, "image"), psnr);
        bad += !(psnr > c->smallest_psnr);
        checked++;
        tt_free(expected.rgb);
        tt_result_release(&found);
    }
    json_object_put(rows);
    tt_engine_close(engine);
    assert_true(checked > 0);
    if (bad) fail_msg("%d of %d pictures are below %.0f dB", bad, checked, c->smallest_psnr);
}

int main(void) {
    static device_case cpu = {TT_DEVICE_CPU, TT_PRECISION_F32, SMALLEST_CPU_PSNR},
                       cuda = {TT_DEVICE_CUDA, TT_PRECISION_F32, SMALLEST_PSNR},
                       cuda_bf16 = {TT_DEVICE_CUDA, TT_PRECISION_BF16, SMALLEST_BF16_PSNR};
    const struct CMUnitTest tests[] = {
        {"references_are_drawn_again", references_are_drawn_again, NULL, NULL, &cpu},
        {"cuda_draws_the_references_again", references_are_drawn_again, NULL, NULL, &cuda},
        {"cuda_draws_them_in_bf16", references_are_drawn_again, NULL, NULL, &cuda_bf16},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
