/* How a job ended, put together from what its handler said: pieces to one blob, chunks to a list, a report for what went
 * wrong. Nothing is parsed, and the output's memory is handed on as it is. */
#include <string.h>

#include "base/clock.h"
#include "worker/dispatch_parts.h"
#include "worker/error_report.h"

static tt_blob *report(tt_dispatch *d, const char *type, const char *message) {
    tt_error_report r = {type, message, d->options.hostname, d->options.worker_id};
    tt_buf text;
    tt_blob *blob;
    tt_buf_init(&text, TT_MAX_JOB_OUTPUT_BYTES);
    tt_status status = tt_error_report_append(&text, &r, NULL);
    if (status == TT_OK) status = tt_blob_take(&text, &blob, NULL);
    tt_buf_release(&text);
    return status == TT_OK ? blob : tt_blob_hold(d->no_memory);
}

/* NULL when there is nothing; *failed when there is, and no memory for it. */
static tt_blob *take(tt_buf *text, bool *failed) {
    tt_blob *blob = NULL;
    if (text->size > 0 && tt_blob_take(text, &blob, NULL) != TT_OK) *failed = true;
    return blob;
}

static tt_blob *take_list(tt__run *run, bool *failed) {
    if (run->chunks.size == 0 && tt_buf_puts(&run->chunks, "[", NULL) != TT_OK) *failed = true;
    if (tt_buf_puts(&run->chunks, "]", NULL) != TT_OK) *failed = true;
    return take(&run->chunks, failed);
}

/* What the handler said, as it is. */
static void take_answer(tt_dispatch *d, tt__run *run, const tt__ending *ending, tt_final *final) {
    bool failed = false;
    bool has_output = run->failure.code == TT_OK && !(ending->end_flags & TT_END_NO_OUTPUT);
    if (run->failure.code != TT_OK)
        final->error = report(d, "OutputTooLarge", run->failure.message);
    else
        final->error = take(&run->error, &failed);
    if (has_output && !final->is_stream)
        final->output = take(&run->output, &failed);
    else if (has_output && !final->error)
        final->output = take_list(run, &failed);
    if (!failed) return;
    tt_blob_release(final->output);
    tt_blob_release(final->error);
    final->output = NULL;
    final->error = tt_blob_hold(d->no_memory);
}

tt_final tt__dispatch_final(tt_dispatch *d, tt__run *run, const tt__ending *ending) {
    tt_final final = {.is_stream = d->options.is_streaming};
    final.stops_pod = d->options.refresh_worker || (ending->end_flags & TT_END_REFRESH_WORKER) != 0;
    if (ending->is_stopped || run->is_stopped) return final;
    if (ending->error_type)
        final.error = report(d, ending->error_type, ending->error_message);
    else
        take_answer(d, run, ending, &final);
    return final;
}
