/* One model open at a time. The engine and where files come from are stand-ins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "app/presets.h"
#include "app/resident.h"
#include "unit/app/fake_engine.h"
#include "unit/app/fake_sdk.h"

/* Lends "civitai:<n>" as a file of the store. */
typedef struct lender {
    int n_lent, n_returned;
    int n_open_when_asked;
    bool fails, has_room_for_one, is_spoilt;
    int n_doubted;
} lender;

static tt_status lend(void *context, const tt_app_ask *ask, tt_app_found *out, tt_err *err) {
    lender *l = context;
    l->n_open_when_asked = fake_engine_life.n_opened - fake_engine_life.n_closed;
    if (l->fails) return tt_fail(err, TT_E_IO, "%s: no line", ask->text);
    if (l->has_room_for_one && l->n_lent > l->n_returned) {
        *ask->lacks_room = true;
        return tt_fail(err, TT_E_IO, "%s: no room", ask->text);
    }
    assert_true(ask->is_trusted);
    snprintf(out->path, sizeof out->path, "/store/%s", ask->text + strlen("civitai:"));
    snprintf(out->name, sizeof out->name, "Boats %s", ask->text + strlen("civitai:"));
    snprintf(out->reference, sizeof out->reference, "%s", ask->text);
    memset(out->digest, 'a', TT_DIGEST_HEX);
    l->n_lent++;
    return TT_OK;
}

static void take_back(void *context, tt_app_found *found) {
    lender *l = context;
    (void)found;
    l->n_returned++;
}

/* Once: then it is as it should be. */
static bool spoil(void *context, const tt_app_found *found) {
    lender *l = context;
    assert_int_equal(strlen(found->digest), TT_DIGEST_HEX);
    l->n_doubted++;
    if (!l->is_spoilt) return false;
    l->is_spoilt = false;
    fake_engine_to_open.open_failure[0] = '\0';
    return true;
}

typedef struct stage {
    lender lender;
    tt_app_models models;
    tt_app_resident resident;
} stage;

static void begin(stage *s) {
    *s = (stage){.lender = {.n_lent = 0}};
    s->models = (tt_app_models){
        .context = &s->lender, .find = lend, .release = take_back, .is_spoilt = spoil};
    s->resident.models = &s->models;
    memset(&fake_engine_life, 0, sizeof fake_engine_life);
    fake_engine_to_open = (tt_engine){.info = FAKE_INFO};
}

static void end(stage *s) {
    tt_app_resident_close(&s->resident);
    assert_int_equal(fake_engine_life.n_opened, fake_engine_life.n_closed);
    assert_int_equal(s->lender.n_lent, s->lender.n_returned);
}

static tt_status open_model(stage *s, const char *model, tt_err *err) {
    const tt_app_wish wish = {.model = model};
    return tt_app_resident_open(&s->resident, &wish, NULL, NULL, err);
}

static void what_is_open_is_not_opened_again(void **state) {
    (void)state;
    stage s;
    begin(&s);
    assert_int_equal(open_model(&s, "civitai:1", NULL), TT_OK);
    assert_int_equal(open_model(&s, "civitai:1", NULL), TT_OK);
    assert_int_equal(fake_engine_life.n_opened, 1);
    assert_int_equal(s.lender.n_lent, 1);
    assert_string_equal(fake_engine_life.model_path, "/store/1");
    assert_string_equal(fake_engine_life.model_name, "Boats 1");
    end(&s);
}

static void a_folder_of_a_cache_is_named_by_its_repository(void **state) {
    (void)state;
    static const char FOLDER[] =
        "/hub/models--org--sdxl/snapshots/0123456789abcdef0123456789abcdef01234567";
    stage s;
    begin(&s);
    assert_int_equal(open_model(&s, FOLDER, NULL), TT_OK);
    assert_string_equal(fake_engine_life.model_path, FOLDER);
    assert_string_equal(fake_engine_life.model_name, "org/sdxl");
    assert_string_equal(s.resident.model.reference,
                        "hf://org/sdxl@0123456789abcdef0123456789abcdef01234567");
    assert_int_equal(open_model(&s, "/models/sdxl", NULL), TT_OK);
    assert_string_equal(fake_engine_life.model_name, "");
    assert_string_equal(s.resident.model.reference, "");
    tt_app_resident_close(&s.resident);
    assert_int_equal(fake_engine_life.n_opened, fake_engine_life.n_closed);
}

static void another_is_found_before_and_opened_after_the_first_is_closed(void **state) {
    (void)state;
    stage s;
    begin(&s);
    assert_int_equal(open_model(&s, "civitai:1", NULL), TT_OK);
    assert_int_equal(open_model(&s, "civitai:2", NULL), TT_OK);
    assert_int_equal(s.lender.n_open_when_asked, 1);
    assert_false(fake_engine_life.was_open);
    assert_string_equal(s.resident.model.reference, "civitai:2");
    assert_int_equal(s.lender.n_returned, 1);
    end(&s);
}

static void what_cannot_be_found_costs_nothing(void **state) {
    (void)state;
    stage s;
    tt_err err;
    begin(&s);
    assert_int_equal(open_model(&s, "civitai:1", NULL), TT_OK);
    s.lender.fails = true;
    assert_int_equal(open_model(&s, "civitai:2", &err), TT_E_IO);
    assert_int_equal(open_model(&s, "civitai:1", NULL), TT_OK);
    assert_int_equal(fake_engine_life.n_opened, 1);
    end(&s);
}

static void where_only_one_has_room_the_old_one_goes_first(void **state) {
    (void)state;
    stage s;
    begin(&s);
    s.lender.has_room_for_one = true;
    assert_int_equal(open_model(&s, "civitai:1", NULL), TT_OK);
    assert_int_equal(open_model(&s, "civitai:2", NULL), TT_OK);
    assert_int_equal(s.lender.n_open_when_asked, 0);
    assert_string_equal(s.resident.model.reference, "civitai:2");
    end(&s);
}

static void what_does_not_open_is_called_by_its_name(void **state) {
    (void)state;
    stage s;
    tt_err err;
    begin(&s);
    snprintf(fake_engine_to_open.open_failure, sizeof fake_engine_to_open.open_failure, "%s",
             "/store/2: no model");
    assert_int_equal(open_model(&s, "civitai:2", &err), TT_E_FORMAT);
    assert_string_equal(err.message, "Boats 2: no model");
    assert_null(s.resident.engine);
    fake_engine_to_open.open_failure[0] = '\0';
    assert_int_equal(open_model(&s, "civitai:2", NULL), TT_OK);
    end(&s);
}

static void what_was_spoilt_on_disk_is_found_again(void **state) {
    (void)state;
    stage s;
    begin(&s);
    s.lender.is_spoilt = true;
    snprintf(fake_engine_to_open.open_failure, sizeof fake_engine_to_open.open_failure, "%s",
             "/store/2: no model");
    assert_int_equal(open_model(&s, "civitai:2", NULL), TT_OK);
    assert_int_equal(s.lender.n_doubted, 1);
    assert_int_equal(s.lender.n_lent, 2);
    end(&s);
}

static void what_is_no_good_by_itself_is_doubted_once(void **state) {
    (void)state;
    stage s;
    begin(&s);
    snprintf(fake_engine_to_open.open_failure, sizeof fake_engine_to_open.open_failure, "%s",
             "/store/2: no model");
    for (int i = 0; i < 3; i++) assert_int_equal(open_model(&s, "civitai:2", NULL), TT_E_FORMAT);
    assert_int_equal(s.lender.n_doubted, 1);
    fake_engine_to_open.open_failure[0] = '\0';
    end(&s);
}

static void files_of_this_machine_are_the_engines_to_judge(void **state) {
    (void)state;
    stage s;
    begin(&s);
    assert_int_equal(open_model(&s, "no/such/model.safetensors", NULL), TT_OK);
    assert_int_equal(s.lender.n_lent, 0);
    assert_string_equal(fake_engine_life.model_path, "no/such/model.safetensors");
    assert_string_equal(fake_engine_life.model_name, "");
    tt_app_resident_close(&s.resident);
    s.lender.n_returned = 0; /* a plain path is handed back, too; it was never lent */
    end(&s);
}

static void nobody_named_a_model(void **state) {
    (void)state;
    stage s;
    tt_err err;
    begin(&s);
    assert_int_equal(open_model(&s, NULL, &err), TT_E_NOT_FOUND);
    assert_string_equal(err.message, "no model: nobody named one");
    end(&s);
}

static void a_flag_beats_the_preset_which_beats_the_rest(void **state) {
    (void)state;
    static const tt_preset preset = {.name = "p", .checkpoint = {.source = "civitai:1"}};
    const tt_engine_options base = {.model_path = "base.safetensors",
                                    .vae_path = "vae.safetensors"};
    tt_settings s;
    tt_app_wish wish;
    assert_int_equal(tt_settings_init(&s, NULL), TT_OK);
    tt_app_wish_read(&s, &base, &wish);
    assert_string_equal(wish.model, "base.safetensors");
    tt_settings_set_text(&s, TT_OPT_MODEL, TT_FROM_ENVIRONMENT, "TINTYPE_MODEL", "x", NULL);
    tt_settings_use_preset(&s, &preset);
    tt_app_wish_read(&s, &base, &wish);
    assert_string_equal(wish.model, "civitai:1");
    assert_string_equal(wish.vae, "vae.safetensors");
    assert_null(wish.refiner);
    tt_settings_set_text(&s, TT_OPT_MODEL, TT_FROM_FLAG, "--model", "x", NULL);
    tt_app_wish_read(&s, &base, &wish);
    assert_string_equal(wish.model, "base.safetensors");
    tt_settings_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_open_is_not_opened_again),
        cmocka_unit_test(a_folder_of_a_cache_is_named_by_its_repository),
        cmocka_unit_test(another_is_found_before_and_opened_after_the_first_is_closed),
        cmocka_unit_test(what_cannot_be_found_costs_nothing),
        cmocka_unit_test(where_only_one_has_room_the_old_one_goes_first),
        cmocka_unit_test(what_does_not_open_is_called_by_its_name),
        cmocka_unit_test(what_was_spoilt_on_disk_is_found_again),
        cmocka_unit_test(what_is_no_good_by_itself_is_doubted_once),
        cmocka_unit_test(files_of_this_machine_are_the_engines_to_judge),
        cmocka_unit_test(nobody_named_a_model),
        cmocka_unit_test(a_flag_beats_the_preset_which_beats_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
