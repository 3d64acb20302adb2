/* Tiles against the whole: PSNR above 40 dB over the range of the picture whatever the tiles hold, no seams, and no more memory
 * than was planned.
 *
 * Measured in f32: 55 dB and more for parts that have nothing in common, by the shipped VAE (31 to 39 where each tile is
 * normalised by itself), 45 dB and more for random networks. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/limits.h"
#include "image/input.h"
#include "support/counter.h"
#include "support/golden_data.h"
#include "support/golden_network.h"
#include "support/psnr.h"
#include "support/safetensors_writer.h"
#include "vae/parts.h"

#define SMALLEST_PSNR 40.0
#define LARGEST_SEAM  0.3

enum { CHANNELS = 4, COLOURS = 3, H = 64, W = 96, TILE = 48, OVERLAP = 18 };
static const tt_vae_tiles tiles = {.tile = TILE, .overlap = OVERLAP};

typedef struct scene {
    const char *name;
    int64_t h, w; /* of the latents */
    tt_vae_tiles tiles;
} scene;

static float *zeros(int64_t count) {
    float *values = tt_alloc((size_t)count * sizeof *values);
    assert_non_null(values);
    return values;
}

/* Noise, as uneven as what the last step of a sampler leaves of it. */
static float *make_latent(int64_t h, int64_t w) {
    float *latent = zeros(h * w * CHANNELS);
    tt_counter_fill("tiling", 1.7f, 0, latent, (size_t)(h * w * CHANNELS));
    return latent;
}

/* A seam is a line of which the whole has nothing. Along runs of a line of pixels, how much the mean step across the line is
 * larger than in the whole, in parts of the mean step of single pixels there (the local noise) and half a shade. */
typedef struct lines {
    const float *tiled, *whole;
    int64_t n_lines, n_along;          /* pixels across and along */
    int64_t line_stride, along_stride; /* in values */
} lines;

enum { RUN = 64 };

static double excess_of_run(const lines *l, int64_t line, int64_t begin) {
    double step = 0, noise = 0;
    for (int64_t k = begin; k < begin + RUN; k++)
        for (int c = 0; c < COLOURS; c++) {
            int64_t i = line * l->line_stride + k * l->along_stride + c, j = i - l->line_stride;
            double whole = (double)(l->whole[i] - l->whole[j]);
            step += (double)(l->tiled[i] - l->tiled[j]) - whole;
            noise += fabs(whole);
        }
    return fabs(step) / (noise + RUN * COLOURS / (double)UINT8_MAX); /* -1..1 is 255 shades */
}

/* Of the lines where a tile, or the part that it shares with a neighbour, begins or ends; tiles are spread evenly. */
static double largest_at_seams(const lines *l, int64_t latents, const tt_vae_tiles *t) {
    double largest = 0;
    int64_t stride = t->tile - t->overlap, factor = l->n_lines / latents;
    int64_t n = latents > t->tile ? 1 + (latents - t->tile + stride - 1) / stride : 1;
    for (int64_t i = 0; i < n; i++) {
        int64_t begin = n > 1 ? i * (latents - t->tile) / (n - 1) : 0, end = begin + t->tile;
        const int64_t edges[] = {begin, begin + t->overlap, end - t->overlap, end};
        for (int k = 0; k < 4; k++) {
            int64_t line = edges[k] * factor;
            if (line <= 0 || line >= l->n_lines) continue;
            for (int64_t at = 0; at + RUN <= l->n_along; at += RUN) {
                double excess = excess_of_run(l, line, at);
                if (excess > largest) largest = excess;
            }
        }
    }
    return largest;
}

static double largest_seam(const float *tiled, const float *whole, int64_t h, int64_t w,
                           const scene *s) {
    const lines columns = {tiled, whole, w, h, COLOURS, w * COLOURS};
    const lines rows = {tiled, whole, h, w, w * COLOURS, COLOURS};
    double x = largest_at_seams(&columns, s->w, &s->tiles);
    double y = largest_at_seams(&rows, s->h, &s->tiles);
    return x > y ? x : y;
}

/* ---- decoding ----------------------------------------------------------------------------------------- */

/* Rehearsal, then for real; scratch that was not planned would be refused. Returns the planned bytes. */
static size_t decode(tt_ops *ops, tt_vae *vae, const scene *s, bool tiled, const float *latent,
                     float *picture) {
    tt_err err;
    size_t planned = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0) tt_ops_plan_begin(ops);
        TT_GOLDEN_OK(tiled ? tt_vae_decode_tiled(vae, &s->tiles, latent, s->h, s->w, picture, &err)
                           : tt_vae_decode(vae, latent, s->h, s->w, picture, &err),
                     err);
        if (pass > 0) continue;
        planned = tt_ops_planned_bytes(ops);
        TT_GOLDEN_OK(tt_ops_plan_end(ops, &err), err);
    }
    return planned;
}

/* Tiles first: then all the scratch there is was planned for them. */
static void compare(tt_ops *ops, tt_vae *vae, const scene *s, const float *latent) {
    int64_t factor = tt_vae_factor(vae), h = s->h * factor, w = s->w * factor;
    float *whole = zeros(h * w * COLOURS), *tiled = zeros(h * w * COLOURS);
    size_t in_tiles = decode(ops, vae, s, true, latent, tiled);
    assert_int_equal(tt_ops_scratch_bytes(ops), in_tiles);
    size_t at_once = decode(ops, vae, s, false, latent, whole);
    double psnr = tt_psnr_f32(tiled, whole, (size_t)(h * w * COLOURS), 2);
    double seam = largest_seam(tiled, whole, h, w, s);
    print_message("%s: %dx%d: %.1f dB, largest seam %.2g, %zu KiB for %zu\n", s->name, (int)w,
                  (int)h, psnr, seam, in_tiles / TT_KIB, at_once / TT_KIB);
    assert_true(psnr > SMALLEST_PSNR);
    assert_true(seam < LARGEST_SEAM);
    assert_true(in_tiles < at_once * 3 / 4);
    tt_free(whole);
    tt_free(tiled);
}

static void open_network(const char *model, tt_golden_network *n) {
    const tt_golden_setup setup = tt_golden_setup_number(model, 0);
    tt_golden_network_open(&setup, n);
}

static void tiled_decoding_resembles_the_whole(void **state) {
    const scene s = {*state, H, W, tiles};
    tt_golden_network n;
    tt_vae *vae;
    tt_err err;
    open_network(*state, &n);
    TT_GOLDEN_OK(tt_vae_open(n.loader, n.ops, &vae, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    float *latent = make_latent(H, W);
    compare(n.ops, vae, &s, latent);
    tt_free(latent);
    tt_vae_close(vae);
    tt_golden_network_close(&n);
}

/* What a pass of the two parts of decoding plans. */
static size_t planned_by_parts(tt_ops *ops, tt_vae *vae, const scene *s) {
    int64_t c = tt__vae_hidden_channels(vae), factor = tt_vae_factor(vae), tile = s->tiles.tile;
    float *latent = make_latent(s->h, s->w), *hidden = zeros(s->h * s->w * c);
    float *picture = zeros(tile * tile * factor * factor * COLOURS);
    tt_err err;
    tt_ops_plan_begin(ops);
    TT_GOLDEN_OK(tt__vae_decode_head(vae, latent, s->h, s->w, hidden, &err), err);
    size_t head = tt_ops_planned_bytes(ops);
    tt_scratch_reset(ops);
    tt_ops_plan_begin(ops);
    TT_GOLDEN_OK(tt__vae_decode_tail(vae, hidden, tile, tile, picture, &err), err);
    size_t tail = tt_ops_planned_bytes(ops);
    tt_scratch_reset(ops);
    tt_free(latent);
    tt_free(hidden);
    tt_free(picture);
    return head > tail ? head : tail;
}

/* However many tiles there are: the larger of one tile and what is done at the latents' own size. */
static void the_plan_is_one_tile_or_the_latents(void **state) {
    static const int64_t sides[] = {TILE + 1, 2 * TILE, 4 * TILE};
    tt_golden_network n;
    tt_vae *vae;
    tt_err err;
    open_network(*state, &n);
    TT_GOLDEN_OK(tt_vae_open(n.loader, n.ops, &vae, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        const scene s = {*state, sides[i], sides[i], tiles};
        int64_t side = sides[i] * tt_vae_factor(vae);
        float *latent = make_latent(s.h, s.w), *picture = zeros(side * side * COLOURS);
        tt_ops_plan_begin(n.ops);
        TT_GOLDEN_OK(tt_vae_decode_tiled(vae, &tiles, latent, s.h, s.w, picture, &err), err);
        size_t planned = tt_ops_planned_bytes(n.ops);
        tt_scratch_reset(n.ops);
        assert_int_equal(planned, planned_by_parts(n.ops, vae, &s));
        tt_free(latent);
        tt_free(picture);
    }
    tt_vae_close(vae);
    tt_golden_network_close(&n);
}

/* ---- larger networks, opened by hand ------------------------------------------------------------------- */

typedef struct network {
    tt_checkpoint *checkpoint;
    tt_ops *ops;
    tt_loader *loader;
    tt_vae *vae;
    tt_vae_encoder *encoder; /* NULL: not wanted */
} network;

static void open_file(const char *path, bool wants_encoder, network *n) {
    const tt_ops_options options = {.backend = TT_BACKEND_CPU, .dtype = TT_F32, .n_threads = 2};
    tt_err err;
    *n = (network){0};
    TT_GOLDEN_OK(tt_checkpoint_open(path, &n->checkpoint, &err), err);
    TT_GOLDEN_OK(tt_ops_open(&options, &n->ops, &err), err);
    TT_GOLDEN_OK(tt_loader_new(n->checkpoint, &n->loader, &err), err);
    TT_GOLDEN_OK(tt_vae_open(n->loader, n->ops, &n->vae, &err), err);
    if (wants_encoder) TT_GOLDEN_OK(tt_vae_encoder_open(n->loader, n->ops, &n->encoder, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n->loader, &err), err);
}

static void close_network(network *n) {
    tt_vae_close(n->vae);
    tt_vae_encoder_close(n->encoder);
    tt_loader_free(n->loader);
    tt_ops_close(n->ops);
    tt_checkpoint_close(n->checkpoint);
}

/* ---- pictures whose parts have nothing in common, by the shipped VAE ---- */

enum { PART = 16, PART_SIDE = PART * 8, PART_PIXELS = PART_SIDE * PART_SIDE };

/* A reference picture of the shipped model. */
static void draw_reference(int number, float *pixels) {
    char relative[64];
    tt_buf file;
    tt_image stored, picture;
    tt_err err;
    snprintf(relative, sizeof relative, "shipped/ref%d.png", number);
    tt_buf_init(&file, TT_MIB);
    TT_GOLDEN_OK(tt_file_read(tt_golden_data_path(relative), &file, &err), err);
    TT_GOLDEN_OK(tt_image_decode(file.data, file.size, &stored, &err), err);
    TT_GOLDEN_OK(tt_image_resize(&stored, PART_SIDE, PART_SIDE, &picture, &err), err);
    for (int i = 0; i < PART_PIXELS * COLOURS; i++) pixels[i] = (float)picture.rgb[i] / 127.5f - 1;
    tt_image_release(&stored);
    tt_image_release(&picture);
    tt_buf_release(&file);
}

/* Bright, dark, grey, checks, a ramp, noise, or a reference by its number. */
static void draw(char kind, float *pixels) {
    enum { CHECK = 8 };
    if (kind >= '1' && kind <= '4') draw_reference(kind - '0', pixels);
    if (kind == 'n') tt_counter_fill("noise", 1, 0, pixels, (size_t)PART_PIXELS * COLOURS);
    for (int i = 0; i < PART_PIXELS * COLOURS; i++) {
        int x = i / COLOURS % PART_SIDE, y = i / COLOURS / PART_SIDE;
        if (kind == 'b') pixels[i] = 0.95f;
        if (kind == 'd') pixels[i] = -0.95f;
        if (kind == 'g') pixels[i] = 0.2f;
        if (kind == 'c') pixels[i] = (x / CHECK + y / CHECK) % 2 ? 0.9f : -0.9f;
        if (kind == 'r') pixels[i] = (float)x * 2 / PART_SIDE - 1;
    }
}

static void encode_part(const network *n, char kind, float *latent) {
    float *pixels = zeros(PART_PIXELS * COLOURS), *deviation = zeros(PART * PART * CHANNELS);
    tt_err err;
    draw(kind, pixels);
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0) tt_ops_plan_begin(n->ops);
        TT_GOLDEN_OK(
            tt_vae_encode(n->encoder, pixels, PART_SIDE, PART_SIDE, latent, deviation, &err), err);
        if (pass == 0) TT_GOLDEN_OK(tt_ops_plan_end(n->ops, &err), err);
    }
    tt_free(pixels);
    tt_free(deviation);
}

/* The latents of a map of parts, a character each. */
static float *lay_out(const network *n, const char *map, int64_t across, int64_t *h, int64_t *w) {
    int64_t cells = (int64_t)strlen(map), row = across * PART * CHANNELS;
    float *latent = zeros(cells * PART * PART * CHANNELS), *part = zeros(PART * PART * CHANNELS);
    for (int64_t kind = 0; kind < cells; kind++) {
        if (strchr(map, map[kind]) != map + kind) continue; /* has been laid */
        encode_part(n, map[kind], part);
        for (int64_t i = kind; i < cells; i++)
            for (int64_t y = 0; y < PART && map[i] == map[kind]; y++)
                memcpy(latent + (i / across * PART + y) * row + i % across * PART * CHANNELS,
                       part + y * PART * CHANNELS, PART * CHANNELS * sizeof *part);
    }
    *h = cells / across * PART;
    *w = across * PART;
    tt_free(part);
    return latent;
}

static void parts_that_are_unlike_resemble_the_whole(void **state) {
    static const struct {
        const char *name, *map;
        int64_t across;
        tt_vae_tiles tiles;
    } sheets[] = {
        {"unlike", "bbbbddddbbbbddddbbbbddddbbbbddddccccrrrrccccrrrrccccrrrrccccrrrr", 8, {72, 16}},
        {"references", "1122112233443344", 4, {36, 8}},
        {"sparse", "ggggngggggg1gggg", 4, {36, 8}},
        {"half noise", "ggggnnnn", 4, {24, 6}},
        {"a row", "dcb1dcb2", 4, {24, 6}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof sheets / sizeof *sheets; i++) {
        network n; /* each its own: scratch never shrinks, and is looked at */
        open_file(TT_SOURCE_DIR "/models/tintype-tiny.safetensors", true, &n);
        scene s = {.name = sheets[i].name, .tiles = sheets[i].tiles};
        float *latent = lay_out(&n, sheets[i].map, sheets[i].across, &s.h, &s.w);
        compare(n.ops, n.vae, &s, latent);
        tt_free(latent);
        close_network(&n);
    }
}

/* ---- half of SDXL's widths, random values ---- */

/* Uniform values around `offset` with a deviation of `gain` / sqrt(what is summed). */
static void add(st_writer *w, const char *prefix, const char *name, int rank, const int64_t *shape,
                float offset, double gain) {
    char full[128];
    size_t count = 1;
    int64_t fan = rank > 1 ? shape[1] : 1;
    for (int i = 0; i < rank; i++) count *= (size_t)shape[i];
    for (int i = 2; i < rank; i++) fan *= shape[i];
    float *values = zeros((int64_t)count);
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    tt_counter_fill(full, (float)(gain * sqrt(3.0 / (double)fan)), offset, values, count);
    st_add_f32(w, full, TT_F16, rank, shape, values);
    tt_free(values);
}

static void add_conv(st_writer *w, const char *prefix, int64_t n_out, int64_t n_in, int64_t kernel,
                     double gain) {
    const int64_t shape[] = {n_out, n_in, kernel, kernel};
    add(w, prefix, "weight", 4, shape, 0, gain);
    add(w, prefix, "bias", 1, shape, 0, 0.05);
}

static void add_norm(st_writer *w, const char *prefix, int64_t n) {
    add(w, prefix, "weight", 1, &n, 1, 0.2);
    add(w, prefix, "bias", 1, &n, 0, 0.2);
}

static void add_resnet(st_writer *w, const char *prefix, int64_t n_out, int64_t n_in) {
    char name[96];
    snprintf(name, sizeof name, "%s.norm1", prefix);
    add_norm(w, name, n_in);
    snprintf(name, sizeof name, "%s.conv1", prefix);
    add_conv(w, name, n_out, n_in, 3, 1.4);
    snprintf(name, sizeof name, "%s.norm2", prefix);
    add_norm(w, name, n_out);
    snprintf(name, sizeof name, "%s.conv2", prefix);
    add_conv(w, name, n_out, n_out, 3, 1);
    snprintf(name, sizeof name, "%s.conv_shortcut", prefix);
    if (n_out != n_in) add_conv(w, name, n_out, n_in, 1, 1);
}

static void write_half_width(const char *path) {
    static const int64_t widths[] = {256, 256, 128, 64};
    enum { LEVELS = 4, RESNETS = 3 };
    char name[96];
    int64_t width = widths[0];
    st_writer w;
    st_begin(&w);
    add_conv(&w, "post_quant_conv", CHANNELS, CHANNELS, 1, 1);
    add_conv(&w, "decoder.conv_in", width, CHANNELS, 3, 1);
    add_resnet(&w, "decoder.mid_block.resnets.0", width, width);
    add_resnet(&w, "decoder.mid_block.resnets.1", width, width);
    for (int i = 0; i < LEVELS; i++) {
        for (int k = 0; k < RESNETS; k++) {
            snprintf(name, sizeof name, "decoder.up_blocks.%d.resnets.%d", i, k);
            add_resnet(&w, name, widths[i], width);
            width = widths[i];
        }
        snprintf(name, sizeof name, "decoder.up_blocks.%d.upsamplers.0.conv", i);
        if (i < LEVELS - 1) add_conv(&w, name, width, width, 3, 1);
    }
    add_norm(&w, "decoder.conv_norm_out", width);
    add_conv(&w, "decoder.conv_out", COLOURS, width, 3, 1);
    st_save(&w, path);
}

static void a_vae_of_half_width_resembles_the_whole(void **state) {
    const scene s = {"half width", 32, 48, {.tile = 32, .overlap = 8}};
    const char *folder = getenv("TT_BUILD_DIR");
    char path[PATH_MAX];
    network n;
    (void)state;
    snprintf(path, sizeof path, "%s/tt-tiling-%d.safetensors", folder ? folder : "/tmp",
             (int)getpid());
    write_half_width(path);
    open_file(path, false, &n);
    unlink(path);
    float *latent = make_latent(s.h, s.w);
    compare(n.ops, n.vae, &s, latent);
    tt_free(latent);
    close_network(&n);
}

/* ---- the rest --------------------------------------------------------------------------------------------- */

static void one_tile_is_the_whole(void **state) {
    const scene one = {*state, H, W, {.tile = W, .overlap = OVERLAP}};
    tt_golden_network n;
    tt_vae *vae;
    tt_err err;
    open_network(*state, &n);
    TT_GOLDEN_OK(tt_vae_open(n.loader, n.ops, &vae, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    int64_t factor = tt_vae_factor(vae), count = H * W * factor * factor * COLOURS;
    float *latent = make_latent(H, W), *whole = zeros(count), *tiled = zeros(count);
    decode(n.ops, vae, &one, false, latent, whole);
    decode(n.ops, vae, &one, true, latent, tiled);
    assert_memory_equal(tiled, whole, (size_t)count * sizeof *whole);
    assert_int_equal(tt_vae_decode_tiled(vae, &(tt_vae_tiles){8, 8}, latent, H, W, tiled, &err),
                     TT_E_INVALID);
    tt_vae_close(vae);
    tt_golden_network_close(&n);
    tt_free(latent);
    tt_free(whole);
    tt_free(tiled);
}

static void tiled_encoding_resembles_the_whole(void **state) {
    enum { HIGH = 96, WIDE = 128 };
    static const tt_vae_tiles large = {.tile = 64, .overlap = 24};
    tt_golden_network n;
    tt_vae_encoder *vae;
    tt_err err;
    open_network(*state, &n);
    TT_GOLDEN_OK(tt_vae_encoder_open(n.loader, n.ops, &vae, &err), err);
    TT_GOLDEN_OK(tt_loader_run(n.loader, &err), err);
    int factor = tt_vae_encoder_factor(vae), h = HIGH * factor, w = WIDE * factor,
        count = HIGH * WIDE * CHANNELS;
    float *picture = zeros(h * w * COLOURS), *whole = zeros(2 * count), *tiled = zeros(2 * count);
    for (int i = 0; i < h * w * COLOURS; i++) {
        const int column = i / COLOURS % w, row = i / COLOURS / w, colour = i % COLOURS;
        picture[i] = sinf((float)column * 0.1f + (float)colour) * cosf((float)row * 0.07f);
    }
    tt_ops_plan_begin(n.ops);
    TT_GOLDEN_OK(tt_vae_encode(vae, picture, h, w, whole, whole + count, &err), err);
    TT_GOLDEN_OK(tt_ops_plan_end(n.ops, &err), err);
    TT_GOLDEN_OK(tt_vae_encode(vae, picture, h, w, whole, whole + count, &err), err);
    tt_ops_plan_begin(n.ops);
    TT_GOLDEN_OK(tt_vae_encode_tiled(vae, &large, picture, h, w, tiled, tiled + count, &err), err);
    TT_GOLDEN_OK(tt_ops_plan_end(n.ops, &err), err);
    TT_GOLDEN_OK(tt_vae_encode_tiled(vae, &large, picture, h, w, tiled, tiled + count, &err), err);
    double mean = tt_relative_error(tiled, whole, (size_t)count),
           deviation = tt_relative_error(tiled + count, whole + count, (size_t)count);
    print_message("%s: %dx%d: mean %.2g, deviation %.2g\n", (const char *)*state, w, h, mean,
                  deviation);
    assert_true(mean < 0.1 && deviation < 0.1);
    tt_vae_encoder_close(vae);
    tt_golden_network_close(&n);
    tt_free(picture);
    tt_free(whole);
    tt_free(tiled);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"pruned_tiled_decoding_resembles_the_whole", tiled_decoding_resembles_the_whole, NULL,
         NULL, "pruned"},
        {"quirks_tiled_decoding_resembles_the_whole", tiled_decoding_resembles_the_whole, NULL,
         NULL, "quirks"},
        {"quirks_the_plan_is_one_tile_or_the_latents", the_plan_is_one_tile_or_the_latents, NULL,
         NULL, "quirks"},
        cmocka_unit_test(parts_that_are_unlike_resemble_the_whole),
        cmocka_unit_test(a_vae_of_half_width_resembles_the_whole),
        {"one_tile_is_the_whole", one_tile_is_the_whole, NULL, NULL, "quirks"},
        {"quirks_tiled_encoding_resembles_the_whole", tiled_encoding_resembles_the_whole, NULL,
         NULL, "quirks"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
