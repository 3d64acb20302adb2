/* See queue.h: what every implementation shares. */
#include "job/queue.h"

#include "base/alloc.h"

void tt_job_view_release(tt_job_view *view) {
    tt_blob_release(view->envelope);
    tt_blob_release(view->progress);
    tt_blob_release(view->output);
    tt_blob_release(view->error);
    tt_free(view->webhook);
    *view = (tt_job_view){.envelope = NULL};
}
