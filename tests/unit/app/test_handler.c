/* A job from JSON text to the worker's answer, over an engine that draws stripes. The pictures in the answers are decoded
 * again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "app/handler.h"
#include "app/worker.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/limits.h"
#include "image/image.h"
#include "support/json_tree.h"
#include "unit/app/fake_engine.h"
#include "unit/app/fake_sdk.h"

/* One answer, as the SDK would send it: {"output": ...} or {"error": ...}. */
typedef struct answer {
    json_object *tree;
    tt_reply reply;
} answer;

static tt_engine new_engine(void) {
    return (tt_engine){.info = FAKE_INFO, .prompt_tokens = 5};
}

/* Runs the worker's handler as the SDK does. *status: could the worker be made at all? */
static tt_status run_handler(const tt_engine *engine, const tt_settings *settings, tt_job *job,
                             tt_reply *reply) {
    const tt_app_worker_options options = {.settings = settings,
                                           .engine = {.model_path = "/secret/fake.safetensors"}};
    tt_app_worker *worker;
    tt_err err;
    *reply = (tt_reply){.output = NULL};
    TT_TRY(tt_app_worker_new(&options, &worker, &err));
    const tt_worker_config *config = tt_app_worker_config(worker);
    fake_engine_to_open = *engine;
    assert_int_equal(config->start(config->context, &err), TT_OK);
    config->handler(job, reply, config->context);
    config->stop(config->context);
    tt_app_worker_free(worker);
    return TT_OK;
}

/* One of the two is set, never both and never none. */
static json_object *tree_of(const tt_reply *reply) {
    json_object *tree = json_object_new_object(), *output = NULL;
    tt_err err;
    assert_true(!reply->output != !reply->error);
    if (reply->error)
        json_object_object_add(tree, "error", json_object_new_string(reply->error));
    else if (tt_json_parse(reply->output, reply->size, &output, &err) == TT_OK)
        json_object_object_add(tree, "output", output);
    else
        fail_msg("%s: %.300s", err.message, reply->output);
    return tree;
}

static answer handle(tt_engine *engine, const char *text) {
    answer a;
    tt_settings base;
    tt_job job = {.text = text};
    assert_int_equal(tt_settings_init(&base, NULL), TT_OK);
    assert_int_equal(run_handler(engine, &base, &job, &a.reply), TT_OK);
    tt_settings_release(&base);
    a.tree = tree_of(&a.reply);
    return a;
}

static void end(answer *a) {
    json_object_put(a->tree);
    fake_reply_release(&a->reply);
}

static json_object *metadata(const answer *a) {
    return member(member(a->tree, "output"), "metadata");
}

/* The inverse of base64, written for this test alone. */
static tt_buf decode_base64(const char *text) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    tt_buf out;
    tt_buf_init(&out, TT_MAX_JOB_OUTPUT_BYTES);
    unsigned bits = 0;
    int n_bits = 0;
    for (; *text && *text != '='; text++) {
        const char *at = strchr(alphabet, *text);
        assert_non_null(at);
        bits = bits << 6 | (unsigned)(at - alphabet);
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        char byte = (char)(bits >> n_bits & 0xff);
        assert_int_equal(tt_buf_append(&out, &byte, 1, NULL), TT_OK);
    }
    return out;
}

static void assert_holds_stripes(const char *base64, uint64_t seed) {
    tt_buf file = decode_base64(base64);
    tt_image image;
    tt_err err;
    assert_int_equal(tt_image_decode(file.data, file.size, &image, &err), TT_OK);
    assert_int_equal(image.width, FAKE_INFO.default_width);
    assert_int_equal(image.height, FAKE_INFO.default_height);
    size_t size = (size_t)image.width * (size_t)image.height * 3;
    for (size_t k = 0; k < size; k++) assert_int_equal(image.rgb[k], (uint8_t)(k * 7 + seed));
    tt_image_release(&image);
    tt_buf_release(&file);
}

static void one_picture_comes_back_exactly(void **state) {
    (void)state;
    tt_engine engine = new_engine();
    answer a = handle(&engine, "{\"input\": {\"prompt\": \"a boat\", \"seed\": 5}}");
    assert_null(a.reply.error);
    assert_holds_stripes(text_of(member(a.tree, "output"), "image"), 5);
    assert_int_equal(json_object_object_length(a.tree), 1);
    end(&a);
}

static void several_pictures_come_back_with_their_seeds(void **state) {
    (void)state;
    tt_engine engine = new_engine();
    answer a = handle(&engine, "{\"input\": {\"prompt\": \"a\", \"seed\": 7, \"num_images\": 3}}");
    assert_null(a.reply.error);
    json_object *output = member(a.tree, "output"), *images = member(output, "images");
    assert_false(json_object_object_get_ex(output, "image", NULL));
    assert_int_equal(json_object_array_length(images), 3);
    assert_int_equal(json_object_array_length(member(output, "seeds")), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(json_object_get_int(json_object_array_get_idx(member(output, "seeds"), i)),
                         7 + i);
        assert_holds_stripes(json_object_get_string(json_object_array_get_idx(images, i)), 7 + i);
    }
    assert_int_equal(json_object_get_int(member(metadata(&a), "seed")), 7);
    end(&a);
}

static void metadata_has_every_effective_setting(void **state) {
    (void)state;
    tt_engine engine = new_engine();
    answer a = handle(
        &engine, "{\"input\": {\"prompt\": \"say \\\"hi\\\" \\u00e4\", \"cfg\": 0.7, \"seed\": "
                 "18446744073709551615}}");
    static const struct {
        const char *name, *value;
    } expected[] = {
        {"prompt", "say \"hi\" \xc3\xa4"},
        {"steps", "12"},
        {"cfg_scale", "0.7"},
        {"guidance_rescale", "0"},
        {"sampler", "dpmpp_2m"},
        {"schedule", "leading"},
        {"seed", "18446744073709551615"},
        {"width", "256"},
        {"height", "192"},
        {"clip_skip", "2"},
        {"model", "fake.safetensors"},
        {"precision", "f32"},
        {"vae_precision", "f32"},
        {"prediction", "epsilon"},
        {"noise", "cpu"},
        {"negative_policy", "zeros"},
        {"prompt_tokens", "5"},
        {"prompt_tokens_used", "5"},
        {"format", "png"},
        {"version", "0.0.0"},
        {"peak_memory_bytes", "123456789"},
    };
    json_object *m = metadata(&a);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_string_equal(text_of(m, expected[i].name), expected[i].value);
    assert_null(member(m, "negative_prompt"));
    assert_int_equal(json_object_array_length(member(m, "loras")), 0);
    assert_false(json_object_object_get_ex(m, "warnings", NULL));
    static const char *const timings[] = {"load_ms", "plan_ms",   "text_ms",  "denoise_ms",
                                          "vae_ms",  "encode_ms", "total_ms", "steps_per_s"};
    for (size_t i = 0; i < sizeof timings / sizeof *timings; i++)
        assert_true(
            json_object_is_type(member(member(m, "timings"), timings[i]), json_type_double) ||
            json_object_is_type(member(member(m, "timings"), timings[i]), json_type_int));
    assert_true(json_object_get_double(member(member(m, "timings"), "steps_per_s")) == 24);
    end(&a);
}

static void an_absent_negative_prompt_differs_from_an_empty_one(void **state) {
    (void)state;
    tt_engine engine = new_engine();
    answer a = handle(&engine, "{\"input\": {\"prompt\": \"a\", \"negative_prompt\": \"\"}}");
    assert_string_equal(text_of(metadata(&a), "negative_prompt"), "");
    assert_string_equal(text_of(metadata(&a), "negative_policy"), "encoded");
    end(&a);
}

static void a_cut_prompt_is_warned_of(void **state) {
    (void)state;
    tt_engine engine = new_engine();
    engine.prompt_tokens = 92;
    answer a = handle(&engine, "{\"input\": {\"prompt\": \"long\"}}");
    json_object *warnings = member(metadata(&a), "warnings");
    assert_string_equal(json_object_get_string(json_object_array_get_idx(warnings, 0)),
                        "the prompt has 92 tokens, only the first 75 were used");
    end(&a);
}

static void the_file_carries_its_own_settings(void **state) {
    (void)state;
    static const char *const formats[] = {"png", "jpeg", "webp"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        tt_engine engine = new_engine();
        char job[256];
        snprintf(
            job, sizeof job,
            "{\"input\": {\"prompt\": \"a boat\", \"seed\": 9, \"count\": 2, \"format\": \"%s\"}}",
            formats[i]);
        answer a = handle(&engine, job);
        assert_null(a.reply.error);
        json_object *second =
            json_object_array_get_idx(member(member(a.tree, "output"), "images"), 1);
        tt_buf file = decode_base64(json_object_get_string(second));
        tt_image_info info;
        tt_image_metadata inside;
        json_object *record;
        tt_err err;
        assert_int_equal(tt_image_probe(file.data, file.size, &info, &err), TT_OK);
        assert_string_equal(tt_image_format_name(info.format), formats[i]);
        assert_int_equal(tt_image_read_text(file.data, file.size, &inside, &err), TT_OK);
        assert_non_null(inside.parameters);
        assert_non_null(strstr(inside.parameters, "a boat"));
        assert_non_null(strstr(inside.parameters, "Seed: 10"));
        assert_int_equal(tt_json_parse(inside.json, strlen(inside.json), &record, &err), TT_OK);
        assert_int_equal(json_object_get_int(member(record, "seed")), 10);
        assert_string_equal(text_of(record, "prompt"), "a boat");
        assert_false(json_object_object_get_ex(record, "timings", NULL));
        json_object_put(record);
        tt_image_metadata_release(&inside);
        tt_buf_release(&file);
        end(&a);
    }
}

static void the_same_job_gives_the_same_bytes(void **state) {
    (void)state;
    static const char job[] = "{\"input\": {\"prompt\": \"a\", \"seed\": 1}}";
    tt_engine engine = new_engine();
    answer a = handle(&engine, job), b = handle(&engine, job);
    assert_string_equal(text_of(member(a.tree, "output"), "image"),
                        text_of(member(b.tree, "output"), "image"));
    end(&a);
    end(&b);
}

static void the_longest_prompts_fit_in_every_format(void **state) {
    (void)state;
    static char job[8 * TT_MAX_PROMPT_BYTES], prompt[2 * TT_MAX_PROMPT_BYTES + 1];
    for (size_t i = 0; i < TT_MAX_PROMPT_BYTES; i++) memcpy(prompt + 2 * i, "\\\"", 2);
    static const char *const formats[] = {"png", "jpeg", "webp"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        tt_engine engine = new_engine();
        snprintf(
            job, sizeof job,
            "{\"input\": {\"prompt\": \"%s\", \"negative_prompt\": \"%s\", \"format\": \"%s\"}}",
            prompt, prompt, formats[i]);
        answer a = handle(&engine, job);
        if (a.reply.error) fail_msg("%s: %s", formats[i], a.reply.error);
        end(&a);
    }
}

static void a_bad_job_is_answered_with_all_its_faults(void **state) {
    (void)state;
    tt_engine engine = new_engine();
    answer a = handle(&engine, "{\"input\": {\"steps\": 0, \"width\": 1000001}}");
    assert_string_equal(
        text_of(a.tree, "error"),
        "prompt: expected text (it may be empty), found nothing; width: expected a whole number "
        "from 64 to 4096, a multiple of 8, found 1000001; steps: expected a whole number from 1 to "
        "1000, found 0");
    end(&a);
}

static void broken_json_is_answered_with_its_place(void **state) {
    (void)state;
    tt_engine engine = new_engine();
    answer a = handle(&engine, "{\"input\": {\"prompt\": \"a\",}}");
    assert_non_null(strstr(text_of(a.tree, "error"), "line 1, column"));
    end(&a);
}

static void a_failing_engine_is_answered_in_its_words(void **state) {
    (void)state;
    static const tt_status failures[] = {TT_E_NOMEM, TT_E_CANCELLED, TT_E_INTERNAL};
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        tt_engine engine = new_engine();
        engine.failure = failures[i];
        answer a = handle(&engine, "{\"input\": {\"prompt\": \"a\"}}");
        assert_string_equal(text_of(a.tree, "error"), "the fake engine was told to fail");
        end(&a);
    }
}

static void errors_are_valid_json_whatever_they_say(void **state) {
    (void)state;
    tt_buf out;
    json_object *tree;
    tt_buf_init(&out, TT_MAX_JOB_OUTPUT_BYTES);
    assert_int_equal(tt_app_write_error("cannot open \"\xff\\x\"", &out, NULL), TT_OK);
    assert_int_equal(tt_json_parse(out.data, out.size, &tree, NULL), TT_OK);
    assert_string_equal(text_of(tree, "error"), "cannot open \"");
    json_object_put(tree);
    tt_buf_release(&out);
}

/* Until all allocations succeed, every answer is an error with no half answer before it. */
static void failed_allocations_end_in_a_sentence(void **state) {
    (void)state;
    tt_engine engine = new_engine();
    tt_job job = {
        .text = "{\"input\": {\"prompt\": \"a\", \"width\": 64, \"height\": 64, \"count\": 2}}",
        .is_local = true};
    tt_settings base;
    bool is_done = false;
    int n = 0;
    assert_int_equal(tt_settings_init(&base, NULL), TT_OK);
    for (; !is_done && n < 5000; n++) {
        tt_reply reply;
        tt_alloc_fail_after(n);
        tt_status status = run_handler(&engine, &base, &job, &reply);
        tt_alloc_fail_after(-1);
        if (status == TT_OK) {
            json_object_put(tree_of(&reply));
            is_done = !reply.error && n > 100;
        }
        fake_reply_release(&reply);
    }
    assert_true(is_done);
    tt_settings_release(&base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_picture_comes_back_exactly),
        cmocka_unit_test(several_pictures_come_back_with_their_seeds),
        cmocka_unit_test(metadata_has_every_effective_setting),
        cmocka_unit_test(an_absent_negative_prompt_differs_from_an_empty_one),
        cmocka_unit_test(a_cut_prompt_is_warned_of),
        cmocka_unit_test(the_file_carries_its_own_settings),
        cmocka_unit_test(the_same_job_gives_the_same_bytes),
        cmocka_unit_test(the_longest_prompts_fit_in_every_format),
        cmocka_unit_test(a_bad_job_is_answered_with_all_its_faults),
        cmocka_unit_test(broken_json_is_answered_with_its_place),
        cmocka_unit_test(a_failing_engine_is_answered_in_its_words),
        cmocka_unit_test(errors_are_valid_json_whatever_they_say),
        cmocka_unit_test(failed_allocations_end_in_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
