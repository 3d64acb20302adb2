/* Attention and norms of SDXL at 512x512, by every path that this CPU has: what a level of CPU
 * would make of the same operation.
 *
 *     bench_attention [--threads N] [--rounds N] [--shape TEXT] [--path TEXT]
 *
 * All paths of a shape alternate in one process; printed are the median and the least of the rounds.
 * --shape and --path choose those whose name has TEXT. With one thread the time is the processor's,
 * so that other work on the machine counts less. Like
 * bench/breakdown.c it looks past the public headers, here to choose a path (tt__cpu_force). */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "tensor/cpu/cpu.h"

enum { MAX_ROUNDS = 1000, MAX_PATHS = 8 };

typedef struct path {
    const char *name;
    tt_dtype dtype;
    tt_cpu_level level;
} path;

static const path paths[] = {
    {"f32 avx2", TT_F32, TT_CPU_AVX2},           {"f32 avx512", TT_F32, TT_CPU_AVX512},
    {"bf16 avx2", TT_BF16, TT_CPU_AVX2},         {"bf16 avx512", TT_BF16, TT_CPU_AVX512},
    {"bf16 pairs", TT_BF16, TT_CPU_AVX512_BF16}, {"bf16 tiles", TT_BF16, TT_CPU_AMX},
};
enum { N_PATHS = sizeof paths / sizeof *paths };

typedef struct shape { /* group norm where groups is set, layer norm where n_heads is 0 too */
    const char *name;
    int64_t n, tokens, keys, heads, head_dim; /* norms: head_dim channels */
    int64_t groups;
    bool causal;
} shape;

static const shape attentions[] = {
    {"self, 32x32, 10 heads", 2, 1024, 1024, 10, 64, 0, false},
    {"self, 16x16, 20 heads", 2, 256, 256, 20, 64, 0, false},
    {"text, 32x32, 10 heads", 2, 1024, 77, 10, 64, 0, false},
    {"text, 16x16, 20 heads", 2, 256, 77, 20, 64, 0, false},
    {"self, 64x64, 10 heads (1024 px)", 2, 4096, 4096, 10, 64, 0, false},
    {"encoder 1, causal", 1, 77, 77, 12, 64, 0, true},
    {"encoder 2, causal", 1, 77, 77, 20, 64, 0, true},
    {"VAE, 64x64", 1, 4096, 4096, 1, 512, 0, false},
};

static const shape norms[] = {
    {"layer, 32x32 x 640", 2, 1024, 0, 0, 640, 0, false},
    {"layer, 16x16 x 1280", 2, 256, 0, 0, 1280, 0, false},
    {"group, 64x64 x 320", 2, 4096, 0, 0, 320, 32, false},
    {"group, 64x64 x 512", 1, 4096, 0, 0, 512, 32, false},
    {"group, 256x256 x 512", 1, 65536, 0, 0, 512, 32, false},
    {"group, 512x512 x 256", 1, 262144, 0, 0, 256, 32, false},
    {"group, 512x512 x 128", 1, 262144, 0, 0, 128, 32, false},
    {"group, 1024x1024 x 128", 1, 1048576, 0, 0, 128, 32, false},
};

static void die(const char *what) {
    fprintf(stderr, "bench_attention: %s\n", what);
    exit(1);
}

static void need(tt_status status, const tt_err *err) {
    if (status != TT_OK) die(err->message);
}

typedef struct runner { /* one path, ready to run one shape again and again */
    tt_ops *ops;
    const shape *s;
    clockid_t clock;
    tt_weight *w;
    tt_tensor x, y, kv;
    double ms[MAX_ROUNDS];
} runner;

static void fill(tt_tensor *t) {
    uint64_t seed = 1;
    int64_t count = tt_tensor_count(t);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        float v = (float)(int32_t)(seed >> 32) / 1073741824.0f; /* -2 .. 2 */
        if (t->dtype == TT_F32)
            ((float *)t->data)[i] = v;
        else
            ((uint16_t *)t->data)[i] = tt_f32_to_bf16(v);
    }
}

static tt_tensor new_tensor(runner *r, int64_t tokens, int64_t c) {
    tt_tensor t;
    tt_err err;
    need(tt_scratch_new(r->ops, r->s->n, 1, tokens, c, &t, &err), &err);
    return t;
}

static void attend(runner *r) {
    tt_err err;
    const tt_attention a = {.q = &r->x,
                            .k = &r->kv,
                            .v = &r->kv,
                            .v_offset = r->kv.c / 2,
                            .heads = r->s->heads,
                            .head_dim = r->s->head_dim,
                            .causal = r->s->causal};
    need(tt_op_attention(r->ops, &a, &r->y, &err), &err);
}

static void normalise(runner *r) {
    tt_err err;
    const tt_group_norm args = {.groups = r->s->groups, .eps = 1e-5f, .silu = true};
    need(r->s->groups ? tt_op_group_norm(r->ops, r->w, &args, &r->x, &r->y, &err)
                      : tt_op_layer_norm(r->ops, r->w, 1e-5f, &r->x, &r->y, &err),
         &err);
}

static double now_ms(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static double run_once(runner *r) {
    double start_ms = now_ms(r->clock);
    if (r->s->heads)
        attend(r);
    else
        normalise(r);
    return now_ms(r->clock) - start_ms;
}

static void take_tensors(runner *r) {
    const shape *s = r->s;
    int64_t width = s->heads ? s->heads * s->head_dim : s->head_dim;
    r->x = new_tensor(r, s->tokens, width);
    r->y = new_tensor(r, s->tokens, width);
    if (s->heads) r->kv = new_tensor(r, s->keys, 2 * width);
}

static void open_runner(runner *r, const path *p, const shape *s, int threads) {
    tt_err err;
    const tt_ops_options options = {TT_BACKEND_CPU, p->dtype, threads};
    *r = (runner){.s = s, .clock = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC};
    need(tt_ops_open(&options, &r->ops, &err), &err);
    tt__cpu_force(r->ops, p->level);
    if (!s->heads) {
        float *ones = tt_alloc((size_t)s->head_dim * sizeof *ones);
        if (!ones) die("out of memory");
        for (int64_t i = 0; i < s->head_dim; i++) ones[i] = 1;
        need(tt_weight_norm(r->ops, ones, ones, s->head_dim, &r->w, &err), &err);
        tt_free(ones);
    }
    tt_ops_plan_begin(r->ops);
    take_tensors(r);
    run_once(r);
    tt_scratch_free(r->ops, &r->x);
    tt_scratch_free(r->ops, &r->y);
    tt_scratch_free(r->ops, &r->kv);
    need(tt_ops_plan_end(r->ops, &err), &err);
    take_tensors(r);
    fill(&r->x);
    if (s->heads) fill(&r->kv);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *ms, int n) {
    qsort(ms, (size_t)n, sizeof *ms, by_value);
    return ms[n / 2];
}

/* Billions of multiplications and additions (causal: of half the scores), or of bytes that must move. */
static double work(const shape *s, tt_dtype dtype) {
    double count = (double)(s->n * s->tokens * s->head_dim);
    if (s->heads) return count * (double)(s->heads * s->keys) * 4e-9 / (s->causal ? 2 : 1);
    double passes = s->groups ? 3 : 2; /* read for the sums, read and write; a row stays in L1 */
    return count * passes * (double)tt_dtype_size(dtype) * 1e-9;
}

static bool is_there(const path *p) {
    tt_cpu_features all = tt__cpu_features();
    switch (p->level) {
    case TT_CPU_AVX2:
        return all.avx2;
    case TT_CPU_AVX512:
        return all.avx512;
    case TT_CPU_AVX512_BF16:
        return all.avx512_bf16;
    case TT_CPU_AMX:
        return all.amx_bf16;
    case TT_CPU_BASE:
        break;
    }
    return true;
}

typedef struct choice {
    int threads, rounds;
    const char *shape, *path;
} choice;

static void report(runner *r, const path *p, int rounds) {
    double ms = median(r->ms, rounds);
    double rate = work(r->s, p->dtype) * 1000;
    printf("| %s | %s | %.3f | %.3f | %.0f | %.0f |\n", r->s->name, p->name, ms, r->ms[0],
           rate / ms, rate / r->ms[0]);
    fflush(stdout);
}

static void measure(const shape *s, const choice *c) {
    static runner runners[N_PATHS];
    if (!strstr(s->name, c->shape)) return;
    for (int i = 0; i < N_PATHS; i++)
        if (strstr(paths[i].name, c->path) && is_there(&paths[i]))
            open_runner(&runners[i], &paths[i], s, c->threads);
    for (int round = 0; round <= c->rounds; round++) /* the first warms up */
        for (int i = 0; i < N_PATHS; i++)
            if (runners[i].ops) runners[i].ms[round ? round - 1 : 0] = run_once(&runners[i]);
    for (int i = 0; i < N_PATHS; i++) {
        if (!runners[i].ops) continue;
        report(&runners[i], &paths[i], c->rounds);
        tt_weight_free(runners[i].ops, runners[i].w);
        tt_ops_close(runners[i].ops);
        runners[i].ops = NULL;
    }
}

static choice read_options(int argc, char **argv) {
    static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"shape", required_argument, NULL, 's'},
                                            {"path", required_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    choice c = {.rounds = 15, .shape = "", .path = ""};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 't')
            c.threads = (int)strtol(optarg, NULL, 10);
        else if (option == 'r')
            c.rounds = (int)strtol(optarg, NULL, 10);
        else if (option == 's')
            c.shape = optarg;
        else if (option == 'p')
            c.path = optarg;
        else
            die("usage: bench_attention [--threads N] [--rounds N] [--shape TEXT] [--path TEXT]");
    }
    if (c.rounds < 1 || c.rounds > MAX_ROUNDS) die("--rounds: expected 1 to 1000");
    return c;
}

int main(int argc, char **argv) {
    const choice c = read_options(argc, argv);
    printf("| attention | path | ms | least | GFLOP/s | best |\n|---|---|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < sizeof attentions / sizeof *attentions; i++) measure(&attentions[i], &c);
    printf("\n| norm | path | ms | least | GB/s | best |\n|---|---|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) measure(&norms[i], &c);
    return 0;
}
