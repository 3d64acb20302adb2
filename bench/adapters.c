/* What switching adapters costs, as one line of JSON: each switch's wall time, its CPU time, and what it exchanged.
 *
 *     bench_adapters --model FILE --lora A --lora B [--dtype f32|bf16] [--threads N] [--strength 0.8]
 *
 * It opens what a worker has (both text encoders and the UNet, not the VAE) and switches: to A, for the first time ("first");
 * to none; to A again, which is kept ("kept"); to A at other strengths, twice: the "second" set lies beside the first, the
 * "next" one takes its place and its memory. Then, with nothing kept, to A and B together ("two") and to none. So the peak of
 * memory is two sets beside the model.
 *
 * CPU time is of this process in user and kernel mode: on a machine that is busy with other work it says more than the
 * clock. --launched-ns is accepted, as by the other programs that bench.py starts, and not used. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "nn/loader_adapters.h"
#include "text/clip.h"
#include "unet/unet.h"

enum { LORAS = 2, ENCODERS = 2 };

typedef struct options {
    const char *model, *loras[LORAS];
    int n_loras, threads;
    tt_dtype dtype;
    float strength;
} options;

typedef struct bench {
    tt_checkpoint *checkpoint;
    tt_ops *ops;
    tt_loader *loader;
    tt_clip *clips[ENCODERS];
    tt_unet *unet;
    tt_adapter *adapters[LORAS];
    tt_adapters *switchboard;
} bench;

/* ---- options ---------------------------------------------------------------------------------------- */

static _Noreturn void usage(const char *problem) {
    fprintf(stderr,
            "bench_adapters: %s\nusage: bench_adapters --model FILE --lora A --lora B "
            "[--dtype f32|bf16] [--threads N] [--strength X]\n",
            problem);
    exit(2);
}

static tt_dtype parse_dtype(const char *text) {
    if (strcmp(text, "f32") == 0) return TT_F32;
    if (strcmp(text, "bf16") != 0) usage("--dtype is f32 or bf16");
    return TT_BF16;
}

static options parse_options(int argc, char **argv) {
    static const struct option names[] = {{"model", required_argument, NULL, 'm'},
                                          {"lora", required_argument, NULL, 'l'},
                                          {"dtype", required_argument, NULL, 'd'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"strength", required_argument, NULL, 's'},
                                          {"launched-ns", required_argument, NULL, 'L'},
                                          {NULL, 0, NULL, 0}};
    options o = {.dtype = TT_BF16, .strength = 0.8f};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (c == 'm') o.model = optarg;
        if (c == 'l' && o.n_loras < LORAS) o.loras[o.n_loras++] = optarg;
        if (c == 'd') o.dtype = parse_dtype(optarg);
        if (c == 't') o.threads = (int)strtol(optarg, NULL, 10);
        if (c == 's') o.strength = strtof(optarg, NULL);
        if (c == '?') usage("unknown or incomplete flag");
    }
    if (!o.model || o.n_loras != LORAS || optind != argc) usage("--model and --lora twice");
    return o;
}

/* ---- measuring -------------------------------------------------------------------------------------- */

typedef struct moment {
    double wall_ms, user_ms, kernel_ms;
} moment;

static double ms_of(struct timeval t) {
    return (double)t.tv_sec * 1e3 + (double)t.tv_usec / 1e3;
}

static moment now(void) {
    struct timespec t;
    struct rusage used;
    clock_gettime(CLOCK_MONOTONIC, &t);
    getrusage(RUSAGE_SELF, &used);
    return (moment){(double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6, ms_of(used.ru_utime),
                    ms_of(used.ru_stime)};
}

static void print_since(const char *name, moment start) {
    moment end = now();
    printf("\"%s\": {\"ms\": %.3f, \"user_ms\": %.0f, \"kernel_ms\": %.0f}, ", name,
           end.wall_ms - start.wall_ms, end.user_ms - start.user_ms,
           end.kernel_ms - start.kernel_ms);
}

static tt_status open_model(const options *o, bench *b, tt_err *err) {
    const tt_ops_options how = {TT_BACKEND_CPU, o->dtype, o->threads};
    TT_TRY(tt_checkpoint_open(o->model, &b->checkpoint, err));
    TT_TRY(tt_ops_open(&how, &b->ops, err));
    TT_TRY(tt_loader_new(b->checkpoint, &b->loader, err));
    for (int i = 0; i < ENCODERS; i++)
        TT_TRY(tt_clip_open(b->loader, b->ops, i, &b->clips[i], err));
    TT_TRY(tt_unet_open(b->loader, b->ops, &b->unet, err));
    return tt_loader_run(b->loader, err);
}

static tt_status switch_to(bench *b, const options *o, int n, const char *name, tt_err *err) {
    tt_adapter_use uses[LORAS];
    for (int i = 0; i < n; i++)
        uses[i] = (tt_adapter_use){b->adapters[i], tt_adapter_strength_all(o->strength)};
    moment start = now();
    TT_TRY(tt_adapters_set(b->switchboard, uses, n, err));
    print_since(name, start);
    return TT_OK;
}

/* Anew: with nothing kept. A set may be kept, however large; a second one takes its place. */
static tt_status new_switchboard(bench *b, tt_err *err) {
    tt_adapters_options keep_one = {.max_sets = 1, .max_bytes = SIZE_MAX};
    tt_adapters_free(b->switchboard);
    return tt_adapters_new(b->loader, &keep_one, &b->switchboard, err);
}

static tt_status measure(const options *o, bench *b, tt_err *err) {
    options weaker = *o;
    moment start = now();
    TT_TRY(open_model(o, b, err));
    print_since("load", start);
    start = now();
    for (int i = 0; i < LORAS; i++)
        TT_TRY(tt_adapter_open(o->loras[i], b->checkpoint, &b->adapters[i], err));
    print_since("open", start);
    TT_TRY(new_switchboard(b, err));
    TT_TRY(switch_to(b, o, 1, "first", err));
    tt_adapters_info info = tt_adapters_get_info(b->switchboard);
    printf("\"n_weights\": %d, \"set_bytes\": %zu, ", info.n_weights, info.used_bytes);
    TT_TRY(switch_to(b, o, 0, "back", err));
    TT_TRY(switch_to(b, o, 1, "kept", err));
    for (int i = 0; i < 2; i++) {
        weaker.strength /= 2;
        TT_TRY(switch_to(b, &weaker, 1, i == 0 ? "second" : "next", err));
    }
    TT_TRY(switch_to(b, o, 0, "back_again", err));
    TT_TRY(new_switchboard(b, err));
    TT_TRY(switch_to(b, o, LORAS, "two", err));
    return switch_to(b, o, 0, "back_from_two", err);
}

static void close_all(bench *b) {
    tt_adapters_free(b->switchboard);
    for (int i = 0; i < LORAS; i++) tt_adapter_close(b->adapters[i]);
    tt_unet_close(b->unet);
    for (int i = 0; i < ENCODERS; i++) tt_clip_close(b->clips[i]);
    tt_loader_free(b->loader);
    tt_ops_close(b->ops);
    tt_checkpoint_close(b->checkpoint);
}

int main(int argc, char **argv) {
    options o = parse_options(argc, argv);
    bench b = {0};
    tt_err err;
    printf("{\"program\": \"tintype\", ");
    tt_status status = measure(&o, &b, &err);
    if (status == TT_OK)
        printf("\"dtype\": \"%s\", \"threads\": %d}\n", tt_dtype_name(o.dtype),
               tt_ops_threads(b.ops));
    else
        fprintf(stderr, "bench_adapters: %s\n", err.message);
    close_all(&b);
    return status == TT_OK ? 0 : 1;
}
