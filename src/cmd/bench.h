/* `tintype bench`: what this machine makes of a model, measured and told. */
#ifndef TT_CMD_BENCH_H
#define TT_CMD_BENCH_H

#include "tintype/engine.h"

/* Where a picture's time goes: operations[TT_OPERATION_KINDS] of total_ms. */
typedef struct tt__bench_part {
    const char *precision; /* of the products; attention is never below bf16 */
    double total_ms;
    tt_operation operations[TT_OPERATION_KINDS];
} tt__bench_part;

typedef struct tt__measured {
    tt_peak peak;
    const tt_engine_info *info; /* borrowed from the engine */
    int width, height, n_steps;
    double step_ms;      /* the median of the steps after the first; of one, that one */
    tt__bench_part step; /* a mean over the same steps */
    tt__bench_part vae;
    double square_share; /* of the attention of a step: what is between pixels, not text */
    tt_timings timings;
    size_t planned_bytes, peak_bytes;
} tt__measured;

/* How long 24 steps and the decode would take in another size: attention between pixels grows with the square of their number,
 * all else with their number. Far from the measured size it is a guess: what does not fit a cache there has not been seen. */
enum { TT__BENCH_PICTURE_STEPS = 24 };
double tt__bench_picture_ms(const tt__measured *b, int width, int height);

/* As tables for people, or as one JSON object. Each returns an exit code. */
int tt__bench_print(const tt__measured *b);
int tt__bench_print_json(const tt__measured *b);

int tt__bench(int argc,
              char **argv); /* argv starts after the command's name; returns the exit code */
int tt__bench_help(bool is_all);

#endif
