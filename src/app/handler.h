/* A job's whole way through the engine: request -> pixels -> picture files -> the answer as JSON. */
#ifndef TT_APP_HANDLER_H
#define TT_APP_HANDLER_H

#include "app/metadata.h"

/* What a request became: the engine's result and one encoded file per picture, metadata inside. Request lifetime. */
typedef struct tt_app_made {
    tt_result result; /* owned */
    tt_buf *files;    /* owned, [result.n_pictures] */
    double encode_ms;
} tt_app_made;

/* Runs the engine and encodes its pictures. On failure there is nothing to release. */
tt_status tt_app_make(tt_engine *engine, const tt_app_request *request, tt_app_made *out,
                      tt_err *err);
void tt_app_made_release(tt_app_made *made);

/* Encodes pictures that are already there, one file each into `files`, which the caller inits and releases. */
tt_status tt_app_encode(const tt_app_facts *facts, tt_buf *files, tt_err *err);

/* Appends {"output": {"image": "<base64>", "metadata": {...}}}; for several pictures "images" and "seeds". */
tt_status tt_app_write_output(const tt_app_facts *facts, const tt_buf *files, tt_buf *out,
                              tt_err *err);

/* Appends {"error": "<sentence>"}; the sentence ends where it stops being UTF-8. */
tt_status tt_app_write_error(const char *sentence, tt_buf *out, tt_err *err);

/* One job from its JSON text to the text of its answer, appended to `out`: {"output": ...} for TT_OK and {"error":
 * ...} for anything else, except when memory for the answer itself is gone. `base` has what flags and environment
 * say; progress may be NULL. */
tt_status tt_app_handle(tt_engine *engine, const tt_settings *base, const char *job, size_t size,
                        tt_progress_fn progress, void *progress_context, tt_buf *out, tt_err *err);

#endif
