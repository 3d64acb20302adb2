/* See bench.h. One picture with Euler, a pass of the UNet per step, guidance on: the first step warms up (unless it is the only
 * one), and the operations are counted anew when it ends and when the VAE's turn comes. One step of a smaller picture goes before it:
 * from the work of both follows how attention grows, which estimates for other sizes need. Nothing is written. */
#include "cmd/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/request.h"
#include "app/values.h"
#include "base/file.h"
#include "base/limits.h"
#include "cmd/cancel.h"
#include "cmd/model_path.h"
#include "cmd/progress.h"
#include "cmd/store_words.h"

enum { DEFAULT_STEPS = 3 };

static const char PROMPT[] = "a lighthouse on the sea at sunset";

int tt__bench_help(bool is_all) {
    (void)is_all;
    return tt__store_help(
        "tintype bench: what this machine makes of a model: seconds per step, where they go, and "
        "how far\nthat is from what its arithmetic could do.\n"
        "\n"
        "  tintype bench                          the model that comes along: half a minute at the "
        "most\n"
        "  tintype bench --model sd_xl_base_1.0.safetensors --width 512 --height 512\n"
        "  tintype bench --dtype f32 --json       for programs\n"
        "\n"
        "  --model FILE|REF       a file, a diffusers folder, or a model of \"tintype models\"\n"
        "  --width N, --height N  the model's own size\n"
        "  --steps N              3; the first warms up and does not count\n"
        "  --dtype, --vae-dtype, --device, --threads    as \"tintype help run all\" has them, with "
        "their\n"
        "                         environment variables and TINTYPE_MODEL\n"
        "  --json                 one object instead of tables\n"
        "\n"
        "Speed does not depend on what the weights are: where SDXL itself is not at hand,\n"
        "tools/bench/write_random_sdxl.py of the sources writes a random model of its size.\n"
        "Measure on a quiet machine: other work on the cores shows many times larger than it "
        "is.\n");
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

enum { N_OPTIONS = 8 };

/* Sizes and steps are not taken from the environment: there they are what jobs leave out. */
static const struct {
    const char *flag;
    tt_option_id id;
    bool has_environment;
} OPTIONS[N_OPTIONS] = {
    {"--model", TT_OPT_MODEL, true},    {"--width", TT_OPT_WIDTH, false},
    {"--height", TT_OPT_HEIGHT, false}, {"--steps", TT_OPT_STEPS, false},
    {"--dtype", TT_OPT_DTYPE, true},    {"--vae-dtype", TT_OPT_VAE_DTYPE, true},
    {"--device", TT_OPT_DEVICE, true},  {"--threads", TT_OPT_THREADS, true},
};

typedef struct job {
    tt_settings settings;
    tt_problems problems;
    tt_engine_options engine_options;
    int width, height, steps; /* 0: nobody said */
    bool is_json, wants_help;
    char model_path[TT_MODEL_PATH_BYTES];
    tt_engine *engine; /* owned */
    tt__progress_view view;
    double step_ends_ms[TT_MAX_STEPS + 1]; /* [0]: denoising starts */
    tt__measured measured;
    int exit_code; /* of the stage that runs */
} job;

static tt_status set_option(job *j, int i, const char *flag_value, tt_err *err) {
    const tt_option *row = tt_option_get(OPTIONS[i].id);
    const char *said =
        OPTIONS[i].has_environment && row->environment ? getenv(row->environment) : NULL;
    if (said && *said)
        TT_TRY(tt_settings_set_text(&j->settings, row->id, TT_FROM_ENVIRONMENT, row->environment,
                                    said, err));
    if (!flag_value) return TT_OK;
    return tt_settings_set_text(&j->settings, row->id, TT_FROM_FLAG, OPTIONS[i].flag, flag_value,
                                err);
}

/* What is wrong with argv itself is told at once: *is_told. */
static tt_status read_words(job *j, int argc, char **argv, bool *is_told, tt_err *err) {
    const char *values[N_OPTIONS] = {NULL};
    tt__store_flag flags[N_OPTIONS + 1] = {{.name = NULL}};
    tt__store_words words;
    for (int i = 0; i < N_OPTIONS; i++)
        flags[i] = (tt__store_flag){.name = OPTIONS[i].flag, .value = &values[i]};
    *is_told = true;
    if (!tt__store_words_read("bench", flags, argc, argv, &words)) return TT_E_INVALID;
    j->is_json = words.is_json;
    j->wants_help = words.wants_help;
    if (j->wants_help) return TT_OK;
    if (!tt__store_words_count("bench", &words, 0, 0, "no names")) return TT_E_INVALID;
    *is_told = false;
    TT_TRY(tt_settings_init(&j->settings, err));
    for (int i = 0; i < N_OPTIONS; i++) TT_TRY(set_option(j, i, values[i], err));
    tt_value_integer(&j->settings, TT_OPT_WIDTH, &j->width, &j->problems);
    tt_value_integer(&j->settings, TT_OPT_HEIGHT, &j->height, &j->problems);
    tt_value_integer(&j->settings, TT_OPT_STEPS, &j->steps, &j->problems);
    return tt_app_engine_read(&j->settings, &j->engine_options, &j->problems, err);
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

static tt_status find_in_store(const char *name, char out[TT_MODEL_PATH_BYTES], bool *is_told,
                               tt_err *err) {
    tt_reference reference;
    tt_library_entry entry;
    tt__opened opened;
    int code;
    TT_TRY(tt_reference_parse(name, &reference, err));
    *is_told = true;
    tt_status status = TT_E_INVALID;
    if (tt__opened_open(&opened, false, &code)) {
        *is_told = false;
        status = tt_library_find(opened.library, &reference, &entry, err);
    }
    tt__opened_close(&opened);
    if (status == TT_OK) snprintf(out, TT_MODEL_PATH_BYTES, "%s", entry.path);
    return status;
}

static tt_status find_model(job *j, bool *is_told, tt_err *err) {
    const char *name = j->engine_options.model_path;
    bool is_path = name && (tt_file_exists(name) || tt_file_is_directory(name));
    if (is_path) return TT_OK;
    j->engine_options.model_path = j->model_path;
    if (!name) return tt__model_path_find(j->model_path, sizeof j->model_path, err);
    return find_in_store(name, j->model_path, is_told, err);
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static bool on_progress(void *context, const tt_progress *p) {
    job *j = context;
    tt__measured *b = &j->measured;
    tt__progress_view_show(&j->view, p);
    if (p->step > TT_MAX_STEPS) return false; /* no request has so many */
    j->step_ends_ms[p->step] = p->elapsed_ms;
    b->n_steps = p->n_steps;
    if (p->step == p->n_steps) tt_engine_get_operations(j->engine, b->step.operations);
    if (p->step <= 1 || p->step == p->n_steps) tt_engine_reset_operations(j->engine);
    return !tt__cancel_is_wanted();
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The steps that count: median and mean. */
static void sum_up_steps(job *j) {
    tt__measured *b = &j->measured;
    double durations[TT_MAX_STEPS] = {0};
    int first = b->n_steps > 1, n = 0;
    if (b->n_steps < 1) return; /* the sampler had nothing to do: all stays 0 */
    for (int i = first; i < b->n_steps; i++)
        durations[n++] = j->step_ends_ms[i + 1] - j->step_ends_ms[i];
    qsort(durations, (size_t)n, sizeof *durations, compare);
    b->step_ms = (durations[(n - 1) / 2] + durations[n / 2]) / 2;
    b->step.total_ms = (j->step_ends_ms[b->n_steps] - j->step_ends_ms[first]) / n;
    for (int i = 0; i < TT_OPERATION_KINDS; i++) {
        tt_operation *o = &b->step.operations[i];
        o->calls /= n;
        o->ms /= n;
        o->gflop /= n;
        o->gbyte /= n;
    }
}

static void keep_result(job *j, const tt_result *result) {
    tt__measured *b = &j->measured;
    sum_up_steps(j);
    tt_engine_get_operations(j->engine, b->vae.operations);
    b->timings = result->timings;
    b->step.precision = b->info->precision;
    b->vae.precision = result->vae_precision;
    b->vae.total_ms = result->timings.vae_ms;
    b->planned_bytes = result->planned_bytes;
    b->peak_bytes = result->peak_bytes;
}

static tt_request request_of(const job *j) {
    tt_request r;
    tt_request_defaults(j->engine, &r);
    r.prompt = PROMPT;
    if (j->width) r.width = j->width;
    if (j->height) r.height = j->height;
    r.steps = j->steps ? j->steps : DEFAULT_STEPS;
    r.sampler = "euler";
    r.schedule = NULL;
    return r;
}

/* ---- a smaller picture: how attention grows ---- */

typedef struct small_step {
    tt_engine *engine;
    double gflop; /* of its attention; 0: not seen yet */
} small_step;

static double attention_gflop(const tt_operation operations[TT_OPERATION_KINDS]) {
    double sum = 0;
    for (int i = 0; i < TT_OPERATION_KINDS; i++)
        if (strcmp(operations[i].name, "attention") == 0) sum += operations[i].gflop;
    return sum;
}

/* Ends the picture after its first step. */
static bool on_small_progress(void *context, const tt_progress *p) {
    small_step *small = context;
    tt_operation operations[TT_OPERATION_KINDS];
    tt_engine_get_operations(small->engine, operations);
    tt_engine_reset_operations(small->engine);
    if (p->step > 0) small->gflop = attention_gflop(operations);
    return p->step == 0 && !tt__cancel_is_wanted();
}

/* Work is part * n + square * n^2 for n times the pixels; known for 1 and for fewer. */
static void find_square_share(tt__measured *b, double fewer, double fewer_gflop) {
    double all = attention_gflop(b->step.operations);
    double square = (fewer_gflop - fewer * all) / (fewer * fewer - fewer);
    double share = all > 0 ? square / all : 0;
    b->square_share = share < 0 ? 0 : share > 1 ? 1 : share;
}

/* Half of each side, or as near as pictures may be; only its work counts. */
static tt_status make_small_picture(job *j, double *pixels, double *gflop, tt_err *err) {
    enum { UNIT = 64, STEPS = 2 };
    tt_request r = request_of(j);
    double whole = (double)r.width * r.height;
    small_step small = {.engine = j->engine};
    r.width = r.width >= 2 * UNIT ? r.width / 2 / UNIT * UNIT : r.width;
    r.height = r.height >= 2 * UNIT ? r.height / 2 / UNIT * UNIT : r.height;
    r.steps = STEPS;
    r.progress = on_small_progress;
    r.progress_context = &small;
    *pixels = (double)r.width * r.height / whole;
    if (!(*pixels < 1)) return TT_OK;
    tt_result result;
    tt_status status = tt_engine_generate(j->engine, &r, &result, err);
    if (status == TT_OK) tt_result_release(&result);
    *gflop = small.gflop;
    return status == TT_E_CANCELLED && !tt__cancel_is_wanted() ? TT_OK : status;
}

/* ---- the picture ---- */

static tt_status make_picture(job *j, tt_err *err) {
    tt_request r = request_of(j);
    tt_result result;
    r.progress = on_progress;
    r.progress_context = j;
    j->measured.width = r.width;
    j->measured.height = r.height;
    tt__progress_view_init(&j->view);
    tt_status status = tt_engine_generate(j->engine, &r, &result, err);
    tt__progress_view_end(&j->view);
    if (status == TT_OK) keep_result(j, &result);
    if (status == TT_OK) tt_result_release(&result);
    return status;
}

static tt_status make_pictures(job *j, tt_err *err) {
    double pixels = 1, gflop = 0;
    tt_status status = make_small_picture(j, &pixels, &gflop, err);
    if (status == TT_OK) status = make_picture(j, err);
    if (status == TT_E_INVALID) j->exit_code = TT_EXIT_USAGE; /* sizes, in the engine's words */
    TT_TRY(status);
    j->measured.square_share = 1; /* when nothing smaller could be asked for: rather too long */
    if (pixels < 1) find_square_share(&j->measured, pixels, gflop);
    return TT_OK;
}

static tt_status work(job *j, int argc, char **argv, bool *is_told, tt_err *err) {
    TT_TRY(read_words(j, argc, argv, is_told, err));
    if (j->wants_help) return TT_OK;
    j->exit_code = TT_EXIT_FAILED;
    TT_TRY(find_model(j, is_told, err));
    tt__cancel_watch();
    TT_TRY(tt_engine_open(&j->engine_options, &j->engine, err));
    j->measured.info = tt_engine_get_info(j->engine);
    tt_engine_measure_peak(j->engine, &j->measured.peak);
    return make_pictures(j, err);
}

static void tell(const job *j, const tt_err *err) {
    if (j->problems.count == 0) tt__store_tell(err->message);
    for (int i = 0; i < j->problems.count && i < TT_MAX_PROBLEMS; i++)
        tt__store_tell(j->problems.list[i].message);
}

int tt__bench(int argc, char **argv) {
    job j = {.exit_code = TT_EXIT_USAGE};
    tt_err err = {.code = TT_OK};
    bool is_told = false;
    tt_problems_init(&j.problems);
    tt_status status = work(&j, argc, argv, &is_told, &err);
    int code = j.exit_code;
    if (status == TT_E_CANCELLED) code = tt__cancel_exit_code();
    if (status != TT_OK && !is_told) tell(&j, &err);
    if (status == TT_OK && j.wants_help)
        code = tt__bench_help(false);
    else if (status == TT_OK)
        code = j.is_json ? tt__bench_print_json(&j.measured) : tt__bench_print(&j.measured);
    tt_engine_close(j.engine);
    tt_settings_release(&j.settings);
    return code;
}
