/* A descent finds where a query's two ends part; from there one descent gathers what lies right of
 * the lower end, another what lies left of the upper end. Nothing is cached: a node costs one draw. */
#include "sample/brownian.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample/seed_sequence.h"

typedef struct node {
    double start, end, middle;
    uint32_t
        place[TT_SEED_PATH_MAX]; /* 0 left, 1 right, as a binary number; and how many of them */
} node;

/* Python's round(x, 6): correctly rounded in decimal, which C offers by way of text. */
static double six_decimals(double x) {
    char text[64]; /* sigmas have at most five digits before the point */
    snprintf(text, sizeof text, "%.6f", x);
    return strtod(text, NULL);
}

static node make_node(double start, double end, uint32_t place, uint32_t depth) {
    return (node){start, end, six_decimals(0.5 * (end + start)), {place, depth}};
}

static node left_of(const node *at) {
    return make_node(at->start, at->middle, 2 * at->place[0], at->place[1] + 1);
}

static node right_of(const node *at) {
    return make_node(at->middle, at->end, 2 * at->place[0] + 1, at->place[1] + 1);
}

static void draw(const tt_brownian *b, uint32_t seed, float *out) {
    tt_noise g;
    tt_noise_init(&g, b->kind, seed);
    tt_noise_fill_f32(&g, out, b->n);
}

/* The node's increment becomes its left half's; the right half's goes to `right`. */
static void split(const tt_brownian *b, const node *at, float *w, float *right) {
    uint32_t seed;
    tt_seed_sequence(b->seed, at->place, TT_SEED_PATH_MAX, &seed, 1);
    draw(b, seed, right);
    double before = at->middle - at->start, after = at->end - at->middle;
    double share = 1 / (at->end - at->start);
    const float left_share = (float)before, whole = (float)share;
    const float amount = (float)sqrt(before * after * share);
    for (int64_t k = 0; k < b->n; k++) {
        float left = left_share * w[k] * whole + amount * right[k];
        right[k] = w[k] - left;
        w[k] = left;
    }
}

static void add(const tt_brownian *b, float *sum, const float *w) {
    for (int64_t k = 0; k < b->n; k++) sum[k] += w[k];
}

static void copy(const tt_brownian *b, float *to, const float *from) {
    memcpy(to, from, (size_t)b->n * sizeof *to);
}

/* sum += the increment from `from` to the node's end; w is the node's. */
static void add_tail(const tt_brownian *b, node at, double from, float *w, float *right,
                     float *sum) {
    while (from > at.start && from < at.end) {
        split(b, &at, w, right);
        if (from < at.middle) {
            add(b, sum, right);
            at = left_of(&at);
        } else {
            copy(b, w, right);
            at = right_of(&at);
        }
    }
    if (from <= at.start) add(b, sum, w);
}

/* sum += the increment from the node's start to `to`. */
static void add_head(const tt_brownian *b, node at, double to, float *w, float *right, float *sum) {
    while (to > at.start && to < at.end) {
        split(b, &at, w, right);
        if (to > at.middle) {
            add(b, sum, w);
            copy(b, w, right);
            at = right_of(&at);
        } else {
            at = left_of(&at);
        }
    }
    if (to >= at.end) add(b, sum, w);
}

/* sum = the increment over [from, to], start <= from < to <= end. */
static void gather(const tt_brownian *b, double from, double to, float *sum) {
    float *w = b->buffers, *right = w + b->n, *other = right + b->n;
    memset(sum, 0, (size_t)b->n * sizeof *sum);
    uint32_t seed;
    tt_seed_sequence(b->seed, NULL, 0, &seed, 1);
    draw(b, seed, w);
    const float deviation = (float)sqrt(b->variance);
    for (int64_t k = 0; k < b->n; k++) w[k] *= deviation;
    node at = make_node(b->start, b->end, 0, 0);
    while (from > at.start || to < at.end) {
        split(b, &at, w, right);
        if (to <= at.middle) {
            at = left_of(&at);
        } else if (from >= at.middle) {
            copy(b, w, right);
            at = right_of(&at);
        } else {
            copy(b, other, right);
            add_tail(b, left_of(&at), from, w, right, sum);
            add_head(b, right_of(&at), to, other, right, sum);
            return;
        }
    }
    add(b, sum, w);
}

void tt_brownian_init(tt_brownian *b, tt_noise_kind kind, uint64_t seed, float sigma_min,
                      float sigma_max, int64_t n, float *buffers) {
    *b = (tt_brownian){.kind = kind,
                       .seed = seed,
                       .start = six_decimals(sigma_min),
                       .end = six_decimals(sigma_max),
                       .variance = (double)sigma_max - sigma_min,
                       .n = n,
                       .buffers = buffers};
}

static double clamp(const tt_brownian *b, double t) {
    return six_decimals(fmin(fmax(t, b->start), b->end));
}

void tt_brownian_fill(tt_brownian *b, float sigma_from, float sigma_to, float *out) {
    double from = clamp(b, fmin(sigma_from, sigma_to)), to = clamp(b, fmax(sigma_from, sigma_to));
    if (!(from < to)) {
        memset(out, 0, (size_t)b->n * sizeof *out);
        return;
    }
    gather(b, from, to, out);
    float norm = sqrtf(fabsf(sigma_to - sigma_from));
    if (sigma_from > sigma_to) norm = -norm; /* the path runs upwards */
    for (int64_t k = 0; k < b->n; k++) out[k] /= norm;
}
