/* Hostile pictures and hostile texts: whatever the bytes are, the readers answer with a result or a
 * sentence. What they accept must survive the way back: settings that were parsed and written again
 * parse to the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "image/image.h"
#include "image/input.h"
#include "image/parameters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger promises are only probed: they cost time and find nothing new. */
enum { MAX_FUZZED_PIXELS = 1 << 18 };

static void check(int is_right) {
    if (!is_right) abort();
}

static void check_same_settings(const tt_image_parameters *a, const char *text) {
    tt_arena arena;
    tt_image_parameters b;
    tt_arena_init(&arena, 16 * TT_MIB);
    check(tt_image_parameters_parse(text, &arena, &b, NULL) == TT_OK);
    check(!strcmp(a->prompt, b.prompt) && !a->negative == !b.negative);
    check(!a->negative || !strcmp(a->negative, b.negative));
    check(a->steps == b.steps && a->has_seed == b.has_seed && a->seed == b.seed);
    check(a->has_cfg == b.has_cfg && a->cfg == b.cfg && a->width == b.width);
    check(a->n_extra == b.n_extra);
    for (int i = 0; i < a->n_extra; i++)
        check(!strcmp(a->extra[i].key, b.extra[i].key) &&
              !strcmp(a->extra[i].value, b.extra[i].value));
    tt_arena_release(&arena);
}

static void try_settings(const char *text) {
    tt_arena arena;
    tt_image_parameters p;
    tt_buf again;
    tt_arena_init(&arena, 16 * TT_MIB);
    tt_buf_init(&again, 16 * TT_MIB);
    if (tt_image_parameters_parse(text, &arena, &p, NULL) == TT_OK &&
        tt_image_parameters_write(&p, &again, NULL) == TT_OK)
        check_same_settings(&p, again.data);
    tt_buf_release(&again);
    tt_arena_release(&arena);
}

static void try_input(const uint8_t *data, size_t size) {
    enum { SIDE = 16 };
    tt_image image, small;
    uint8_t *alpha, mask[SIDE * SIDE];
    if (tt_image_load(data, size, &image, &alpha, NULL) != TT_OK) return;
    if (tt_image_resize_cropped(&image, SIDE, SIDE, &small, NULL) == TT_OK)
        tt_image_brightness(&small, mask);
    tt_image_release(&small);
    tt_image_release(&image);
    tt_free(alpha);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tt_image_metadata found;
    tt_image_info info;
    tt_image image;
    if (tt_image_read_text(data, size, &found, NULL) == TT_OK && found.parameters)
        try_settings(found.parameters);
    tt_image_metadata_release(&found);
    if (tt_image_probe(data, size, &info, NULL) == TT_OK &&
        (int64_t)info.width * info.height <= MAX_FUZZED_PIXELS) {
        if (tt_image_decode(data, size, &image, NULL) == TT_OK)
            check(image.width == info.width && image.height == info.height);
        tt_image_release(&image);
        try_input(data, size);
    }
    char *text = tt_alloc(size + 1); /* the bytes as settings; text beyond a NUL is not seen */
    if (text && size) memcpy(text, data, size);
    if (text) try_settings(text);
    tt_free(text);
    return 0;
}
