/* Time: monotonic for durations, never wall-clock arithmetic. */
#ifndef TT_BASE_CLOCK_H
#define TT_BASE_CLOCK_H

#include <stdint.h>

int64_t tt_clock_us(void); /* monotonic microseconds since an arbitrary start */
int64_t tt_clock_ms(void); /* the same clock in milliseconds */

#endif
