/* Time: monotonic for durations, never wall-clock arithmetic. */
#ifndef TT_BASE_CLOCK_H
#define TT_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

int64_t tt_clock_us(void); /* monotonic microseconds since an arbitrary start */
int64_t tt_clock_ms(void); /* the same clock in milliseconds */

/* As pthread_cond_init, of a condition whose timed waits count by this clock... */
int tt_clock_condition_init(pthread_cond_t *condition);
/* ...and until when such a wait lasts: at_ms of tt_clock_ms. */
struct timespec tt_clock_moment(int64_t at_ms);

#endif
