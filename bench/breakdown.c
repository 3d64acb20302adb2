/* Where the time of a picture goes, as one line of JSON: opening, planning, text, the steps, the VAE,
 * and for steps and VAE the milliseconds per kind of operation.
 *
 *     bench_breakdown --model FILE [--width 512 --height 512 --steps 3 --dtype f32|bf16|int8 --threads N --device cpu|cuda]
 *
 * The first step is a warm-up: s_per_step is the median of the others (of the only one when there is only one) and
 * the operations are a mean over the same steps: calls, time, GFLOP of products by their shapes, GB that must move at
 * least. "other" is what the operations do not explain: the sampler, guidance, copies, dispatch. "peak" is what the
 * arithmetic does at best, in GFLOP/s, measured when the picture is done.
 *
 * --warm makes the picture once before, as in a worker that has served already. --untimed leaves the operations alone: on a GPU the
 * marks that measure them take a few percent of the time.
 *
 * --launched-ns T, the monotonic clock when the caller started this process, adds ready_ms, until
 * the model is open, and the start-up: until main, and until the first denoise step. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "tintype/engine.h"

enum { MAX_STEPS = 1000 };

typedef struct options {
    const char *model, *prompt;
    int width, height, steps, threads;
    tt_precision precision;
    tt_device device;
    bool warm, untimed;
    int64_t launched_ns; /* 0: not said */
} options;

typedef struct measurement {
    tt_engine *engine;
    bool untimed;
    int64_t main_ns, opened_ns, first_step_ns;
    double step_ends_ms[MAX_STEPS + 1]; /* [0]: denoising starts */
    tt_operation denoise[TT_OPERATION_KINDS], vae[TT_OPERATION_KINDS];
    tt_peak peak;
} measurement;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double ms_between(int64_t from_ns, int64_t to_ns) {
    return (double)(to_ns - from_ns) / 1e6;
}

/* ---- options */

static _Noreturn void usage(const char *problem, const char *value) {
    fprintf(
        stderr,
        "bench_breakdown: %s%s%s\nusage: bench_breakdown --model FILE [--prompt TEXT] [--width N] "
        "[--height N] [--steps N] [--dtype f32|bf16|int8|auto] [--threads N] [--device cpu|cuda] "
        "[--warm] [--untimed] [--launched-ns T]\n",
        problem, value ? ": " : "", value ? value : "");
    exit(2);
}

static int64_t parse_count(const char *text, int64_t largest) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < 0 || value > largest)
        usage("not a number in range", text);
    return value;
}

static tt_precision parse_precision(const char *text) {
    if (strcmp(text, "f32") == 0) return TT_PRECISION_F32;
    if (strcmp(text, "bf16") == 0) return TT_PRECISION_BF16;
    if (strcmp(text, "int8") == 0) return TT_PRECISION_INT8;
    if (strcmp(text, "auto") != 0) usage("not f32, bf16, int8 or auto", text);
    return TT_PRECISION_AUTO;
}

static tt_device parse_device(const char *text) {
    if (strcmp(text, "cuda") == 0) return TT_DEVICE_CUDA;
    if (strcmp(text, "cpu") != 0) usage("not cpu or cuda", text);
    return TT_DEVICE_CPU;
}

static options parse_options(int argc, char **argv) {
    static const struct option names[] = {{"model", required_argument, NULL, 'm'},
                                          {"prompt", required_argument, NULL, 'p'},
                                          {"width", required_argument, NULL, 'w'},
                                          {"height", required_argument, NULL, 'h'},
                                          {"steps", required_argument, NULL, 's'},
                                          {"dtype", required_argument, NULL, 'd'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"device", required_argument, NULL, 'D'},
                                          {"warm", no_argument, NULL, 'W'},
                                          {"untimed", no_argument, NULL, 'u'},
                                          {"launched-ns", required_argument, NULL, 'l'},
                                          {NULL, 0, NULL, 0}};
    options o = {
        .prompt = "a lighthouse on the sea at sunset", .width = 512, .height = 512, .steps = 3};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 'm':
            o.model = optarg;
            break;
        case 'p':
            o.prompt = optarg;
            break;
        case 'w':
            o.width = (int)parse_count(optarg, INT_MAX);
            break;
        case 'h':
            o.height = (int)parse_count(optarg, INT_MAX);
            break;
        case 's':
            o.steps = (int)parse_count(optarg, MAX_STEPS);
            break;
        case 't':
            o.threads = (int)parse_count(optarg, INT_MAX);
            break;
        case 'l':
            o.launched_ns = parse_count(optarg, INT64_MAX);
            break;
        case 'W':
            o.warm = true;
            break;
        case 'u':
            o.untimed = true;
            break;
        case 'D':
            o.device = parse_device(optarg);
            break;
        case 'd':
            o.precision = parse_precision(optarg);
            break;
        default:
            usage("unknown or incomplete flag", NULL);
        }
    }
    if (!o.model || optind != argc || o.steps < 1) usage("--model and at least one step", NULL);
    return o;
}

/* ---- measuring */

/* Counts start anew when denoising starts, after the warm-up step, and when the VAE's turn comes. */
static bool on_progress(void *context, const tt_progress *p) {
    measurement *m = context;
    if (p->step == 0) m->first_step_ns = now_ns();
    m->step_ends_ms[p->step] = p->elapsed_ms;
    if (p->step == p->n_steps) tt_engine_get_operations(m->engine, m->denoise);
    if (!m->untimed && (p->step <= 1 || p->step == p->n_steps))
        tt_engine_reset_operations(m->engine);
    return true;
}

static tt_status measure(const options *o, measurement *m, tt_result *result, tt_err *err) {
    tt_engine_options how;
    tt_engine_options_defaults(&how);
    how.model_path = o->model;
    how.precision = o->precision;
    how.n_threads = o->threads;
    how.device = o->device;
    TT_TRY(tt_engine_open(&how, &m->engine, err));
    m->opened_ns = now_ns();
    tt_request request;
    tt_request_defaults(m->engine, &request);
    request.prompt = o->prompt;
    request.width = o->width;
    request.height = o->height;
    request.steps = o->steps;
    request.sampler = "euler"; /* one pass of the UNet per step */
    request.seed = 1;
    if (o->warm) {
        TT_TRY(tt_engine_generate(m->engine, &request, result, err));
        tt_result_release(result);
    }
    m->untimed = o->untimed;
    request.progress = on_progress;
    request.progress_context = m;
    TT_TRY(tt_engine_generate(m->engine, &request, result, err));
    tt_engine_get_operations(m->engine, m->vae);
    tt_engine_measure_peak(m->engine, &m->peak);
    return TT_OK;
}

/* ---- reporting */

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the steps after the warm-up, in ms. */
static double median_step(const measurement *m, int steps) {
    double durations[MAX_STEPS] = {0};
    int n = 0;
    for (int i = steps > 1 ? 2 : 1; i <= steps; i++)
        durations[n++] = m->step_ends_ms[i] - m->step_ends_ms[i - 1];
    qsort(durations, (size_t)n, sizeof *durations, compare_doubles);
    return (durations[(n - 1) / 2] + durations[n / 2]) / 2;
}

/* "name": {"linear": {"calls": 1, "ms": 2.5, "gflop": 10, "gbyte": 0.1}, ..., "other_ms": 0.5}, all per pass. */
static void print_operations(const char *name, const tt_operation *operations, int passes,
                             double total_ms) {
    double known_ms = 0;
    printf(", \"%s\": {", name);
    for (int i = 0; i < TT_OPERATION_KINDS; i++) {
        const tt_operation *o = &operations[i];
        known_ms += o->ms / passes;
        if (o->calls)
            printf("\"%s\": {\"calls\": %lld, \"ms\": %.3f, \"gflop\": %.6g, \"gbyte\": %.6g}, ",
                   o->name, (long long)(o->calls / passes), o->ms / passes, o->gflop / passes,
                   o->gbyte / passes);
    }
    printf("\"other_ms\": %.3f}", total_ms - known_ms);
}

static void print_peak(const tt_peak *p) {
    printf(", \"peak\": {\"f32\": %.6g, \"bf16\": %.6g, \"int8\": %.6g, \"f32_by\": \"%s\", "
           "\"bf16_by\": \"%s\", \"int8_by\": \"%s\"}",
           p->f32, p->bf16, p->int8, p->f32_by, p->bf16_by, p->int8_by);
}

static void print_startup(const options *o, const measurement *m) {
    if (!o->launched_ns) return;
    printf(", \"ready_ms\": %.3f, \"startup\": {\"to_main_ms\": %.3f, \"to_first_step_ms\": %.3f}",
           ms_between(o->launched_ns, m->opened_ns), ms_between(o->launched_ns, m->main_ns),
           ms_between(o->launched_ns, m->first_step_ns));
}

static void print_json(const options *o, const measurement *m, const tt_result *result) {
    const tt_engine_info *info = tt_engine_get_info(m->engine);
    const tt_timings *t = &result->timings;
    int passes = o->steps > 1 ? o->steps - 1 : 1;
    double first = o->steps > 1 ? m->step_ends_ms[1] : m->step_ends_ms[0];
    double mean_step_ms = (m->step_ends_ms[o->steps] - first) / passes;
    printf("{\"program\": \"tintype\", \"dtype\": \"%s\", \"vae_dtype\": \"%s\", \"threads\": %d, "
           "\"width\": %d, \"height\": %d, \"steps\": %d, \"parameters\": %lld, ",
           info->precision, info->vae_precision, info->n_threads, o->width, o->height, o->steps,
           (long long)info->n_parameters);
    printf("\"load_ms\": %.3f, \"plan_ms\": %.3f, \"text_ms\": %.3f, \"s_per_step\": %.6f, "
           "\"vae_s\": %.6f, \"weight_bytes\": %zu, \"planned_bytes\": %zu, \"peak_bytes\": %zu",
           info->load_ms, t->plan_ms, t->text_ms, median_step(m, o->steps) / 1000, t->vae_ms / 1000,
           info->weight_bytes, result->planned_bytes, result->peak_bytes);
    print_startup(o, m);
    print_peak(&m->peak);
    if (!o->untimed) print_operations("step", m->denoise, passes, mean_step_ms);
    if (!o->untimed) print_operations("vae", m->vae, 1, t->vae_ms);
    printf("}\n");
}

int main(int argc, char **argv) {
    static measurement m; /* its step times are too many for the stack's taste */
    m.main_ns = now_ns();
    options o = parse_options(argc, argv);
    tt_result result = {0};
    tt_err err;
    tt_status status = measure(&o, &m, &result, &err);
    if (status == TT_OK)
        print_json(&o, &m, &result);
    else
        fprintf(stderr, "bench_breakdown: %s\n", err.message);
    tt_result_release(&result);
    tt_engine_close(m.engine);
    return status == TT_OK ? 0 : 1;
}
