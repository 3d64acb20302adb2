/* Jobs from a queue of this process (serve mode), as a source. Listens to the queue; claims as slots free up. */
#ifndef TT_WORKER_LOCAL_SOURCE_H
#define TT_WORKER_LOCAL_SOURCE_H

#include "base/log.h"
#include "job/queue.h"
#include "net/loop.h"
#include "worker/source.h"

typedef struct tt_local_source tt_local_source;

/* loop, log, queue are borrowed. worker_id is copied. Free it when nothing changes the queue any more, before the loop. */
tt_status tt_local_source_new(tt_loop *loop, const tt_log *log, tt_queue *queue,
                              const char *worker_id, tt_local_source **out, tt_err *err);
void tt_local_source_free(tt_local_source *s);
tt_source *tt_local_source_source(tt_local_source *s);
/* Claims begin; again after a restart is harmless. */
void tt_local_source_start(tt_local_source *s, tt_dispatch *dispatch);

#endif
