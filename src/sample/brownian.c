/* A query is the difference of the path at its two ends, each found by one descent from the whole range.
 * Both ends add up the same nodes until they part, in double precision: their difference loses no digits.
 * The two ends asked for last are remembered, since a step begins where the last one ended. */
#include "sample/brownian.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample/seed_sequence.h"

typedef struct node {
    double start, end, middle;
    /* 0 left, 1 right, as a binary number; and how many of them */
    uint32_t place[TT_SEED_PATH_MAX];
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

static void add(const tt_brownian *b, double *sum, const float *w) {
    for (int64_t k = 0; k < b->n; k++) sum[k] += (double)w[k];
}

/* sum = the path at t, counted from the start of the range. */
static void descend(const tt_brownian *b, double t, double *sum) {
    float *w = b->scratch, *right = w + b->n;
    memset(sum, 0, (size_t)b->n * sizeof *sum);
    uint32_t seed;
    tt_seed_sequence(b->seed, NULL, 0, &seed, 1);
    draw(b, seed, w);
    const float deviation = (float)sqrt(b->variance);
    for (int64_t k = 0; k < b->n; k++) w[k] *= deviation;
    node at = make_node(b->start, b->end, 0, 0);
    while (t > at.start && t < at.end) {
        split(b, &at, w, right);
        if (t < at.middle) {
            at = left_of(&at);
            continue;
        }
        add(b, sum, w);
        memcpy(w, right, (size_t)b->n * sizeof *w);
        at = right_of(&at);
    }
    if (t >= at.end) add(b, sum, w);
}

/* The path at t, in one of the two places where ends are remembered, and not where `kept` is. */
static int find_end(tt_brownian *b, double t, int kept) {
    for (int i = 0; i < TT_BROWNIAN_ENDS; i++)
        if (b->knows_end[i] && b->ends[i] == t) return i;
    int place = kept >= 0 ? 1 - kept : 0;
    descend(b, t, b->paths + place * b->n);
    b->knows_end[place] = true;
    b->ends[place] = t;
    return place;
}

void tt_brownian_init(tt_brownian *b, tt_noise_kind kind, uint64_t seed, float sigma_min,
                      float sigma_max, int64_t n, float *scratch, double *paths) {
    *b = (tt_brownian){.kind = kind,
                       .seed = seed,
                       .start = six_decimals(sigma_min),
                       .end = six_decimals(sigma_max),
                       .variance = (double)sigma_max - sigma_min,
                       .n = n,
                       .scratch = scratch,
                       .paths = paths};
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
    /* The end that is remembered is looked up first, so that the other takes the free place. */
    bool knows_to = (b->knows_end[0] && b->ends[0] == to) || (b->knows_end[1] && b->ends[1] == to);
    int first = find_end(b, knows_to ? to : from, -1);
    int second = find_end(b, knows_to ? from : to, first);
    const double *upper = b->paths + (knows_to ? first : second) * b->n;
    const double *lower = b->paths + (knows_to ? second : first) * b->n;
    float norm = sqrtf(fabsf(sigma_to - sigma_from));
    if (sigma_from > sigma_to) norm = -norm; /* the path runs upwards */
    for (int64_t k = 0; k < b->n; k++) out[k] = (float)(upper[k] - lower[k]) / norm;
}
