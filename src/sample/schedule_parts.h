/* Inside the room: what the two files of schedules share. */
#ifndef TT_SAMPLE_SCHEDULE_PARTS_H
#define TT_SAMPLE_SCHEDULE_PARTS_H

#include "sample/schedule.h"

/* One schedule in the making. */
typedef struct tt__schedule {
    const tt_schedule_request *request;
    const tt_training *training;
    const tt_noise_table *table;
    float *timesteps, *sigmas; /* filled: [count] each, the final 0 comes after */
    int count;                 /* request->steps, unless the schedule says otherwise */
    bool whole_range;          /* ramps run over the whole table, timesteps are not rounded */
} tt__schedule;

/* numpy.linspace(start, end, count)[i]. */
double tt__linspace(double start, double end, int count, int i);

/* The point x of Beta(a, a) with that much below it: scipy.stats.beta.ppf(share, a, a). */
double tt__beta_point(double share, double a);

/* The i-th of count sigmas between two ends, spread as Beta(0.6, 0.6). */
double tt__beta_at(double max, double min, int count, int i);

/* The schedules of schedule_curves.c; false when the name is none of them. */
bool tt__schedule_curve(tt__schedule *s, const char *name);

#endif
