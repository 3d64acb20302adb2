/* Three normal streams, each a reimplementation of what torch does with a seed.
 *
 * CPU: MT19937 words become uniforms, and blocks of 16 uniforms become normals by Box-Muller: value
 * j (j < 8) and j + 8 share a radius from u1 = 1 - d[j] and an angle from d[j + 8]. A draw whose
 * size is no multiple of 16 makes its last 16 values again from 16 fresh words. A draw of fewer
 * than 16 takes another path: pairs of 53-bit uniforms in double precision, the second normal of a
 * pair kept for the next draw.
 *
 * CUDA: Philox4x32-10, Salmon et al. 2011. Element i of call c is counter (c, 0, i, 0) under the
 * seed as key; of its four words two are used.
 *
 * Logarithms and angles are computed in double and rounded once, so the numbers do not depend on
 * the machine's vector library; torch's own vectorised polynomials are up to 2e-6 away. */
#include "sample/noise.h"

#include <math.h>
#include <string.h>

static const double two_pi = 6.283185307179586476925286766559;

/* ---- MT19937 (Matsumoto and Nishimura 1998) ---- */

enum { MT_SHIFT = 397 };

static void mt_seed(tt_noise *g, uint32_t seed) {
    g->words[0] = seed;
    for (uint32_t i = 1; i < TT_NOISE_MT_WORDS; i++)
        g->words[i] = 1812433253u * (g->words[i - 1] ^ g->words[i - 1] >> 30) + i;
    g->next_word = TT_NOISE_MT_WORDS;
}

static void mt_twist(tt_noise *g) {
    for (int i = 0; i < TT_NOISE_MT_WORDS; i++) {
        uint32_t next = g->words[(i + 1) % TT_NOISE_MT_WORDS];
        uint32_t mixed = (g->words[i] & 0x80000000u) | (next & 0x7fffffffu);
        uint32_t twisted = mixed >> 1 ^ (next & 1 ? 0x9908b0dfu : 0);
        g->words[i] = g->words[(i + MT_SHIFT) % TT_NOISE_MT_WORDS] ^ twisted;
    }
    g->next_word = 0;
}

static uint32_t mt_next(tt_noise *g) {
    if (g->next_word == TT_NOISE_MT_WORDS) mt_twist(g);
    uint32_t y = g->words[g->next_word++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* ---- torch's normals from MT19937 ---- */

enum {
    BLOCK = 16,      /* normals made together; also the size from which torch takes that path */
    HALF_BLOCK = 8,  /* radii in a block, and angles */
    FLOAT_BITS = 24, /* of a word that make a float uniform */
    HALF_BITS = 11,  /* of a word that make a half uniform */
    DOUBLE_BITS = 53,
};

/* The nearest half-precision value, ties to even, subnormals included. */
static float round_to_half(double value) {
    enum { FRACTION_BITS = 10, MIN_EXPONENT = -14 };
    if (value == 0 || !isfinite(value)) return (float)value;
    int exponent = ilogb(value);
    if (exponent < MIN_EXPONENT) exponent = MIN_EXPONENT;
    return (float)scalbn(nearbyint(scalbn(value, FRACTION_BITS - exponent)),
                         exponent - FRACTION_BITS);
}

static float uniform(tt_noise *g, int bits) {
    return (float)(mt_next(g) & ((1u << bits) - 1)) / (float)(1u << bits);
}

static void box_muller_f32(float d[BLOCK]) {
    for (int j = 0; j < HALF_BLOCK; j++) {
        float u1 = 1.0f - d[j];
        double radius = sqrt(-2.0 * log(u1));
        double angle = two_pi * d[j + HALF_BLOCK];
        d[j] = (float)(radius * cos(angle));
        d[j + HALF_BLOCK] = (float)(radius * sin(angle));
    }
}

/* torch stores 1 - d, the radius, the angle and the result as halves, and computes in float. */
static void box_muller_f16(float d[BLOCK]) {
    for (int j = 0; j < HALF_BLOCK; j++) {
        float u1 = round_to_half(1.0f - d[j]);
        float radius = round_to_half(sqrtf(-2.0f * (float)log(u1)));
        float angle = round_to_half(two_pi * d[j + HALF_BLOCK]);
        d[j] = round_to_half(radius * (float)cos(angle));
        d[j + HALF_BLOCK] = round_to_half(radius * (float)sin(angle));
    }
}

typedef void (*box_muller_fn)(float d[BLOCK]);

static void fill_blocks(tt_noise *g, float *out, int64_t n, int bits, box_muller_fn box_muller) {
    for (int64_t i = 0; i < n; i++) out[i] = uniform(g, bits);
    for (int64_t i = 0; i + BLOCK <= n; i += BLOCK) box_muller(out + i);
    if (n % BLOCK == 0) return;
    float *last = out + n - BLOCK;
    for (int i = 0; i < BLOCK; i++) last[i] = uniform(g, bits);
    box_muller(last);
}

static double uniform_double(tt_noise *g) {
    uint64_t high = mt_next(g);
    uint64_t word = high << 32 | mt_next(g);
    return scalbn((double)(word & ((UINT64_C(1) << DOUBLE_BITS) - 1)), -DOUBLE_BITS);
}

static double normal_double(tt_noise *g) {
    if (g->has_cached_normal) {
        g->has_cached_normal = false;
        return g->cached_normal;
    }
    double angle = two_pi * uniform_double(g);
    double radius = sqrt(-2.0 * log1p(-uniform_double(g)));
    g->cached_normal = radius * sin(angle);
    g->has_cached_normal = true;
    return radius * cos(angle);
}

static void fill_mt(tt_noise *g, float *out, int64_t n, bool half) {
    if (n >= BLOCK) {
        fill_blocks(g, out, n, half ? HALF_BITS : FLOAT_BITS,
                    half ? box_muller_f16 : box_muller_f32);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        double value = normal_double(g);
        out[i] = half ? round_to_half(value) : (float)value;
    }
}

/* ---- Philox4x32-10 ---- */

enum { PHILOX_ROUNDS = 10 };

static void philox(uint32_t counter[4], uint64_t seed) {
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * counter[0];
        uint64_t b = (uint64_t)0xcd9e8d57u * counter[2];
        counter[0] = (uint32_t)(b >> 32) ^ counter[1] ^ key[0];
        counter[2] = (uint32_t)(a >> 32) ^ counter[3] ^ key[1];
        counter[1] = (uint32_t)b;
        counter[3] = (uint32_t)a;
        key[0] += 0x9e3779b9u;
        key[1] += 0xbb67ae85u;
    }
}

/* CUDA's uniforms are floats in (0, 1]: the middle of each of 2^32 cells. Its angle goes with a
 * sine first. */
static void fill_philox(tt_noise *g, float *out, int64_t n) {
    const float cell = 0x1p-32f;
    const float angle_cell = cell * (float)two_pi;
    for (int64_t i = 0; i < n; i++) {
        uint32_t words[4] = {g->n_calls, 0, (uint32_t)i, 0};
        philox(words, g->seed);
        float u = (float)words[0] * cell + cell / 2;
        float angle = (float)words[1] * angle_cell + angle_cell / 2;
        out[i] = (float)(sqrt(-2.0 * log(u)) * sin(angle));
    }
    g->n_calls++;
}

/* ---- the contract ---- */

void tt_noise_init(tt_noise *g, tt_noise_kind kind, uint64_t seed) {
    memset(g, 0, sizeof *g);
    g->kind = kind;
    g->seed = seed;
    if (kind != TT_NOISE_CUDA) mt_seed(g, (uint32_t)seed);
}

static void fill(tt_noise *g, float *out, int64_t n, bool half) {
    if (n <= 0) return;
    if (g->kind == TT_NOISE_CUDA)
        fill_philox(g, out, n);
    else
        fill_mt(g, out, n, half);
}

void tt_noise_fill(tt_noise *g, float *out, int64_t n) {
    fill(g, out, n, g->kind == TT_NOISE_CPU_F16);
}

void tt_noise_fill_f32(tt_noise *g, float *out, int64_t n) {
    fill(g, out, n, false);
}

static const char *const kind_names[] = {
    [TT_NOISE_CPU_F32] = "cpu", [TT_NOISE_CPU_F16] = "cpu-f16", [TT_NOISE_CUDA] = "cuda"};

enum { KIND_COUNT = sizeof kind_names / sizeof kind_names[0] };

tt_status tt_noise_kind_parse(const char *name, tt_noise_kind *out, tt_err *err) {
    if (!name) name = kind_names[TT_NOISE_CPU_F32];
    for (int i = 0; i < KIND_COUNT; i++) {
        if (strcmp(name, kind_names[i]) != 0) continue;
        *out = (tt_noise_kind)i;
        return TT_OK;
    }
    return tt_fail(err, TT_E_INVALID, "noise: expected cpu, cpu-f16 or cuda, found \"%.40s\"",
                   name);
}

const char *tt_noise_kind_name(tt_noise_kind kind) {
    return kind_names[kind];
}
