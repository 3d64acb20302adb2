/* Published curves: each gives sigmas (or table entries), and the timesteps follow from the table. */
#include <math.h>
#include <string.h>

#include "sample/schedule_parts.h"

static void take_sigma(tt__schedule *s, int i, double sigma) {
    s->sigmas[i] = (float)sigma;
    s->timesteps[i] = (float)tt_noise_table_timestep(s->table, sigma);
}

static void take_entry(tt__schedule *s, int i, int entry) {
    s->sigmas[i] = s->table->sigmas[entry];
    s->timesteps[i] = (float)entry;
}

/* ---- Beta Sampling is All You Need (Lee et al. 2024) ---- */

static const double beta_shape = 0.6;

/* The continued fraction of the incomplete beta function, by Lentz's method (Abramowitz and Stegun
 * 26.5.8). Converges fast for x < (a + 1) / (2a + 2). */
static double beta_fraction(double x, double a) {
    enum { MOST_TERMS = 200 }; /* 20 or so are enough */
    static const double tiny = 1e-300, enough = 1e-16;
    double c = 1, d = 1 / (1 - 2 * a * x / (a + 1)), result = d;
    for (int m = 1; m <= MOST_TERMS; m++) {
        double even = m * (a - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (2 * a + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + even * d + tiny), c = 1 + even / c + tiny;
        result *= d * c;
        d = 1 / (1 + odd * d + tiny), c = 1 + odd / c + tiny;
        result *= d * c;
        if (fabs(d * c - 1) < enough) break;
    }
    return result;
}

/* The regularised incomplete beta function I_x(a, a). */
static double beta_share(double x, double a) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    double front = tgamma(2 * a) / (tgamma(a) * tgamma(a)) * exp(a * (log(x) + log1p(-x)));
    if (x < 0.5) return front * beta_fraction(x, a) / a;
    return 1 - front * beta_fraction(1 - x, a) / a;
}

/* The share rises with x, and is symmetric; bisected in the lower half, where numbers are dense. */
double tt__beta_point(double share, double a) {
    enum { HALVINGS = 1100 }; /* until low and high are neighbours, from the least number on */
    if (share <= 0) return 0;
    if (share == 0.5) return 0.5;
    if (share > 0.5) return 1 - tt__beta_point(1 - share, a);
    double low = 0, high = 0.5;
    for (int i = 0; i < HALVINGS; i++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high) break;
        if (beta_share(middle, a) < share)
            low = middle;
        else
            high = middle;
    }
    return high;
}

double tt__beta_at(double max, double min, int count, int i) {
    double share = 1 - tt__linspace(0, 1, count, i);
    return min + tt__beta_point(share, beta_shape) * (max - min);
}

/* ComfyUI's: over table entries, a repeated one only once. */
static void make_beta_entries(tt__schedule *s) {
    int steps = s->request->steps, last = -1;
    s->count = 0;
    for (int i = 0; i < steps; i++) {
        double share = 1 - (double)i / steps;
        int entry = (int)nearbyint(tt__beta_point(share, beta_shape) * (s->table->count - 1));
        if (entry != last) take_entry(s, s->count++, entry);
        last = entry;
    }
}

/* ---- Align Your Steps (Sabour et al. 2024), the published list for SDXL ---- */

static const double ays_sigmas[] = {14.615, 6.315, 3.771, 2.181, 1.342, 0.862,
                                    0.555,  0.380, 0.234, 0.113, 0.029};
enum { AYS_POINTS = sizeof ays_sigmas / sizeof ays_sigmas[0] };

static double ays_at(int count, int i) {
    double at = tt__linspace(0, AYS_POINTS - 1, count, i);
    int below = at < AYS_POINTS - 1 ? (int)at : AYS_POINTS - 2;
    double weight = at - below;
    return exp((1 - weight) * log(ays_sigmas[below]) + weight * log(ays_sigmas[below + 1]));
}

/* The list is eleven noise levels for ten steps, the last standing for none. A1111 makes as many
 * levels as steps and adds 0. */
static void make_ays(tt__schedule *s) {
    int steps = s->request->steps;
    int levels = s->request->compat == TT_COMPAT_A1111 ? steps : steps + 1;
    for (int i = 0; i < steps; i++) take_sigma(s, i, ays_at(levels, i));
}

/* ---- the others ---- */

static void make_kl_optimal(tt__schedule *s) {
    double from = atan(s->table->sigmas[s->table->count - 1]), to = atan(s->table->sigmas[0]);
    int steps = s->request->steps;
    for (int i = 0; i < steps; i++) {
        double share = tt__linspace(0, 1, steps, i);
        take_sigma(s, i, tan(share * to + (1 - share) * from));
    }
}

static void make_ddim_uniform(tt__schedule *s) {
    int stride = s->table->count / s->request->steps;
    if (stride < 1) stride = 1;
    s->count = (s->table->count - 2) / stride + 1;
    for (int i = 0; i < s->count; i++) take_entry(s, i, 1 + (s->count - 1 - i) * stride);
}

/* Shares of the way from the noisiest sigma to 0: the first half of the steps goes the first
 * `threshold` evenly, the rest a parabola that continues it with the same slope. */
static double linear_quadratic_share(int steps, int i) {
    static const double threshold = 0.025;
    if (steps == 1) return 0;
    int linear = steps / 2, rest = steps - linear;
    if (i < linear) return i * threshold / linear;
    double excess = linear - threshold * steps;
    double square = excess / ((double)linear * rest * rest);
    double slope = threshold / linear - 2 * excess / ((double)rest * rest);
    return square * i * i + slope * i + square * linear * linear;
}

static void make_linear_quadratic(tt__schedule *s) {
    double max = s->table->sigmas[s->table->count - 1];
    int steps = s->request->steps;
    for (int i = 0; i < steps; i++) take_sigma(s, i, (1 - linear_quadratic_share(steps, i)) * max);
}

bool tt__schedule_curve(tt__schedule *s, const char *name) {
    static const struct {
        const char *name;
        void (*make)(tt__schedule *s);
    } curves[] = {{"beta", make_beta_entries},
                  {"ays", make_ays},
                  {"kl_optimal", make_kl_optimal},
                  {"ddim_uniform", make_ddim_uniform},
                  {"linear_quadratic", make_linear_quadratic}};
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++) {
        if (strcmp(name, curves[i].name) != 0) continue;
        curves[i].make(s);
        return true;
    }
    return false;
}
