/* Memory of freed weights, kept for new ones of the same size while somebody exchanges many of them: fresh memory is cleared by
 * the system page by page, which can take longer than packing. Inner part of ops.h: see tt_ops_recycle_begin. */
#ifndef TT_TENSOR_SPARE_H
#define TT_TENSOR_SPARE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct tt_spare_block tt_spare_block;

/* Several threads may take and put. */
typedef struct tt_spare {
    pthread_mutex_t mutex;
    bool keeps;            /* set while only one thread is at work */
    tt_spare_block *first; /* owned list; of all threads, under the mutex */
} tt_spare;

void tt_spare_init(tt_spare *s);
void tt_spare_release(tt_spare *s);
void tt_spare_begin(tt_spare *s);
void tt_spare_end(tt_spare *s); /* frees what nobody took */

/* Memory as from tt_alloc_aligned, owned by the caller; NULL: none of this size. */
void *tt_spare_take(tt_spare *s, size_t size_bytes);
/* False: not wanted, the caller frees it. */
bool tt_spare_put(tt_spare *s, void *p, size_t size_bytes);

#endif
