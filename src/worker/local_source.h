/* Jobs from a queue of this process (serve mode), as a source. Listens to the queue; claims as slots free up. */
#ifndef TT_WORKER_LOCAL_SOURCE_H
#define TT_WORKER_LOCAL_SOURCE_H

#include "base/log.h"
#include "job/queue.h"
#include "net/loop.h"
#include "worker/source.h"

typedef struct tt_local_source tt_local_source;

/* loop, log, queue are borrowed. worker_id is copied. */
tt_status tt_local_source_new(tt_loop *loop, const tt_log *log, tt_queue *queue,
                              const char *worker_id, tt_local_source **out, tt_err *err);
void tt_local_source_free(tt_local_source *s);
tt_source *tt_local_source_source(tt_local_source *s);
void tt_local_source_start(tt_local_source *s, tt_dispatch *dispatch);

#endif
