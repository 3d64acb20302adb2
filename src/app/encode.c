/* See encode.h. JPEG keeps texts in segments of 64 KiB: where both texts do not fit, the complete record goes first,
 * then the parameters, rather than the picture. The job's answer has them in any case. */
#include "app/encode.h"

#include "app/parameters.h"
#include "base/limits.h"
#include "image/image.h"

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

tt_status tt__encode_picture(const tt_app_facts *facts, int picture, tt_buf *out, tt_err *err) {
    tt_buf json, parameters;
    tt_buf_init(&json, TT_MAX_JSON_BYTES);
    tt_buf_init(&parameters, TT_MAX_JSON_BYTES);
    tt_status status = tt_metadata_of_picture(facts, picture, &json, err);
    if (status == TT_OK) status = tt__write_parameters(facts, picture, &parameters, err);
    if (status == TT_OK) {
        tt_image_text text = {.parameters = parameters.data, .json = json.data};
        status = encode(facts, picture, &text, out, err);
    }
    tt_buf_release(&json);
    tt_buf_release(&parameters);
    return status;
}
