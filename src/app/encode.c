/* See encode.h. JPEG keeps texts in segments of 64 KiB: where both texts do not fit, the complete record goes first,
 * then the parameters, rather than the picture. The job's answer has them in any case. */
#include "app/encode.h"

#include <stdio.h>

#include "base/limits.h"
#include "image/image.h"
#include "image/parameters.h"

static tt_status encode(const tt_app_facts *facts, int picture, const tt_image_text *text,
                        tt_buf *out, tt_err *err) {
    const tt_picture *p = &facts->result->pictures[picture];
    tt_image image = {p->rgb, p->width, p->height};
    tt_image_encode_options options = {.quality = facts->request->quality, .text = *text};
    TT_TRY(tt_image_format_from_name(facts->request->format, &options.format, err));
    tt_status status = tt_image_encode(&image, &options, out, err);
    if (status != TT_E_INVALID || options.format != TT_IMAGE_JPEG) return status;
    options.text.json = NULL;
    status = tt_image_encode(&image, &options, out, err);
    if (status != TT_E_INVALID) return status;
    options.text.parameters = NULL;
    return tt_image_encode(&image, &options, out, err);
}

/* The settings as galleries and other programs read them. */
static tt_status write_parameters(const tt_app_facts *facts, int picture, tt_buf *out,
                                  tt_err *err) {
    enum { NUMBER_BYTES = 32, MAX_EXTRA = 3 };
    const tt_request *r = &facts->request->engine;
    const tt_picture *p = &facts->result->pictures[picture];
    char version[NUMBER_BYTES], rescale[NUMBER_BYTES];
    snprintf(version, sizeof version, "tintype %s", tt_version());
    snprintf(rescale, sizeof rescale, "%g", (double)r->guidance_rescale);
    tt_image_parameter extra[MAX_EXTRA] = {{"Clip skip", "2"}, {"Noise", facts->result->noise}};
    int n_extra = 2;
    if (r->guidance_rescale > 0)
        extra[n_extra++] = (tt_image_parameter){"Guidance rescale", rescale};
    tt_image_parameters text = {.prompt = r->prompt,
                                .negative = r->negative_prompt,
                                .steps = r->steps,
                                .sampler = facts->result->sampler_label,
                                .has_cfg = true,
                                .cfg = r->guidance,
                                .has_seed = true,
                                .seed = p->seed,
                                .width = p->width,
                                .height = p->height,
                                .version = version,
                                .extra = extra,
                                .n_extra = n_extra};
    tt_err model; /* a file name need not be UTF-8; a message always is */
    tt_fail(&model, TT_E_INVALID, "%s", facts->info->model_name);
    text.model = model.message;
    return tt_image_parameters_write(&text, out, err);
}

tt_status tt__encode_picture(const tt_app_facts *facts, int picture, tt_buf *out, tt_err *err) {
    tt_buf json, parameters;
    tt_buf_init(&json, TT_MAX_JSON_BYTES);
    tt_buf_init(&parameters, TT_MAX_JSON_BYTES);
    tt_status status = tt_metadata_of_picture(facts, picture, &json, err);
    if (status == TT_OK) status = write_parameters(facts, picture, &parameters, err);
    if (status == TT_OK) {
        tt_image_text text = {.parameters = parameters.data, .json = json.data};
        status = encode(facts, picture, &text, out, err);
    }
    tt_buf_release(&json);
    tt_buf_release(&parameters);
    return status;
}
