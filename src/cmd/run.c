/* `tintype run`; see run.h. The order is that of cheapness: everything that can be wrong with the words is told before
 * the model is opened, and everything that can be wrong with --out before a step is made. */
#include "cmd/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/handler.h"
#include "app/models_store.h"
#include "app/resident.h"
#include "app/show.h"
#include "app/values.h"
#include "app/warnings.h"
#include "base/file.h"
#include "base/limits.h"
#include "cmd/args.h"
#include "cmd/bars.h"
#include "cmd/cancel.h"
#include "cmd/config.h"
#include "cmd/job_source.h"
#include "cmd/model_path.h"
#include "cmd/outfile.h"
#include "cmd/preview.h"
#include "cmd/progress.h"
#include "cmd/store_options.h"

/* One run, from its arguments to its files. */
typedef struct run {
    tt_settings settings;
    tt_problems problems;
    tt__help_wish help;
    bool is_json, has_no_preview;
    const char *out_path; /* borrowed from the settings; NULL: nobody named one */
    tt_engine_options engine_options;
    tt_app_folders folders;
    tt_presets *presets; /* owned share; NULL: none */
    tt_log log;
    tt__store_options store_options;
    tt_store *store; /* owned; NULL until a model needs it */
    tt_app_stock stock;
    tt_app_models models; /* of stock */
    tt__bar bar;
    bool has_bar; /* of the model that is being fetched */
    char model_path[PATH_MAX];
    tt_app_resident resident; /* owned */
    tt_app_request request;
    tt__outfile outfile;
    tt__progress_view progress;
    tt_app_made made; /* owned */
    int exit_code;    /* of the stage that failed */
} run;

static tt_status read_words(run *r, int argc, char **argv, tt_err *err) {
    TT_TRY(tt_settings_init(&r->settings, err));
    TT_TRY(tt__args_read_environment(&r->settings, err));
    return tt__args_read(&r->settings, TT_FOR_RUN, argc, argv, &r->help, &r->problems, err);
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

/* Who names a URL at the command line takes its bytes as they are, as `tintype pull` does. */
static tt_status open_store(void *context, tt_store **out, tt_err *err) {
    run *r = context;
    r->store_options.store.trust_first_use = true;
    if (!r->store) TT_TRY(tt_store_open(&r->store_options.store, &r->store, err));
    *out = r->store;
    return TT_OK;
}

/* What is here is found before anybody could read a line about it. */
static bool on_fetching(void *context, const tt_store_progress *progress) {
    run *r = context;
    if (progress->phase == TT_PHASE_LOOKUP) return !tt__cancel_is_wanted();
    if (!r->has_bar) tt__bar_init(&r->bar, "model");
    r->has_bar = true;
    tt__bar_show(&r->bar, progress);
    return !tt__cancel_is_wanted();
}

static void on_asked(void *context, const char *reference, const tt_store_model *model,
                     const tt_fetch_error *error) {
    run *r = context;
    (void)reference, (void)error;
    if (r->has_bar) tt__bar_end(&r->bar);
    r->has_bar = false;
    if (!model || model->was_here) return;
    char name[TT__NAME_BYTES], size[TT__SIZE_BYTES], duration[TT_DURATION_BYTES];
    double ms = 0;
    for (int i = 0; i < TT_PHASES; i++) ms += model->ms[i];
    tt__shown(name, model->entry.name, 0);
    tt__size_text(size, model->entry.size);
    enum { SHORT_MS = 10000 };
    if (ms < SHORT_MS)
        snprintf(duration, sizeof duration, "%.1f s", ms / 1000);
    else
        tt__progress_duration(duration, ms / 1000);
    if (model->fetched_bytes)
        fprintf(stderr, "%s: %s, %s, fetched and checked in %s\n", name,
                tt_model_kind_name(model->entry.kind), size, duration);
    else
        fprintf(stderr, "%s: %s, %s, the same file as one that is here\n", name,
                tt_model_kind_name(model->entry.kind), size);
}

static void stock_up(run *r) {
    r->stock = (tt_app_stock){.folders = &r->folders,
                              .presets = r->presets,
                              .preset = r->settings.preset,
                              .store = open_store,
                              .store_context = r,
                              .services = &r->store_options.store.services,
                              .fetching = on_fetching,
                              .fetching_context = r,
                              .asked = on_asked,
                              .asked_context = r};
    r->models = tt_app_models_of_stock(&r->stock);
    r->resident.models = &r->models;
    r->resident.base = r->engine_options;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

/* The request, with its pictures and LoRAs. `info` is NULL before the model is open. */
static tt_status read_request(run *r, const tt_request *model, const tt_engine_info *info,
                              tt_err *err) {
    const tt_app_loading how = {.models = &r->models, .info = info};
    tt_app_request_release(&r->request);
    tt_status status = tt_app_request_read(&r->settings, model, &r->request, &r->problems, err);
    if (status != TT_OK) r->request = (tt_app_request){.format = NULL};
    r->request.resident = &r->resident;
    return status == TT_OK ? tt_app_request_load(&r->settings, &how, &r->request, &r->problems, err)
                           : status;
}

/* Checks everything that needs no model. A job that cannot be read does not hide what is wrong with the flags. */
static tt_status check_words(run *r, tt_err *err) {
    tt_request generic;
    tt_err told_as_problem;
    tt_value_switch(&r->settings, TT_OPT_JSON, &r->is_json, &r->problems);
    tt_value_switch(&r->settings, TT_OPT_NO_PREVIEW, &r->has_no_preview, &r->problems);
    bool has_job = tt__job_source_read(&r->settings, &r->problems, err) == TT_OK;
    if (!has_job) tt_problems_add(&r->problems, "%s", err->message);
    tt__outfile_settle_format(&r->settings, &r->out_path, &r->problems);
    tt_app_engine_read(&r->settings, &r->engine_options, &r->problems, &told_as_problem);
    tt_app_folders_read(&r->settings, &r->folders, &r->problems);
    if (tt__store_options_read(&r->store_options, &r->log, err) != TT_OK)
        tt_problems_add(&r->problems, "%s", err->message);
    TT_TRY(tt__config_use(&r->settings, &r->presets, &r->problems, err));
    stock_up(r);
    tt__cancel_watch(); /* from here on something may be fetched */
    tt_request_defaults(NULL, &generic);
    return has_job ? read_request(r, &generic, NULL, err) : tt_problems_status(&r->problems, err);
}

static bool writes_files(const run *r) {
    return !r->is_json || r->out_path;
}

static tt_status open_model(run *r, tt_err *err) {
    tt_app_wish wish;
    tt_app_wish_read(&r->settings, &r->engine_options, &wish);
    if (!wish.model) {
        TT_TRY(tt__model_path_find(r->model_path, sizeof r->model_path, err));
        wish.model = r->model_path;
    }
    TT_TRY(tt_app_resident_open(&r->resident, &wish, on_fetching, r, err));
    const tt_engine_info *info = tt_engine_get_info(r->resident.engine);
    char name[TT_SHOWN_BYTES];
    tt_show_text(name, info->model_name, strlen(info->model_name));
    fprintf(stderr, "%s: %.0f million parameters, %s, %d thread%s, opened in %.2f s\n", name,
            (double)info->n_parameters / 1e6, info->precision, info->n_threads,
            info->n_threads == 1 ? "" : "s", info->load_ms / 1000);
    return TT_OK;
}

static bool on_progress(void *context, const tt_progress *progress) {
    run *r = context;
    tt__progress_view_show(&r->progress, progress);
    return !tt__cancel_is_wanted();
}

static tt_status make(run *r, tt_err *err) {
    tt_request model;
    tt_request_defaults(r->resident.engine, &model);
    TT_TRY(read_request(r, &model, tt_engine_get_info(r->resident.engine), err));
    r->request.engine.progress = on_progress;
    r->request.engine.progress_context = r;
    tt__progress_view_init(&r->progress);
    tt_status status = tt_app_make(r->resident.engine, &r->request, &r->made, err);
    tt__progress_view_end(&r->progress);
    for (const tt_app_held *held = r->request.held; status != TT_OK && held; held = held->next)
        tt_app_found_name(&held->found, err);
    if (status == TT_OK && tt__cancel_is_wanted()) status = TT_E_CANCELLED;
    if (status == TT_E_CANCELLED) return tt_fail(err, status, "cancelled; no picture was written");
    if (status == TT_E_INVALID)
        r->exit_code = TT_EXIT_USAGE; /* the request, in the engine's own words */
    return status;
}

static tt_status write_files(run *r, tt_err *err) {
    const tt_result *result = &r->made.result;
    char path[PATH_MAX];
    for (int i = 0; writes_files(r) && i < result->n_pictures; i++) {
        TT_TRY(
            tt__outfile_path(&r->outfile, result->n_pictures, result->pictures[i].seed, path, err));
        TT_TRY(tt_file_write(path, r->made.files[i].data, r->made.files[i].size, err));
    }
    return TT_OK;
}

static tt_status write_json_result(run *r, tt_buf *out, tt_err *err) {
    const tt_app_sink sink = tt_app_sink_of_buf(out);
    TT_TRY(tt_buf_puts(out, "{\"output\": ", err));
    TT_TRY(tt_app_write_output(r->resident.engine, &r->request, &r->made, &sink, err));
    return tt_buf_puts(out, "}\n", err);
}

static int print_json_result(run *r, tt_err *err) {
    tt_buf text;
    tt_buf_init(&text, TT_MAX_JOB_OUTPUT_BYTES);
    int code = TT_EXIT_FAILED;
    if (write_json_result(r, &text, err) == TT_OK)
        code = tt__print(text.data, text.size);
    else
        fprintf(stderr, "tintype: %s\n", err->message);
    tt_buf_release(&text);
    return code;
}

static tt_status print_warning(void *context, const char *sentence, tt_err *err) {
    (void)context, (void)err;
    fprintf(stderr, "%s\n", sentence);
    return TT_OK;
}

/* "boat-5.png  seed 5" for each picture, the picture itself above it where the terminal can show it. */
static int print_pictures(run *r, tt_err *err) {
    const tt_result *result = &r->made.result;
    char path[PATH_MAX], line[PATH_MAX + 64];
    tt_app_facts facts = {tt_engine_get_info(r->resident.engine), &r->request, result,
                          r->made.encode_ms};
    tt_app_warnings(&facts, print_warning, NULL, err);
    int code = TT_EXIT_OK;
    for (int i = 0; code == TT_EXIT_OK && i < result->n_pictures; i++) {
        uint64_t seed = result->pictures[i].seed;
        if (tt__outfile_path(&r->outfile, result->n_pictures, seed, path, err) != TT_OK)
            return TT_EXIT_FAILED;
        if (!r->has_no_preview && tt__preview_is_possible())
            tt__preview_show(&result->pictures[i],
                             err); /* a picture nobody can see is no failure */
        int n = snprintf(line, sizeof line, "%s  seed %" PRIu64 "\n", path, seed);
        code = tt__print(line, (unsigned long)n);
    }
    return code;
}

/* One sentence, or a list when the request has several faults; as JSON on standard output for --json. */
static void tell_failure(const run *r, const tt_err *err) {
    enum { MAX_TEXT_BYTES = 64 * 1024 };
    tt_err ignored;
    tt_buf faults, answer;
    tt_buf_init(&faults, MAX_TEXT_BYTES);
    tt_buf_init(&answer, MAX_TEXT_BYTES);
    bool is_list = r->problems.count > 1 && !r->is_json;
    bool has_faults =
        r->problems.count > 0 &&
        tt_problems_write(&r->problems, r->is_json ? "; " : "\n  ", &faults, &ignored) == TT_OK;
    const char *text = has_faults ? faults.data : err->message;
    if (r->is_json && tt_app_write_error(text, &answer, &ignored) == TT_OK)
        printf("%s\n", answer.data);
    else if (is_list && has_faults)
        fprintf(stderr, "tintype: %d things are wrong:\n  %s\n", r->problems.count, text);
    else
        fprintf(stderr, "tintype: %s\n", text);
    fflush(stdout);
    tt_buf_release(&faults);
    tt_buf_release(&answer);
}

/* Everything but the answer. r->exit_code is that of the stage that runs. */
static tt_status work(run *r, int argc, char **argv, tt_err *err) {
    r->exit_code = TT_EXIT_USAGE;
    TT_TRY(read_words(r, argc, argv, err));
    if (r->help) return TT_OK;
    TT_TRY(check_words(r, err));
    if (writes_files(r)) TT_TRY(tt__outfile_plan(r->out_path, r->request.format, &r->outfile, err));
    r->exit_code = TT_EXIT_FAILED;
    TT_TRY(open_model(r, err));
    TT_TRY(make(r, err));
    return write_files(r, err);
}

int tt__run(int argc, char **argv) {
    run r = {.log = {.level = TT_LOG_WARN, .fd = STDERR_FILENO}};
    tt_err err = {.code = TT_OK};
    tt_problems_init(&r.problems);
    tt_status status = work(&r, argc, argv, &err);
    int code = r.exit_code;
    if (r.help)
        code = tt__run_help(r.help == TT__HELP_ALL);
    else if (status != TT_OK)
        tell_failure(&r, &err);
    else
        code = r.is_json ? print_json_result(&r, &err) : print_pictures(&r, &err);
    if (status == TT_E_CANCELLED) code = tt__cancel_exit_code();
    tt_app_made_release(&r.made);
    tt_app_request_release(&r.request);
    tt_app_resident_close(&r.resident);
    tt_store_close(r.store);
    tt__store_options_release(&r.store_options);
    tt_settings_release(&r.settings);
    tt_presets_release(r.presets);
    return code;
}
