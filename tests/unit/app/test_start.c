/* Pictures to start from: how they come, what size they get, and where their masks lie. Pictures are made by the encoder of
 * src/image, which has tests of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/file.h"
#include "image/image.h"
#include "unit/app/fake_engine.h"
#include "unit/app/reading.h"

enum { MAX_BYTES = 1 << 20, JOB_BYTES = 1 << 18 };

/* Red grows to the right, green downwards. */
static tt_buf png_of(int width, int height) {
    size_t n = (size_t)width * (size_t)height;
    tt_image image = {calloc(n, 3), width, height};
    tt_image_encode_options options = {.format = TT_IMAGE_PNG};
    tt_buf out;
    for (size_t i = 0; i < n; i++) {
        image.rgb[3 * i] = (uint8_t)((int)(i % (size_t)width) * 255 / width);
        image.rgb[3 * i + 1] = (uint8_t)((int)(i / (size_t)width) * 255 / height);
    }
    tt_buf_init(&out, MAX_BYTES);
    assert_int_equal(tt_image_encode(&image, &options, &out, NULL), TT_OK);
    free(image.rgb);
    return out;
}

/* White on the left, black on the right. */
static tt_buf half_mask(int width, int height) {
    size_t n = (size_t)width * (size_t)height;
    tt_image image = {calloc(n, 3), width, height};
    tt_image_encode_options options = {.format = TT_IMAGE_PNG};
    tt_buf out;
    for (size_t i = 0; i < n; i++)
        memset(image.rgb + 3 * i, (int)(i % (size_t)width) < width / 2 ? 255 : 0, 3);
    tt_buf_init(&out, MAX_BYTES);
    assert_int_equal(tt_image_encode(&image, &options, &out, NULL), TT_OK);
    free(image.rgb);
    return out;
}

/* A 4 x 4 PNG with alpha: the left half is transparent. By Python's zlib and struct. */
static const char ALPHA_PNG[] = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAYAAACp8Z5+"
                                "AAAAFElEQVR42mM4kWLEAMX/QZiBdAEA350d2arREuMAAAAASUVORK5CYII=";

static const char *base64_of(tt_buf *bytes) {
    static char text[JOB_BYTES / 2];
    tt_buf out;
    tt_buf_init(&out, sizeof text - 1);
    assert_int_equal(tt_base64_append(&out, bytes->data, bytes->size, NULL), TT_OK);
    memcpy(text, out.data, out.size + 1);
    tt_buf_release(&out);
    tt_buf_release(bytes);
    return text;
}

/* A job with the picture of this size and more members. */
static void load_sized(reading *r, int width, int height, const char *more) {
    static char job[JOB_BYTES];
    tt_buf bytes = png_of(width, height);
    snprintf(job, sizeof job,
             "{\"input\": {\"prompt\": \"x\", \"seed\": 1, \"image\": \"%s\"%s%s}}",
             base64_of(&bytes), more[0] ? ", " : "", more);
    begin(r);
    add_job(r, job);
    finish_all(r, NULL, NULL);
    if (r->status != TT_OK && r->problems.count == 0) fail_msg("%s", r->err.message);
}

static void assert_size(int width, int height, const char *more, int out_width, int out_height) {
    reading r;
    load_sized(&r, width, height, more);
    if (r.status != TT_OK) fail_msg("%s", r.err.message);
    assert_non_null(r.request.engine.image);
    if (r.request.engine.width != out_width || r.request.engine.height != out_height)
        fail_msg("%d x %d, %s: expected %d x %d, found %d x %d", width, height, more, out_width,
                 out_height, r.request.engine.width, r.request.engine.height);
    end(&r);
}

static void sizes_follow_the_picture_unless_somebody_says_otherwise(void **state) {
    (void)state;
    assert_size(256, 128, "", 256, 128);
    assert_size(203, 130, "", 200, 128);     /* to the nearest multiples of 8 */
    assert_size(20, 300, "", 64, 304);       /* not below the smallest side */
    assert_size(3200, 1600, "", 2176, 1088); /* within 1536 x 1536 pixels, proportions kept */
    assert_size(256, 128, "\"width\": 512", 512, 256);
    assert_size(256, 128, "\"height\": 256", 512, 256);
    assert_size(256, 128, "\"width\": 128, \"height\": 128", 128, 128);
    assert_size(256, 128, "\"outpaint\": \"64,0,8,16\"", 328, 144);
    assert_size(256, 128, "\"outpaint\": 10", 288, 160); /* rounded up to 16 */
    assert_size(256, 128, "\"width\": 512, \"height\": 256, \"outpaint\": [128, 0, 0, 0]", 512,
                256);
    assert_size(256, 128, "\"width\": 320, \"outpaint\": [64, 0, 0, 0]", 320, 128);
}

static void a_picture_of_the_right_size_stays_as_it_is(void **state) {
    (void)state;
    reading r;
    load_sized(&r, 64, 128, "\"strength\": 0.4");
    tt_buf bytes = png_of(64, 128);
    tt_image image;
    assert_int_equal(tt_image_decode(bytes.data, bytes.size, &image, NULL), TT_OK);
    assert_memory_equal(r.request.engine.image, image.rgb, 64 * 128 * 3);
    assert_true(r.request.engine.strength == 0.4f);
    assert_null(r.request.engine.mask);
    tt_image_release(&image);
    tt_buf_release(&bytes);
    end(&r);
}

static void pictures_come_in_every_wrapping(void **state) {
    (void)state;
    static char job[JOB_BYTES];
    tt_buf bytes = png_of(64, 64);
    const char *text = base64_of(&bytes);
    static const char *const before[] = {"", "data:image/png;base64,", "data:;base64,",
                                         "data:image/png;charset=x;base64,"};
    static const char *const fields[] = {"image", "init_image", "image_base64", "image_url"};
    for (size_t i = 0; i < 4; i++) {
        reading r;
        snprintf(job, sizeof job, "{\"input\": {\"prompt\": \"x\", \"%s\": \"%s%s\"}}", fields[i],
                 before[i], text);
        begin(&r);
        add_job(&r, job);
        finish_all(&r, NULL, NULL);
        if (r.status != TT_OK) fail_msg("%s", r.err.message);
        assert_int_equal(r.request.engine.width, 64);
        end(&r);
    }
}

static void assert_start_fault(const char *members, const char *sentence) {
    char job[1024];
    reading r;
    snprintf(job, sizeof job, "{\"input\": {\"prompt\": \"x\", %s}}", members);
    begin(&r);
    add_job(&r, job);
    finish_all(&r, NULL, NULL);
    assert_int_equal(r.status, TT_E_INVALID);
    assert_int_equal(r.problems.count, 1);
    assert_string_equal(r.problems.list[0].message, sentence);
    end(&r);
}

static void each_wrong_picture_has_its_sentence(void **state) {
    (void)state;
    assert_start_fault("\"image\": 5", "image: expected text, found 5");
    assert_start_fault("\"image\": \"\"", "image: expected a name, found nothing");
    assert_start_fault("\"image\": \"boat.png\"",
                       "image: expected a picture as base64, a data URI, or a "
                       "URL, found text that is none");
    assert_start_fault("\"image\": \"/etc/passwd\"", "image: these 8 bytes are no picture we know: "
                                                     "expected PNG, JPEG or WebP");
    assert_start_fault("\"image\": \"data:image/png,abc\"",
                       "image: expected a data URI in base64, \"data:image/png;base64,...\"");
    assert_start_fault("\"image_url\": \"http://host/a.png\"",
                       "image_url: expected a URL that begins with https://");
    assert_start_fault(
        "\"image_url\": \"https://host/a.png\"",
        "image_url: pictures behind URLs are not fetched here: send the picture itself, "
        "as base64");
    assert_start_fault("\"mask\": \"AAAA\"",
                       "mask: expected a picture to change, in image, found none");
    assert_start_fault("\"outpaint\": 8",
                       "outpaint: expected a picture to change, in image, found none");
}

static tt_status fetch(void *context, const char *url, tt_buf *out, tt_err *err) {
    (void)context;
    tt_buf bytes = png_of(72, 64);
    assert_string_equal(url, "https://host/a.png");
    tt_status status = tt_buf_append(out, bytes.data, bytes.size, err);
    tt_buf_release(&bytes);
    return status;
}

static void a_url_is_fetched_by_who_can(void **state) {
    (void)state;
    const tt_app_models models = {.fetch = fetch};
    reading r;
    begin(&r);
    add_job(&r, "{\"input\": {\"prompt\": \"x\", \"image\": \"https://host/a.png\"}}");
    finish_all(&r, &models, NULL);
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.engine.width, 72);
    end(&r);
}

static void a_flag_names_a_file_and_a_job_may_not(void **state) {
    (void)state;
    char path[] = "/tmp/tintype-start-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tt_buf bytes = png_of(64, 72);
    assert_int_equal(tt_file_write(path, bytes.data, bytes.size, NULL), TT_OK);
    tt_buf_release(&bytes);
    reading r;
    begin(&r);
    add_text(&r, TT_OPT_PROMPT, TT_FROM_FLAG, "--prompt", "x");
    add_text(&r, TT_OPT_IMAGE, TT_FROM_FLAG, "--image", path);
    finish_all(&r, NULL, NULL);
    assert_int_equal(r.status, TT_OK);
    assert_int_equal(r.request.engine.height, 72);
    end(&r);
    begin(&r);
    json_object *job = json_object_new_object(), *input = json_object_new_object();
    json_object_object_add(input, "prompt", json_object_new_string("x"));
    json_object_object_add(input, "image", json_object_new_string(path));
    json_object_object_add(job, "input", input);
    tt_settings_read_job(&r.settings, job, &r.problems);
    json_object_put(job);
    finish_all(&r, NULL, NULL);
    assert_int_equal(r.status, TT_E_INVALID);
    end(&r);
    unlink(path);
}

/* ---- masks ------------------------------------------------------------------------------------------------------- */

static void load_masked(reading *r, int mask_width, int mask_height, const char *more) {
    static char job[JOB_BYTES], image[JOB_BYTES / 4];
    tt_buf bytes = png_of(128, 64);
    int n = snprintf(image, sizeof image, "%s", base64_of(&bytes));
    assert_true(n > 0 && (size_t)n < sizeof image);
    bytes = half_mask(mask_width, mask_height);
    n = snprintf(
        job, sizeof job,
        "{\"input\": {\"prompt\": \"x\", \"seed\": 1, \"image\": \"%s\", \"mask\": \"%s\"%s}}",
        image, base64_of(&bytes), more);
    assert_true(n > 0 && (size_t)n < sizeof job);
    begin(r);
    add_job(r, job);
    finish_all(r, NULL, NULL);
    if (r->status != TT_OK) fail_msg("%s", r->err.message);
}

static int mask_at(const reading *r, int x, int y) {
    return r->request.engine.mask[y * r->request.engine.width + x];
}

static void a_mask_lies_on_its_picture_in_any_size(void **state) {
    (void)state;
    static const int sizes[][2] = {{128, 64}, {256, 128}, {16, 16}};
    for (size_t i = 0; i < 3; i++) {
        reading r;
        load_masked(&r, sizes[i][0], sizes[i][1], "");
        assert_int_equal(mask_at(&r, 0, 0), 255);
        assert_int_equal(mask_at(&r, 50, 63), 255);
        assert_int_equal(mask_at(&r, 80, 0), 0);
        assert_int_equal(mask_at(&r, 127, 63), 0);
        end(&r);
    }
}

static void a_mask_is_cropped_with_its_picture(void **state) {
    (void)state;
    reading r;
    load_masked(&r, 128, 64, ", \"width\": 64, \"height\": 64");
    assert_int_equal(mask_at(&r, 20, 32), 255); /* the middle of 128 is still the middle of 64 */
    assert_int_equal(mask_at(&r, 44, 32), 0);
    end(&r);
}

static void outpaint_adds_to_a_mask(void **state) {
    (void)state;
    reading r;
    load_masked(&r, 128, 64, ", \"outpaint\": {\"right\": 32}");
    assert_int_equal(r.request.engine.width, 160);
    assert_int_equal(mask_at(&r, 10, 10), 255);
    assert_int_equal(mask_at(&r, 90, 10), 0);
    assert_int_equal(mask_at(&r, 140, 10), 255);
    end(&r);
}

static void outpaint_keeps_the_picture_and_is_strong(void **state) {
    (void)state;
    reading r;
    load_sized(&r, 64, 64, "\"outpaint\": {\"left\": 16, \"top\": 8}");
    tt_buf bytes = png_of(64, 64);
    tt_image image;
    assert_int_equal(tt_image_decode(bytes.data, bytes.size, &image, NULL), TT_OK);
    assert_memory_equal(r.request.engine.image + (8 * 80 + 16) * 3, image.rgb, 64 * 3);
    assert_int_equal(mask_at(&r, 0, 71), 255);
    assert_int_equal(mask_at(&r, 79, 71), 0);
    assert_true(r.request.engine.strength == 0.9f);
    tt_image_release(&image);
    tt_buf_release(&bytes);
    end(&r);
}

static void what_is_transparent_can_be_the_mask(void **state) {
    (void)state;
    char job[1024];
    reading r;
    snprintf(
        job, sizeof job,
        "{\"input\": {\"prompt\": \"x\", \"image\": \"%s\", \"mask\": \"alpha\", \"width\": 64, "
        "\"height\": 64}}",
        ALPHA_PNG);
    begin(&r);
    add_job(&r, job);
    finish_all(&r, NULL, NULL);
    if (r.status != TT_OK) fail_msg("%s", r.err.message);
    assert_int_equal(mask_at(&r, 2, 32), 255);
    assert_int_equal(mask_at(&r, 61, 32), 0);
    end(&r);
}

static void an_opaque_picture_has_no_alpha_to_paint_in(void **state) {
    (void)state;
    reading r;
    load_sized(&r, 64, 64, "\"mask\": \"alpha\"");
    assert_int_equal(r.status, TT_E_INVALID);
    assert_string_equal(
        r.problems.list[0].message,
        "mask: expected a picture that is transparent somewhere, found one that is not");
    end(&r);
}

static void sides_that_leave_nothing_or_too_much_are_told(void **state) {
    (void)state;
    reading r;
    load_sized(&r, 64, 64, "\"width\": 128, \"outpaint\": [64, 0, 64, 0]");
    assert_string_equal(r.problems.list[0].message,
                        "width: expected more than the 128 pixels that outpaint adds, found 128");
    end(&r);
    load_sized(&r, 64, 64, "\"outpaint\": [0, 4096, 0, 0]");
    assert_string_equal(r.problems.list[0].message,
                        "height: expected at most 4096 with what outpaint adds, found 4160");
    end(&r);
}

static void loading_survives_failed_allocations(void **state) {
    (void)state;
    static char job[JOB_BYTES];
    tt_buf bytes = png_of(128, 64);
    snprintf(job, sizeof job,
             "{\"input\": {\"prompt\": \"x\", \"image\": \"%s\", \"mask\": \"%s\", \"width\": 64, "
             "\"outpaint\": 8}}",
             base64_of(&bytes), ALPHA_PNG);
    tt_status status = TT_E_NOMEM;
    int n = 0;
    for (; status != TT_OK && n < 300; n++) {
        reading r;
        begin(&r);
        add_job(&r, job);
        tt_alloc_fail_after(n);
        finish_all(&r, NULL, NULL);
        tt_alloc_fail_after(-1);
        status = r.status;
        if (status != TT_OK) assert_true(status == TT_E_NOMEM);
        end(&r);
    }
    assert_int_equal(status, TT_OK);
    assert_true(n > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_follow_the_picture_unless_somebody_says_otherwise),
        cmocka_unit_test(a_picture_of_the_right_size_stays_as_it_is),
        cmocka_unit_test(pictures_come_in_every_wrapping),
        cmocka_unit_test(each_wrong_picture_has_its_sentence),
        cmocka_unit_test(a_url_is_fetched_by_who_can),
        cmocka_unit_test(a_flag_names_a_file_and_a_job_may_not),
        cmocka_unit_test(a_mask_lies_on_its_picture_in_any_size),
        cmocka_unit_test(a_mask_is_cropped_with_its_picture),
        cmocka_unit_test(outpaint_adds_to_a_mask),
        cmocka_unit_test(outpaint_keeps_the_picture_and_is_strong),
        cmocka_unit_test(what_is_transparent_can_be_the_mask),
        cmocka_unit_test(an_opaque_picture_has_no_alpha_to_paint_in),
        cmocka_unit_test(sides_that_leave_nothing_or_too_much_are_told),
        cmocka_unit_test(loading_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
