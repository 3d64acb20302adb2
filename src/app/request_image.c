/* The picture to start from, its mask, and the sizes that follow; see request_parts.h. In this order:
 *
 *     bytes       a file (who may name one: models.h), base64, a data URI, an https URL
 *     pixels      upright; transparent parts on white
 *     size        as asked; else the picture's own, within MAX_DEFAULT_PIXELS; one side alone keeps the proportions
 *     outpaint    what is around it, and a mask of that
 *
 * The mask goes the same way, so that it stays on what it covers. */
#include <math.h>
#include <string.h>

#include "app/request_parts.h"
#include "app/values.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/file.h"
#include "base/limits.h"
#include "image/input.h"
#include "image/mask.h"

/* Where nobody named a size: half as large again, each way, as what SDXL was trained for. Beyond, it repeats what it shows, and
 * time grows with the square of the pixels. */
static const double MAX_DEFAULT_PIXELS = 1536.0 * 1536;
/* New parts have nothing but a blurred edge to go on from: less than this and they stay blurred. */
static const float OUTPAINT_STRENGTH = 0.9f;
#define ALPHA_WORD "alpha"

typedef struct loader {
    const tt_settings *settings;
    const tt_app_models *models;
    tt_app_request *out;
    tt_problems *problems;
    tt_err *err;
    tt_image image; /* owned, as it came */
    uint8_t *alpha; /* owned; NULL: all of it is there, or nobody asked */
    uint8_t *mask;  /* owned, [mask_height, mask_width], as it came; NULL: none */
    int mask_width, mask_height;
    int width, height; /* of the picture inside what outpaint adds */
} loader;

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static bool has_prefix(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* data:image/png;base64,iVBOR... */
static tt_status read_data_uri(const char *text, tt_buf *out, tt_err *err) {
    static const char mark[] = ";base64,";
    const char *comma = strchr(text, ',');
    size_t head = comma ? (size_t)(comma - text) + 1 : 0;
    size_t n = sizeof mark - 1;
    if (head < n || strncmp(text + head - n, mark, n) != 0)
        return tt_fail(err, TT_E_INVALID,
                       "expected a data URI in base64, \"data:image/png;base64,...\"");
    return tt_base64_decode(text + head, strlen(text + head), out, err);
}

static tt_status read_base64(const char *text, tt_buf *out, tt_err *err) {
    tt_err ignored;
    if (tt_base64_decode(text, strlen(text), out, &ignored) == TT_OK) return TT_OK;
    if (ignored.code == TT_E_NOMEM) return tt_fail(err, ignored.code, "%s", ignored.message);
    return tt_fail(err, TT_E_INVALID,
                   "expected a picture as base64, a data URI, or a URL, found text that is none");
}

static tt_status read_bytes(const loader *l, const tt_setting *setting, const char *text,
                            tt_buf *out, tt_err *err) {
    bool is_trusted = setting->origin != TT_FROM_JOB;
    if (has_prefix(text, "http://") || has_prefix(text, "https://"))
        return tt_app_models_fetch(l->models, text, out, err);
    if (has_prefix(text, "data:")) return read_data_uri(text, out, err);
    return is_trusted ? tt_file_read(text, out, err) : read_base64(text, out, err);
}

/* A problem leaves *out empty. */
static tt_status read_picture(const loader *l, tt_option_id id, tt_image *out, uint8_t **alpha) {
    const tt_setting *setting = &l->settings->of[id];
    const char *text = NULL;
    tt_buf bytes;
    tt_value_string(l->settings, id, &text, l->problems);
    if (!text) return TT_OK;
    tt_buf_init(&bytes, TT_MAX_INPUT_IMAGE_BYTES);
    tt_status status = read_bytes(l, setting, text, &bytes, l->err);
    if (status == TT_OK) status = tt_image_load(bytes.data, bytes.size, out, alpha, l->err);
    tt_buf_release(&bytes);
    return status == TT_OK ? TT_OK : tt__request_fault(l->problems, setting->spelling, l->err);
}

/* ---- the mask ---------------------------------------------------------------------------------------------------- */

static tt_status make_mask(loader *l, int width, int height) {
    size_t n = (size_t)width * (size_t)height;
    l->mask = tt_alloc(n);
    l->mask_width = width;
    l->mask_height = height;
    return l->mask ? TT_OK : tt_fail_nomem(l->err, "a mask", n);
}

/* White where the picture is transparent. */
static tt_status mask_of_alpha(loader *l) {
    if (!l->alpha) {
        tt_problems_add(
            l->problems,
            "%s: expected a picture that is transparent somewhere, found one that is not",
            l->settings->of[TT_OPT_MASK].spelling);
        return TT_OK;
    }
    TT_TRY(make_mask(l, l->image.width, l->image.height));
    size_t n = (size_t)l->image.width * (size_t)l->image.height;
    for (size_t i = 0; i < n; i++) l->mask[i] = (uint8_t)(UINT8_MAX - l->alpha[i]);
    return TT_OK;
}

static tt_status read_mask(loader *l, bool is_of_alpha) {
    tt_image given = {.rgb = NULL};
    if (is_of_alpha) return mask_of_alpha(l);
    TT_TRY(read_picture(l, TT_OPT_MASK, &given, NULL));
    if (!given.rgb) return TT_OK;
    tt_status status = make_mask(l, given.width, given.height);
    if (status == TT_OK) tt_image_brightness(&given, l->mask);
    tt_image_release(&given);
    return status;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

/* The nearest multiple of 8 that is a size. */
static int round_side(double pixels) {
    double n = round(pixels / TT_SIDE_MULTIPLE) * TT_SIDE_MULTIPLE;
    return (int)fmin(fmax(n, TT_MIN_SIDE_PIXELS), TT_MAX_SIDE_PIXELS);
}

static void choose_size(loader *l, int added_width, int added_height) {
    const tt_request *r = &l->out->engine;
    bool has_width = tt_value_is_said(l->settings, TT_OPT_WIDTH);
    bool has_height = tt_value_is_said(l->settings, TT_OPT_HEIGHT);
    double w = l->image.width, h = l->image.height;
    double shrink = fmin(1, sqrt(MAX_DEFAULT_PIXELS / (w * h)));
    l->width = has_width ? r->width - added_width : round_side(w * shrink);
    l->height = has_height ? r->height - added_height : round_side(h * shrink);
    if (has_width && !has_height) l->height = round_side(l->width * h / w);
    if (has_height && !has_width) l->width = round_side(l->height * w / h);
}

static void check_side(loader *l, tt_option_id id, int inside, int added) {
    const tt_setting *setting = &l->settings->of[id];
    const char *name = setting->value ? setting->spelling : tt_option_get(id)->field;
    if (inside < TT_SIDE_MULTIPLE)
        tt_problems_add(l->problems,
                        "%s: expected more than the %d pixels that outpaint adds, found %d", name,
                        added, inside + added);
    else if (inside + added > TT_MAX_SIDE_PIXELS)
        tt_problems_add(l->problems, "%s: expected at most %d with what outpaint adds, found %d",
                        name, TT_MAX_SIDE_PIXELS, inside + added);
}

/* False after a problem. */
static bool settle_size(loader *l) {
    const tt_image_sides *o = &l->out->outpaint;
    int before = l->problems->count;
    choose_size(l, o->left + o->right, o->top + o->bottom);
    check_side(l, TT_OPT_WIDTH, l->width, o->left + o->right);
    check_side(l, TT_OPT_HEIGHT, l->height, o->top + o->bottom);
    return l->problems->count == before;
}

/* ---- fitting ----------------------------------------------------------------------------------------------------- */

/* Replaces the picture by one of the settled size. */
static tt_status fit(loader *l) {
    tt_image fitted;
    if (l->image.width == l->width && l->image.height == l->height) return TT_OK;
    TT_TRY(tt_image_resize_cropped(&l->image, l->width, l->height, &fitted, l->err));
    tt_image_release(&l->image);
    l->image = fitted;
    return TT_OK;
}

/* The mask's brightness where the picture lies in the larger one; what is there already wins where it is brighter. */
static void add_mask(const loader *l, const uint8_t *inside) {
    const tt_app_request *out = l->out;
    for (int y = 0; y < l->height; y++) {
        uint8_t *row = out->mask + (size_t)(y + out->outpaint.top) * (size_t)out->engine.width +
                       (size_t)out->outpaint.left;
        for (int x = 0; x < l->width; x++, inside++)
            if (*inside > row[x]) row[x] = *inside;
    }
}

/* The mask covers the picture as it came, picture_width x picture_height. */
static tt_status fit_mask(loader *l, int picture_width, int picture_height) {
    const tt_image_mask mask = {l->mask, l->mask_width, l->mask_height};
    size_t n = (size_t)l->width * (size_t)l->height;
    size_t size = (size_t)l->out->engine.width * (size_t)l->out->engine.height;
    uint8_t *inside = tt_alloc(n);
    if (!l->out->mask) l->out->mask = tt_alloc(size);
    tt_status status = TT_OK;
    if (!inside || !l->out->mask) {
        status = tt_fail_nomem(l->err, "a mask", n + size);
    } else {
        tt_image_mask_fit(&mask, picture_width, picture_height, l->width, l->height, inside);
        add_mask(l, inside);
    }
    tt_free(inside);
    return status;
}

static bool is_wanted(const tt_image_sides *o) {
    return o->left || o->top || o->right || o->bottom;
}

static tt_status fit_picture(loader *l) {
    tt_app_request *out = l->out;
    TT_TRY(fit(l));
    if (is_wanted(&out->outpaint)) {
        TT_TRY(tt_image_pad(&l->image, &out->outpaint, out->engine.seed, &out->image, &out->mask,
                            l->err));
        if (!tt_value_is_said(l->settings, TT_OPT_STRENGTH))
            out->engine.strength = OUTPAINT_STRENGTH;
    } else {
        out->image = l->image;
        l->image.rgb = NULL;
    }
    out->engine.width = out->image.width;
    out->engine.height = out->image.height;
    return TT_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static tt_status load(loader *l) {
    const char *mask = NULL;
    bool has_mask = tt_value_is_said(l->settings, TT_OPT_MASK);
    if (has_mask && json_object_is_type(l->settings->of[TT_OPT_MASK].value, json_type_string))
        mask = json_object_get_string(l->settings->of[TT_OPT_MASK].value);
    bool is_of_alpha = mask && strcmp(mask, ALPHA_WORD) == 0;
    TT_TRY(read_picture(l, TT_OPT_IMAGE, &l->image, is_of_alpha ? &l->alpha : NULL));
    if (!l->image.rgb) return TT_OK;
    if (has_mask) TT_TRY(read_mask(l, is_of_alpha));
    if ((has_mask && !l->mask) || !settle_size(l)) return TT_OK;
    int width = l->image.width, height = l->image.height;
    TT_TRY(fit_picture(l));
    if (l->mask) TT_TRY(fit_mask(l, width, height));
    l->out->engine.image = l->out->image.rgb;
    l->out->engine.mask = l->out->mask;
    return TT_OK;
}

static void need_picture(const tt_settings *s, tt_option_id id, tt_problems *problems) {
    const tt_option *image = tt_option_get(TT_OPT_IMAGE);
    tt_problems_add(problems, "%s: expected a picture to change, in %s, found none",
                    s->of[id].spelling,
                    s->of[id].origin == TT_FROM_FLAG ? image->flag : image->field);
}

tt_status tt__request_load_image(const tt_settings *s, const tt_app_models *models,
                                 tt_app_request *r, tt_problems *problems, tt_err *err) {
    loader l = {.settings = s, .models = models, .out = r, .problems = problems, .err = err};
    bool has_image = tt_value_is_said(s, TT_OPT_IMAGE);
    if (!has_image && tt_value_is_said(s, TT_OPT_MASK)) need_picture(s, TT_OPT_MASK, problems);
    if (!has_image && is_wanted(&r->outpaint)) need_picture(s, TT_OPT_OUTPAINT, problems);
    tt_status status = has_image ? load(&l) : TT_OK;
    tt_image_release(&l.image);
    tt_free(l.mask);
    tt_free(l.alpha);
    return status;
}
