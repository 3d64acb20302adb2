/* Matrix products and convolutions in bf16 and int8 at SDXL's sizes, by every path of this CPU and by oneDNN, as a table.
 *
 *     bench_products [--threads N] [--rounds N] [--cold] [--only TEXT] [--path NAME]
 *
 * The paths take turns, one call each per round, and a loop that only multiplies registers takes its turn too: its best round is
 * the peak that percentages refer to, measured under the same conditions. The median and the best call are given. --cold
 * gives every call another weight, so that each comes from memory as it does in a network, where a step uses each weight once. */
#include <getopt.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "tensor/cpu/cpu.h"
#include "tensor/cpu/peak.h"
#include "tensor/ops.h"

enum { MAX_ROUNDS = 1000, MAX_WEIGHTS = 64, COLD_BYTES = 400 << 20, PATHS = 5 };

typedef struct options {
    int threads, rounds;
    bool cold;
    const char *only, *path; /* parts of names; NULL: all */
} options;

typedef struct shape {
    const char *name;
    int64_t n, h, w, c_in, c_out;
    int kernel, stride; /* kernel 0: a product of n * h * w rows */
    tt_activation act;
    bool add;
} shape;

static const shape shapes[] = {
    {"512: q, out 640", 2, 32, 32, 640, 640, 0, 1, TT_ACT_NONE, true},
    {"512: q k v 640", 2, 32, 32, 640, 1920, 0, 1, TT_ACT_NONE, false},
    {"512: ff gate 640", 2, 32, 32, 640, 2560, 0, 1, TT_ACT_GELU, false},
    {"512: ff out 640", 2, 32, 32, 2560, 640, 0, 1, TT_ACT_NONE, true},
    {"512: q, out 1280", 2, 16, 16, 1280, 1280, 0, 1, TT_ACT_NONE, true},
    {"512: q k v 1280", 2, 16, 16, 1280, 3840, 0, 1, TT_ACT_NONE, false},
    {"512: ff gate 1280", 2, 16, 16, 1280, 5120, 0, 1, TT_ACT_GELU, false},
    {"512: ff value 1280", 2, 16, 16, 1280, 5120, 0, 1, TT_ACT_NONE, false},
    {"512: ff out 1280", 2, 16, 16, 5120, 1280, 0, 1, TT_ACT_NONE, true},
    {"512: conv 320", 2, 64, 64, 320, 320, 3, 1, TT_ACT_NONE, false},
    {"512: conv 320, half", 2, 64, 64, 320, 320, 3, 2, TT_ACT_NONE, false},
    {"512: conv 640", 2, 32, 32, 640, 640, 3, 1, TT_ACT_NONE, true},
    {"512: conv 1280", 2, 16, 16, 1280, 1280, 3, 1, TT_ACT_NONE, true},
    {"512: conv 2560", 2, 16, 16, 2560, 1280, 3, 1, TT_ACT_NONE, false},
    {"1024: q, out 640", 2, 64, 64, 640, 640, 0, 1, TT_ACT_NONE, true},
    {"1024: ff gate 640", 2, 64, 64, 640, 2560, 0, 1, TT_ACT_GELU, false},
    {"1024: q, out 1280", 2, 32, 32, 1280, 1280, 0, 1, TT_ACT_NONE, true},
    {"1024: ff value 1280", 2, 32, 32, 1280, 5120, 0, 1, TT_ACT_NONE, false},
    {"1024: ff out 1280", 2, 32, 32, 5120, 1280, 0, 1, TT_ACT_NONE, true},
    {"1024: conv 320", 2, 128, 128, 320, 320, 3, 1, TT_ACT_NONE, false},
    {"1024: conv 1280", 2, 32, 32, 1280, 1280, 3, 1, TT_ACT_NONE, true},
    {"text: k v 2048", 2, 1, 77, 2048, 2560, 0, 1, TT_ACT_NONE, false},
    {"text: 1280 to 5120", 1, 1, 77, 1280, 5120, 0, 1, TT_ACT_GELU, false},
    {"time: 1280", 2, 1, 1, 1280, 1280, 0, 1, TT_ACT_SILU, false},
    {"unet in", 2, 64, 64, 4, 320, 3, 1, TT_ACT_NONE, false},
    {"unet out", 2, 64, 64, 320, 4, 3, 1, TT_ACT_NONE, false},
    {"vae: conv 512", 1, 128, 128, 512, 512, 3, 1, TT_ACT_NONE, true},
    {"vae: conv 256", 1, 256, 256, 256, 256, 3, 1, TT_ACT_NONE, true},
    {"vae: conv 128", 1, 512, 512, 128, 128, 3, 1, TT_ACT_NONE, true},
    {"vae: out", 1, 512, 512, 128, 3, 3, 1, TT_ACT_NONE, false},
};

typedef struct path {
    const char *name;
    tt_cpu_level level;
    bool is_int8;
    tt_ops *ops;
    tt_weight *weights[MAX_WEIGHTS];
    double seconds[MAX_ROUNDS];
} path;

static tt_err err;

static void ok(tt_status status) {
    if (status == TT_OK) return;
    fprintf(stderr, "bench_products: %s\n", err.message);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- one shape */

static int64_t out_size(const shape *s, int64_t in) {
    return s->kernel ? (in - 1) / s->stride + 1 : in;
}

static double flops_of(const shape *s) {
    int64_t taps = s->kernel ? (int64_t)s->kernel * s->kernel : 1;
    return 2.0 * (double)(s->n * out_size(s, s->h) * out_size(s, s->w) * taps * s->c_in * s->c_out);
}

static int weights_of(const options *o, const shape *s) {
    int64_t bytes = 2 * s->c_in * s->c_out * (s->kernel ? (int64_t)s->kernel * s->kernel : 1);
    int64_t n = o->cold ? COLD_BYTES / bytes + 1 : 1;
    return n < MAX_WEIGHTS ? (int)n : MAX_WEIGHTS;
}

/* Numbers of both signs, up to `most`. */
static void fill(uint16_t *v, int64_t count, float most) {
    for (int64_t i = 0; i < count; i++)
        v[i] = tt_f32_to_bf16((float)((i * 37) % 127 - 63) / 63.0f * most);
}

static void make_weights(path *p, const shape *s, int n) {
    int64_t count = s->c_in * s->c_out * (s->kernel ? (int64_t)s->kernel * s->kernel : 1);
    uint16_t *plain = tt_alloc((size_t)count * sizeof *plain);
    float *values = tt_alloc((size_t)count * sizeof *values);
    if (!plain || !values) ok(tt_fail_nomem(&err, "a weight", (size_t)count * sizeof *plain));
    int64_t inputs = count / s->c_out;
    fill(plain, count, 1.0f / sqrtf((float)inputs)); /* so that outputs are as usual */
    tt_convert(values, TT_F32, plain, TT_BF16, (size_t)count);
    const tt_conv_shape conv = {s->c_out, s->c_in, s->kernel, s->stride, 1, 1, 1, 1};
    for (int i = 0; i < n; i++) {
        if (s->kernel && p->is_int8)
            ok(tt_weight_conv_int8(p->ops, values, NULL, &conv, &p->weights[i], &err));
        else if (p->is_int8)
            ok(tt_weight_linear_int8(p->ops, values, NULL, s->c_out, s->c_in, &p->weights[i],
                                     &err));
        else if (s->kernel)
            ok(tt_weight_conv(p->ops, plain, NULL, &conv, &p->weights[i], &err));
        else
            ok(tt_weight_linear(p->ops, plain, NULL, s->c_out, s->c_in, &p->weights[i], &err));
    }
    tt_free(plain);
    tt_free(values);
}

typedef struct tensors {
    tt_tensor x, y, add;
} tensors;

static void make_tensors(tt_ops *ops, const shape *s, tensors *t) {
    int64_t h = out_size(s, s->h), w = out_size(s, s->w);
    ok(tt_request_tensor_new(ops, s->n, s->h, s->w, s->c_in, &t->x, &err));
    ok(tt_request_tensor_new(ops, s->n, h, w, s->c_out, &t->y, &err));
    ok(tt_request_tensor_new(ops, s->n, h, w, s->c_out, &t->add, &err));
    fill(t->x.data, tt_tensor_count(&t->x), 1);
    fill(t->add.data, tt_tensor_count(&t->add), 1);
}

static void free_tensors(tt_ops *ops, tensors *t) {
    tt_request_tensor_free(ops, &t->x);
    tt_request_tensor_free(ops, &t->y);
    tt_request_tensor_free(ops, &t->add);
}

static void call(path *p, const shape *s, int weight, tensors *t) {
    const tt_epilogue e = {.act = s->act, .add = s->add ? &t->add : NULL};
    if (s->kernel)
        ok(tt_op_conv(p->ops, p->weights[weight], &t->x, &e, &t->y, &err));
    else
        ok(tt_op_linear(p->ops, p->weights[weight], &t->x, &e, &t->y, &err));
}

static void rehearse(path *p, const shape *s, tensors *t) {
    tt_ops_plan_begin(p->ops);
    call(p, s, 0, t);
    ok(tt_ops_plan_end(p->ops, &err));
    ok(tt_ops_prepare(p->ops, &err));
    call(p, s, 0, t);
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_path(const path *p, int rounds, double flops, double peak) {
    double median = flops / p->seconds[rounds / 2], best = flops / p->seconds[0];
    printf(" %6.0f %6.0f", median / 1e9, best / 1e9);
    if (peak > 0)
        printf(" %3.0f%%", 100 * best / peak);
    else
        printf("    -");
}

static void measure(const options *o, const shape *s, path *paths, int n) {
    int n_weights = weights_of(o, s);
    tensors t;
    tt_cpu_features f = tt__cpu_features();
    tt_cpu_features without_tiles = tt__cpu_features_limited(TT_CPU_AVX512_BF16);
    double peaks[2] = {0, 0};
    make_tensors(paths[0].ops, s, &t);
    for (int i = 0; i < n; i++) {
        make_weights(&paths[i], s, n_weights);
        rehearse(&paths[i], s, &t);
    }
    for (int round = 0; round < o->rounds; round++) {
        for (int tiles = 0; tiles < 2; tiles++) {
            double peak = tt__peak_round(tiles ? &f : &without_tiles, TT_PEAK_BF16);
            if (peak > peaks[tiles]) peaks[tiles] = peak;
        }
        for (int i = 0; i < n; i++) {
            tt_ops_begin(paths[i].ops);
            double start = now();
            call(&paths[i], s, round % n_weights, &t);
            paths[i].seconds[round] = now() - start;
        }
    }
    printf("%-20s %7.2f", s->name, flops_of(s) / 1e9);
    for (int i = 0; i < n; i++) {
        qsort(paths[i].seconds, (size_t)o->rounds, sizeof(double), compare_doubles);
        bool vectors = paths[i].level == TT_CPU_AVX512_BF16 || !f.amx_bf16;
        double peak = paths[i].is_int8 ? 0 : peaks[!vectors];
        print_path(&paths[i], o->rounds, flops_of(s), peak);
        for (int j = 0; j < n_weights; j++) tt_weight_free(paths[i].ops, paths[i].weights[j]);
    }
    printf("   %.0f\n", peaks[f.amx_bf16] / 1e9);
    fflush(stdout);
    free_tensors(paths[0].ops, &t);
}

/* ---- options */

static _Noreturn void usage(void) {
    fprintf(
        stderr,
        "usage: bench_products [--threads N] [--rounds N] [--cold] [--only TEXT] [--path NAME]\n");
    exit(2);
}

static int parse_count(const char *text, int most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 1 || value > most) usage();
    return (int)value;
}

static options parse_options(int argc, char **argv) {
    static const struct option names[] = {
        {"threads", required_argument, NULL, 't'}, {"rounds", required_argument, NULL, 'r'},
        {"only", required_argument, NULL, 'o'},    {"path", required_argument, NULL, 'p'},
        {"cold", no_argument, NULL, 'c'},          {NULL, 0, NULL, 0}};
    options o = {.threads = 0, .rounds = 40};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (c == 't')
            o.threads = parse_count(optarg, MAX_ROUNDS);
        else if (c == 'r')
            o.rounds = parse_count(optarg, MAX_ROUNDS);
        else if (c == 'o')
            o.only = optarg;
        else if (c == 'p')
            o.path = optarg;
        else if (c == 'c')
            o.cold = true;
        else
            usage();
    }
    if (optind != argc) usage();
    return o;
}

static int open_paths(const options *o, path *paths) {
    static const path all[PATHS] = {
        {.name = "amx_bf16", .level = TT_CPU_AMX},
        {.name = "avx512_bf16", .level = TT_CPU_AVX512_BF16},
        {.name = "oneDNN", .level = TT_CPU_AVX512},
        {.name = "amx_int8", .level = TT_CPU_AMX, .is_int8 = true},
        {.name = "avx512_vnni", .level = TT_CPU_AVX512, .is_int8 = true}};
    tt_cpu_features f = tt__cpu_features();
    int n = 0;
    for (int i = 0; i < PATHS; i++) {
        if (o->path && !strstr(all[i].name, o->path)) continue;
        if (all[i].level == TT_CPU_AMX && !f.amx_bf16) continue;
        if (all[i].level == TT_CPU_AVX512_BF16 && !f.avx512_bf16) continue;
        if (all[i].is_int8 && !f.avx512_vnni) continue;
        const tt_ops_options how = {TT_BACKEND_CPU, TT_BF16, o->threads};
        paths[n] = all[i];
        ok(tt_ops_open(&how, &paths[n].ops, &err));
        tt__cpu_force(paths[n].ops, all[i].level);
        if (all[i].is_int8) ok(tt_ops_allow_int8(paths[n].ops, &err));
        n++;
    }
    if (n == 0) usage();
    return n;
}

int main(int argc, char **argv) {
    static path paths[PATHS];
    options o = parse_options(argc, argv);
    int n = open_paths(&o, paths);
    printf("%d threads, %s weights, %d rounds; each path: GFLOP/s median and best, best as a share "
           "of its peak\n",
           tt_ops_threads(paths[0].ops), o.cold ? "cold" : "warm", o.rounds);
    printf("%-20s %7s", "", "GFLOP");
    for (int i = 0; i < n; i++) printf(" %18s", paths[i].name);
    printf("   peak, GFLOP/s\n");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (!o.only || strstr(shapes[i].name, o.only)) measure(&o, &shapes[i], paths, n);
    for (int i = 0; i < n; i++) tt_ops_close(paths[i].ops);
    return 0;
}
