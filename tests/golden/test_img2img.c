/* Pictures from pictures against diffusers (f32): image to image, inpainting with UNets of 4 and 9 channels, size
 * conditioning. PSNR above 60 dB; what a mask keeps is kept to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/golden_data.h"
#include "support/golden_engine.h"

/* The picture of tools/golden/images.py, [h, w, 3]: slanted waves of another slope per colour. */
static uint8_t *make_picture(int h, int w) {
    uint8_t *picture = tt_alloc((size_t)h * (size_t)w * 3), *p = picture;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++) *p++ = (uint8_t)(x * 4 + y * 2 * (c + 1) + c * 50);
    return picture;
}

/* Its mask: a box to paint, beside it a strip that counts as painted and one that does not. */
static uint8_t *make_mask(int h, int w) {
    uint8_t *mask = tt_alloc((size_t)h * (size_t)w);
    for (int y = 5; y < h - 19; y++)
        for (int x = 17; x < w - 14; x++)
            mask[y * w + x] = x >= 20 ? (y >= 10 ? 255 : 100) : (y >= 10 ? 200 : 0);
    return mask;
}

static void set_sizes(json_object *row, tt_request *r) {
    json_object *sizes, *pair;
    const struct {
        const char *name;
        int *vertical, *horizontal;
    } fields[] = {{"original", &r->original_height, &r->original_width},
                  {"crop", &r->crop_top, &r->crop_left},
                  {"target", &r->target_height, &r->target_width}};
    if (!json_object_object_get_ex(row, "sizes", &sizes) || !sizes) return;
    for (int i = 0; i < 3; i++) {
        assert_true(json_object_object_get_ex(sizes, fields[i].name, &pair));
        *fields[i].vertical = json_object_get_int(json_object_array_get_idx(pair, 0));
        *fields[i].horizontal = json_object_get_int(json_object_array_get_idx(pair, 1));
    }
}

static void assert_kept(const tt_request *r, const tt_picture *found) {
    for (int i = 0; i < r->width * r->height; i++)
        if (r->mask[i] == 0) assert_memory_equal(found->rgb + 3 * i, r->image + 3 * i, 3);
}

static bool check_row(json_object *row, tt_engine *engine) {
    tt_request r = tt_golden_request(row);
    const char *kind = tt_golden_string(row, "kind");
    uint8_t *picture = make_picture(r.height, r.width), *mask = make_mask(r.height, r.width);
    if (strcmp(kind, "text") != 0) r.image = picture;
    if (strcmp(kind, "mask") == 0) r.mask = mask;
    r.strength = (float)tt_golden_number(row, "strength");
    set_sizes(row, &r);
    tt_result result = tt_golden_generate(engine, &r);
    bool good = tt_golden_picture_is_near("images", row, &result.pictures[0]);
    if (r.mask) assert_kept(&r, &result.pictures[0]);
    tt_result_release(&result);
    tt_free(picture);
    tt_free(mask);
    return good;
}

static void agree_with_diffusers(void **state) {
    tt_golden_engine_options options = {.model = *state, .precision = TT_PRECISION_F32};
    tt_engine *engine = tt_golden_engine(&options);
    json_object *rows = tt_golden_cases_of("expected/images.json", options.model);
    size_t n = json_object_array_length(rows);
    int bad = 0;
    for (size_t i = 0; i < n; i++) bad += !check_row(json_object_array_get_idx(rows, i), engine);
    json_object_put(rows);
    tt_engine_close(engine);
    if (bad) fail_msg("%d of %zu pictures are below %.0f dB", bad, n, TT_GOLDEN_SMALLEST_PSNR);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"kernel_pictures_from_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL,
         "kernel"},
        {"pruned_pictures_from_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL,
         "pruned"},
        {"vpred_pictures_from_pictures_agree_with_diffusers", agree_with_diffusers, NULL, NULL,
         "vpred"},
        {"inpainting_models_agree_with_diffusers", agree_with_diffusers, NULL, NULL, "inpaint"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
