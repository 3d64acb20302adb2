/* How one pass of the UNet grows with the size of the picture and with the rows of the batch, as one line of JSON per case.
 *
 *     bench_scaling --model FILE [--dtype f32|bf16|int8|auto] [--threads N] [--sides 256,512] [--batches 1,2,4] [--passes 3]
 *
 * The engine itself never asks for more than two rows (guidance), so this looks through it into its parts: nothing else in
 * the repository outside src/ and tests/ may. The first pass of a case warms up; ms is the median of the others, gflop what its
 * products are by their shapes. Text is one chunk of 77 tokens; all values are zero, on which time does not depend. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "pipeline/parts.h"
#include "tensor/ops.h"

enum {
    MAX_CASES = 16,
    MAX_PASSES = 100,
    MAX_SIDE = 4096,
    MAX_BATCH = 64,
    MAX_THREADS = 256,
    TOKENS = 77
};

typedef struct numbers {
    int n, of[MAX_CASES];
} numbers;

typedef struct options {
    const char *model;
    int threads, passes;
    tt_precision precision;
    numbers sides, batches;
} options;

static tt_err err;

static void ok(tt_status status) {
    if (status == TT_OK) return;
    fprintf(stderr, "bench_scaling: %s\n", err.message);
    exit(1);
}

/* ---- options */

static _Noreturn void usage(const char *problem) {
    fprintf(stderr,
            "bench_scaling: %s\nusage: bench_scaling --model FILE [--dtype f32|bf16|int8|auto] "
            "[--threads N] "
            "[--sides N,N...] [--batches N,N...] [--passes N]\n",
            problem);
    exit(2);
}

static int parse_count(const char *text, char **end, int least, int most) {
    errno = 0;
    long value = strtol(text, end, 10);
    if (errno || *end == text || value < least || value > most) usage(text);
    return (int)value;
}

static int parse_whole(const char *text, int least, int most) {
    char *end;
    int value = parse_count(text, &end, least, most);
    if (*end) usage(text);
    return value;
}

static numbers parse_numbers(const char *text, int most) {
    numbers list = {.n = 0};
    for (const char *at = text;; at++) {
        char *end;
        if (list.n == MAX_CASES) usage("too many numbers");
        list.of[list.n++] = parse_count(at, &end, 1, most);
        at = end;
        if (!*at) return list;
        if (*at != ',') usage(text);
    }
}

static tt_precision parse_precision(const char *text) {
    if (strcmp(text, "f32") == 0) return TT_PRECISION_F32;
    if (strcmp(text, "bf16") == 0) return TT_PRECISION_BF16;
    if (strcmp(text, "int8") == 0) return TT_PRECISION_INT8;
    if (strcmp(text, "auto") != 0) usage("--dtype is f32, bf16, int8 or auto");
    return TT_PRECISION_AUTO;
}

static options parse_options(int argc, char **argv) {
    static const struct option names[] = {{"model", required_argument, NULL, 'm'},
                                          {"dtype", required_argument, NULL, 'd'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"sides", required_argument, NULL, 's'},
                                          {"batches", required_argument, NULL, 'b'},
                                          {"passes", required_argument, NULL, 'p'},
                                          {NULL, 0, NULL, 0}};
    options o = {.passes = 3,
                 .sides = parse_numbers("256,384,512,768,1024", MAX_SIDE),
                 .batches = parse_numbers("1,2,4", MAX_BATCH)};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (c == 'm')
            o.model = optarg;
        else if (c == 'd')
            o.precision = parse_precision(optarg);
        else if (c == 't')
            o.threads = parse_whole(optarg, 0, MAX_THREADS);
        else if (c == 's')
            o.sides = parse_numbers(optarg, MAX_SIDE);
        else if (c == 'b')
            o.batches = parse_numbers(optarg, MAX_BATCH);
        else if (c == 'p')
            o.passes = parse_whole(optarg, 1, MAX_PASSES);
        else
            usage("unknown or incomplete flag");
    }
    if (!o.model || optind != argc) usage("--model is missing");
    return o;
}

/* ---- one case */

typedef struct buffers {
    float *context, *pooled, *in, *out;
} buffers;

static float *zeros(int64_t count) {
    float *p = tt_alloc((size_t)count * sizeof *p);
    if (!p) ok(tt_fail_nomem(&err, "a pass", (size_t)count * sizeof *p));
    return p;
}

static buffers make_buffers(const tt_unet *u, int64_t rows, int64_t pixels) {
    return (buffers){.context = zeros(rows * TOKENS * tt_unet_context_width(u)),
                     .pooled = zeros(rows * tt_unet_pooled_width(u)),
                     .in = zeros(rows * pixels * tt_unet_in_channels(u)),
                     .out = zeros(rows * pixels * tt_unet_out_channels(u))};
}

static void free_buffers(buffers *b) {
    tt_free(b->context);
    tt_free(b->pooled);
    tt_free(b->in);
    tt_free(b->out);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median, in ms, of the passes after the first. */
static double run_passes(tt_engine *e, const buffers *b, int64_t side, int n) {
    double ms[MAX_PASSES];
    for (int i = 0; i <= n; i++) {
        tt_ops_times_reset(e->ops);
        tt_ops_begin(e->ops);
        int64_t start = tt_clock_us();
        ok(tt_unet_forward(e->unet, b->in, side, side, 500, b->out, &err));
        if (i > 0) ms[i - 1] = (double)(tt_clock_us() - start) / 1000;
    }
    qsort(ms, (size_t)n, sizeof *ms, compare);
    return (ms[(n - 1) / 2] + ms[n / 2]) / 2;
}

static void measure(tt_engine *e, int side, int rows, int passes) {
    int64_t latent = side / tt_vae_factor(e->vae);
    buffers b = make_buffers(e->unet, rows, latent * latent);
    const tt_unet_condition condition = {
        .n = rows, .tokens = TOKENS, .context = b.context, .pooled = b.pooled};
    tt_operation all[TT_OPERATION_KINDS];
    double gflop = 0;
    tt_ops_plan_begin(e->ops);
    ok(tt_unet_begin(e->unet, &condition, &err));
    ok(tt_unet_forward(e->unet, b.in, latent, latent, 0, b.out, &err));
    ok(tt_ops_prepare(e->ops, &err));
    ok(tt_ops_plan_end(e->ops, &err));
    ok(tt_unet_begin(e->unet, &condition, &err));
    double ms = run_passes(e, &b, latent, passes);
    tt_engine_get_operations(e, all);
    printf("{\"program\": \"tintype\", \"dtype\": \"%s\", \"threads\": %d, \"side\": %d, "
           "\"batch\": %d, "
           "\"ms\": %.3f, \"ops\": {",
           e->info.precision, e->info.n_threads, side, rows, ms);
    for (int i = 0; i < TT_OPERATION_KINDS; i++) {
        gflop += all[i].gflop;
        printf("%s\"%s\": %.3f", i ? ", " : "", all[i].name, all[i].ms);
    }
    printf("}, \"gflop\": %.6g}\n", gflop);
    fflush(stdout);
    tt_unet_end(e->unet);
    free_buffers(&b);
}

int main(int argc, char **argv) {
    options o = parse_options(argc, argv);
    tt_engine_options how;
    tt_engine *engine;
    tt_engine_options_defaults(&how);
    how.model_path = o.model;
    how.precision = o.precision;
    how.n_threads = o.threads;
    ok(tt_engine_open(&how, &engine, &err));
    for (int i = 0; i < o.sides.n; i++)
        for (int j = 0; j < o.batches.n; j++)
            measure(engine, o.sides.of[i], o.batches.of[j], o.passes);
    tt_engine_close(engine);
    return 0;
}
