/* The second pass of a "hires fix": what the first pass made is enlarged, and a part of the steps is walked again at that size.
 *
 * The order of things is A1111's: the size is the first's times the scale, cut to whole latents; the noise is that of a fresh
 * generator of the same seed at the new size; steps and strength mean what they mean in image to image; the model is told of
 * the large size, unless the request says what to tell it. Latents are enlarged as torch does it (bilinear, corners
 * not aligned, no antialiasing): quick, but blurred, which stays visible unless the strength is high. A picture goes through the VAE
 * twice and keeps its edges.
 *
 * The pass is a tt_generation of its own behind the first one's `next`, so that nothing that runs a pass knows of two. Both passes'
 * buffers are there at once: latents are small beside scratch memory, which they share.
 *
 * Changes of the prompt on the way belong to the first pass; the second keeps the words that the first ended with. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "image/input.h"
#include "pipeline/passes.h"

enum { COLOURS = 3 };

/* A scale comes as a float: 640 times 1.3 is 832, where 640 * 1.3f is a little less. */
static const double ROUNDING = 1e-3;

static bool has_second_pass(const tt_request *r) {
    return r->hires_scale > 1;
}

static double enlarged(int side, float scale) {
    double pixels = side * (double)scale + ROUNDING;
    return pixels - fmod(pixels, TT_SIDE_MULTIPLE);
}

static bool takes_picture(const tt_request *r) {
    return r->hires_upscaler && strcmp(r->hires_upscaler, "picture") == 0;
}

/* ---- what may be asked for --------------------------------------------------------------------------- */

static tt_status check_size(const tt_request *r, tt_err *err) {
    double width = enlarged(r->width, r->hires_scale), height = enlarged(r->height, r->hires_scale);
    if (width <= TT_MAX_SIDE_PIXELS && height <= TT_MAX_SIDE_PIXELS) return TT_OK;
    return tt_fail(err, TT_E_INVALID,
                   "hires scale: %g times %dx%d is %.0fx%.0f, expected sides of at most %d",
                   (double)r->hires_scale, r->width, r->height, width, height, TT_MAX_SIDE_PIXELS);
}

tt_status tt__check_hires(const tt_request *r, tt_err *err) {
    if (r->hires_scale <= 1) return TT_OK;
    if (!has_second_pass(r) || isinf(r->hires_scale))
        return tt_fail(err, TT_E_INVALID, "hires scale: expected a number, found %g",
                       (double)r->hires_scale);
    if (r->image)
        return tt_fail(
            err, TT_E_INVALID,
            "hires scale: a second pass is for pictures from text alone, and there is an "
            "image");
    TT_TRY(check_size(r, err));
    if (!(r->hires_strength > 0 && r->hires_strength <= 1))
        return tt_fail(err, TT_E_INVALID,
                       "hires strength: expected more than 0, at most 1, found %g",
                       (double)r->hires_strength);
    if (r->hires_steps < 0 || r->hires_steps > TT_MAX_STEPS)
        return tt_fail(err, TT_E_INVALID, "hires steps: expected 0 to %d, found %d", TT_MAX_STEPS,
                       r->hires_steps);
    if (!r->hires_upscaler || takes_picture(r) || strcmp(r->hires_upscaler, "latent") == 0)
        return TT_OK;
    return tt_fail(err, TT_E_INVALID, "hires upscaler: expected latent or picture, found \"%.40s\"",
                   r->hires_upscaler);
}

/* ---- before the first step --------------------------------------------------------------------------- */

static tt_request second_request(const tt_request *first) {
    tt_request r = *first;
    r.width = (int)enlarged(first->width, first->hires_scale);
    r.height = (int)enlarged(first->height, first->hires_scale);
    if (first->hires_steps) r.steps = first->hires_steps;
    r.strength = first->hires_strength;
    r.hires_scale = 0;
    return r;
}

tt_status tt__hires_open(tt_generation *g, tt_err *err) {
    if (!has_second_pass(g->request)) return TT_OK;
    tt_generation *p = tt_alloc(sizeof *p);
    if (!p) return tt_fail_nomem(err, "a second pass", sizeof *p);
    *p = (tt_generation){.engine = g->engine,
                         .model = g->model,
                         .result = g->result,
                         .start_us = g->start_us,
                         .manner = g->manner,
                         .is_after = true};
    p->hires.request = second_request(g->request);
    p->hires.takes_picture = takes_picture(g->request);
    p->request = &p->hires.request;
    g->next = p;
    return TT_OK;
}

tt_status tt__hires_read(tt_generation *g, tt_err *err) {
    tt_generation *p = tt__enlarged(g);
    if (!p) return TT_OK;
    p->words = g->words;
    p->words.is_after = true;
    p->words.begun_rows = 0;
    if (p->hires.takes_picture) TT_TRY(tt__encoder_need(p->engine, err));
    return tt__take_start(p, p->hires.takes_picture, err);
}

bool tt__is_decoded(const tt_generation *g) {
    return !g->next || g->next->hires.takes_picture;
}

/* ---- between the passes ------------------------------------------------------------------------------ */

/* Where output `i` of `n` lies between inputs low and low + 1 of n_in: *part of the way. */
static int64_t place_of(int64_t i, int64_t n, int64_t n_in, float *part) {
    float at = ((float)i + 0.5f) * ((float)n_in / (float)n) - 0.5f;
    if (at < 0) at = 0;
    int64_t low = (int64_t)at;
    if (low > n_in - 1) low = n_in - 1;
    *part = at - (float)low;
    return low;
}

/* One row [w_in] of two mixed rows to [w]. */
static void enlarge_row(const float *above, const float *below, float down, int64_t w_in, int64_t w,
                        float *out) {
    for (int64_t x = 0; x < w; x++) {
        float right;
        int64_t left = place_of(x, w, w_in, &right);
        int64_t next = left + 1 < w_in ? left + 1 : left;
        out[x] = (1 - down) * ((1 - right) * above[left] + right * above[next]) +
                 down * ((1 - right) * below[left] + right * below[next]);
    }
}

static void enlarge_latents(const tt_generation *from, tt_generation *to) {
    int64_t h_in = from->latent_h, w_in = from->latent_w, h = to->latent_h, w = to->latent_w;
    for (int64_t c = 0; c < to->channels; c++)
        for (int64_t y = 0; y < h; y++) {
            float down;
            const float *plane = from->latents + c * h_in * w_in;
            int64_t above = place_of(y, h, h_in, &down),
                    below = above + 1 < h_in ? above + 1 : above;
            enlarge_row(plane + above * w_in, plane + below * w_in, down, w_in, w,
                        to->start.clean + (c * h + y) * w);
        }
}

static tt_status enlarge_picture(tt_generation *from, tt_generation *to, tt_err *err) {
    tt_image small = {.width = from->request->width, .height = from->request->height};
    tt_image large = {0};
    size_t size = (size_t)small.width * (size_t)small.height * COLOURS;
    small.rgb = tt_alloc(size);
    tt_status status = small.rgb ? TT_OK : tt_fail_nomem(err, "the first pass's picture", size);
    if (status == TT_OK) status = tt__decode(from, small.rgb, err);
    if (status == TT_OK)
        status = tt_image_resize(&small, to->request->width, to->request->height, &large, err);
    to->hires.request.image = large.rgb;
    if (status == TT_OK) status = tt__encode_start(to, to->decoded, err);
    to->hires.request.image = NULL; /* its latents are what counts */
    tt_image_release(&small);
    tt_image_release(&large);
    return status;
}

tt_status tt__hires_enlarge(tt_generation *g, tt_err *err) {
    tt_generation *p = tt__enlarged(g);
    if (!p) return TT_OK;
    g->words.begun_rows = p->words.begun_rows = 0; /* the UNet is told of sizes with the text */
    if (p->hires.takes_picture) return enlarge_picture(g, p, err);
    enlarge_latents(g, p);
    return TT_OK;
}
