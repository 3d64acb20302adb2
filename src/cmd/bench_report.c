/* What was measured, told; see bench.h. */
#include <stdio.h>
#include <string.h>

#include "app/show.h"
#include "cmd/bench.h"
#include "cmd/progress.h"
#include "cmd/store_text.h"
#include "cmd/store_words.h"

static const double MS_PER_S = 1000, PERCENT = 100, MEGA = 1e6;

/* Sizes that people ask for. */
static const int SIDES[] = {512, 1024};
enum { N_SIDES = sizeof SIDES / sizeof *SIDES };

enum { MOST_PIXELS = 16 }; /* times those measured: estimates beyond say nothing */

static bool has_estimate(const tt__measured *b, int side) {
    return (double)side * side <= (double)MOST_PIXELS * b->width * b->height;
}

static double share_of(double part, double whole) {
    return whole > 0 ? part / whole : 0;
}

static bool is_attention(const tt_operation *o) {
    return strcmp(o->name, "attention") == 0;
}

static double attention_ms(const tt__bench_part *part) {
    double ms = 0;
    for (int i = 0; i < TT_OPERATION_KINDS; i++)
        if (is_attention(&part->operations[i])) ms += part->operations[i].ms;
    return ms;
}

double tt__bench_picture_ms(const tt__measured *b, int width, int height) {
    double pixels = (double)width * height / ((double)b->width * b->height);
    double squares = pixels * pixels - pixels; /* what a square adds */
    double step = b->step_ms * pixels + attention_ms(&b->step) * b->square_share * squares;
    double vae = b->vae.total_ms * pixels + attention_ms(&b->vae) * squares;
    return b->timings.text_ms + b->timings.plan_ms + TT__BENCH_PICTURE_STEPS * step + vae;
}

/* The peak of what an operation's products are made of, in GFLOP/s: attention is never in int8, and bf16 that is not native
 * is computed as f32. 0: not known. */
static double peak_of(const tt_peak *peak, const char *precision, const tt_operation *o) {
    bool is_f32 = strcmp(precision, "f32") == 0, is_int8 = strcmp(precision, "int8") == 0;
    if (is_int8 && !is_attention(o) && peak->int8 > 0) return peak->int8;
    return !is_f32 && peak->bf16 > 0 ? peak->bf16 : peak->f32;
}

/* What the products alone would take at the peak. */
static double ideal_ms(const tt_peak *peak, const tt__bench_part *part) {
    double ms = 0;
    for (int i = 0; i < TT_OPERATION_KINDS; i++) {
        const tt_operation *o = &part->operations[i];
        double gflops = peak_of(peak, part->precision, o);
        if (gflops > 0) ms += MS_PER_S * o->gflop / gflops;
    }
    return ms;
}

static tt_operation sum(const tt__bench_part *part) {
    tt_operation all = {.name = "all"};
    for (int i = 0; i < TT_OPERATION_KINDS; i++) {
        all.ms += part->operations[i].ms;
        all.gflop += part->operations[i].gflop;
        all.gbyte += part->operations[i].gbyte;
    }
    return all;
}

/* What the operations do not explain: sampler, guidance, copies, dispatch. */
static double other_ms(const tt__bench_part *part) {
    return part->total_ms - sum(part).ms;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

/* A number with three digits and its width, or blanks for 0. */
static void print_cell(int columns, double value) {
    if (value > 0)
        printf(" %*.*f", columns, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value);
    else
        printf(" %*s", columns, "");
}

enum { SHARE = 8, NUMBER = 10 };

static void print_row(const tt__measured *b, const tt__bench_part *part, const tt_operation *o) {
    double seconds = o->ms / MS_PER_S, peak = peak_of(&b->peak, part->precision, o);
    double rate = share_of(o->gflop, seconds);
    printf("  %-12s", o->name);
    print_cell(NUMBER, o->ms);
    printf(" %*.1f %%", SHARE - 2, PERCENT * share_of(o->ms, part->total_ms));
    print_cell(NUMBER, o->gflop);
    print_cell(NUMBER, rate);
    print_cell(SHARE, PERCENT * share_of(rate, peak));
    print_cell(SHARE, o->gflop > 0 ? 0 : share_of(o->gbyte, seconds));
    printf(" %8lld\n", (long long)o->calls);
}

static void print_part(const tt__measured *b, const char *title, const tt__bench_part *part) {
    tt_operation all = sum(part);
    double seconds = part->total_ms / MS_PER_S;
    printf("\n%s, %s\n  %-12s %*s %*s %*s %*s %*s %*s %8s\n", title, part->precision, "", NUMBER,
           "ms", SHARE, "share", NUMBER, "GFLOP", NUMBER, "GFLOP/s", SHARE, "% peak", SHARE, "GB/s",
           "calls");
    for (int i = 0; i < TT_OPERATION_KINDS; i++)
        if (part->operations[i].calls) print_row(b, part, &part->operations[i]);
    printf("  %-12s", "other");
    print_cell(NUMBER, other_ms(part));
    printf(" %*.1f %%\n  %-12s", SHARE - 2, PERCENT * share_of(other_ms(part), part->total_ms),
           "all");
    print_cell(NUMBER, part->total_ms);
    printf(" %*s", SHARE, "");
    print_cell(NUMBER, all.gflop);
    print_cell(NUMBER, share_of(all.gflop, seconds));
    print_cell(SHARE, PERCENT * share_of(ideal_ms(&b->peak, part), part->total_ms));
    printf("\n");
}

static void print_peak(const tt_peak *p, int n_threads) {
    const struct {
        const char *name, *by;
        double gflops;
    } all[] = {
        {"f32", p->f32_by, p->f32}, {"bf16", p->bf16_by, p->bf16}, {"int8", p->int8_by, p->int8}};
    printf("CPU       %s, %d thread%s\n", *p->features ? p->features : "(features not known)",
           n_threads, n_threads == 1 ? "" : "s");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].gflops > 0)
            printf("%s %s %.0f GFLOP/s by %s\n", i ? "         " : "peak     ", all[i].name,
                   all[i].gflops, all[i].by);
}

static void print_estimates(const tt__measured *b) {
    char duration[TT_DURATION_BYTES];
    tt__progress_duration(duration, tt__bench_picture_ms(b, b->width, b->height) / MS_PER_S);
    printf("%d steps  %s for %dx%d as measured", TT__BENCH_PICTURE_STEPS, duration, b->width,
           b->height);
    for (int i = 0; i < N_SIDES; i++) {
        bool is_said = b->width == SIDES[i] && b->height == SIDES[i];
        if (is_said || !has_estimate(b, SIDES[i])) continue;
        tt__progress_duration(duration, tt__bench_picture_ms(b, SIDES[i], SIDES[i]) / MS_PER_S);
        printf(", about %s for %dx%d", duration, SIDES[i], SIDES[i]);
    }
    printf("\n");
}

int tt__bench_print(const tt__measured *b) {
    char name[TT_SHOWN_BYTES], planned[TT__SIZE_BYTES], most[TT__SIZE_BYTES];
    tt_show_text(name, b->info->model_name, strlen(b->info->model_name));
    tt__size_text(planned, b->planned_bytes);
    tt__size_text(most, b->peak_bytes);
    print_peak(&b->peak, b->info->n_threads);
    printf("model     %s, %.0f million parameters, %s, VAE %s, opened in %.2f s\n", name,
           (double)b->info->n_parameters / MEGA, b->info->precision, b->vae.precision,
           b->info->load_ms / MS_PER_S);
    print_part(b, "One step", &b->step);
    print_part(b, "VAE decode", &b->vae);
    printf("\nstep      %.3g s at %dx%d with guidance (median of %d)\n", b->step_ms / MS_PER_S,
           b->width, b->height, b->n_steps > 1 ? b->n_steps - 1 : 1);
    printf("VAE       %.3g s\ntext      %.3g s, preparing %.3g s\n", b->vae.total_ms / MS_PER_S,
           b->timings.text_ms / MS_PER_S, b->timings.plan_ms / MS_PER_S);
    print_estimates(b);
    printf("memory    %s planned, %s resident at the most\n", planned, most);
    return tt__print("", 0);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void put_double(json_object *o, const char *name, double value) {
    tt__put_object(o, name, json_object_new_double(value));
}

static json_object *json_of_part(const tt__measured *b, const tt__bench_part *part) {
    json_object *o = json_object_new_object(), *list = json_object_new_array();
    tt__put_text(o, "precision", part->precision);
    put_double(o, "ms", part->total_ms);
    put_double(o, "gflop", sum(part).gflop);
    put_double(o, "share_of_peak", share_of(ideal_ms(&b->peak, part), part->total_ms));
    for (int i = 0; list && i < TT_OPERATION_KINDS; i++) {
        const tt_operation *op = &part->operations[i];
        json_object *row = op->calls ? json_object_new_object() : NULL;
        if (!row) continue;
        tt__put_text(row, "name", op->name);
        tt__put_number(row, "calls", (uint64_t)op->calls);
        put_double(row, "ms", op->ms);
        put_double(row, "gflop", op->gflop);
        put_double(row, "gbyte", op->gbyte);
        if (json_object_array_add(list, row) != 0) json_object_put(row);
    }
    tt__put_object(o, "operations", list);
    put_double(o, "other_ms", other_ms(part));
    return o;
}

static json_object *json_of_peak(const tt_peak *p) {
    json_object *o = json_object_new_object();
    put_double(o, "f32_gflops", p->f32);
    put_double(o, "bf16_gflops", p->bf16);
    put_double(o, "int8_gflops", p->int8);
    tt__put_text(o, "f32_by", p->f32_by);
    tt__put_text(o, "bf16_by", p->bf16_by);
    tt__put_text(o, "int8_by", p->int8_by);
    return o;
}

static json_object *json_of_estimates(const tt__measured *b) {
    json_object *list = json_object_new_array();
    for (int i = 0; list && i < N_SIDES; i++) {
        if (!has_estimate(b, SIDES[i])) continue;
        json_object *row = json_object_new_object();
        tt__put_number(row, "width", (uint64_t)SIDES[i]);
        tt__put_number(row, "height", (uint64_t)SIDES[i]);
        tt__put_number(row, "steps", TT__BENCH_PICTURE_STEPS);
        put_double(row, "seconds", tt__bench_picture_ms(b, SIDES[i], SIDES[i]) / MS_PER_S);
        if (json_object_array_add(list, row) != 0) json_object_put(row);
    }
    return list;
}

int tt__bench_print_json(const tt__measured *b) {
    json_object *o = json_object_new_object();
    tt__put_text(o, "version", tt_version());
    tt__put_text(o, "cpu_features", b->peak.features);
    tt__put_number(o, "threads", (uint64_t)b->info->n_threads);
    tt__put_object(o, "peak", json_of_peak(&b->peak));
    tt__put_text(o, "model", b->info->model_name);
    tt__put_number(o, "parameters", (uint64_t)b->info->n_parameters);
    tt__put_text(o, "precision", b->info->precision);
    tt__put_text(o, "vae_precision", b->vae.precision);
    tt__put_number(o, "width", (uint64_t)b->width);
    tt__put_number(o, "height", (uint64_t)b->height);
    tt__put_number(o, "steps", (uint64_t)b->n_steps);
    put_double(o, "load_ms", b->info->load_ms);
    put_double(o, "plan_ms", b->timings.plan_ms);
    put_double(o, "text_ms", b->timings.text_ms);
    put_double(o, "s_per_step", b->step_ms / MS_PER_S);
    put_double(o, "vae_s", b->vae.total_ms / MS_PER_S);
    tt__put_object(o, "step", json_of_part(b, &b->step));
    tt__put_object(o, "vae", json_of_part(b, &b->vae));
    tt__put_object(o, "estimates", json_of_estimates(b));
    tt__put_number(o, "weight_bytes", b->info->weight_bytes);
    tt__put_number(o, "planned_bytes", b->planned_bytes);
    tt__put_number(o, "peak_bytes", b->peak_bytes);
    return tt__print_json(o);
}
