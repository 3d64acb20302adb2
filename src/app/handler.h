/* From a checked request to picture files and to the job's output as JSON. worker.h has the whole way of a job. */
#ifndef TT_APP_HANDLER_H
#define TT_APP_HANDLER_H

#include "app/metadata.h"
#include "app/sink.h"

/* What a request became: the engine's result and one encoded file per picture, metadata inside. Request lifetime. */
typedef struct tt_app_made {
    tt_result result; /* owned */
    tt_buf *files;    /* owned, [result.n_pictures] */
    double encode_ms;
} tt_app_made;

/* Runs the engine and encodes its pictures: the two halves below. On failure there is nothing to release. */
tt_status tt_app_make(tt_engine *engine, const tt_app_request *request, tt_app_made *out,
                      tt_err *err);
tt_status tt_app_draw(tt_engine *engine, const tt_app_request *request, tt_app_made *out,
                      tt_err *err);
/* Fills in the files. On failure `made` is released. */
tt_status tt_app_encode(tt_engine *engine, const tt_app_request *request, tt_app_made *made,
                        tt_err *err);
void tt_app_made_release(tt_app_made *made);

/* Writes the output, {"image": "<base64>", "metadata": {...}}; for several pictures "images" and "seeds". Pictures go out
 * in pieces: no copy of one is made. */
tt_status tt_app_write_output(tt_engine *engine, const tt_app_request *request,
                              const tt_app_made *made, const tt_app_sink *sink, tt_err *err);

/* Appends {"error": "<sentence>"}; the sentence ends where it stops being UTF-8. */
tt_status tt_app_write_error(const char *sentence, tt_buf *out, tt_err *err);

#endif
