/* From settings to what the engine is asked: every field checked, every fault reported. */
#ifndef TT_APP_REQUEST_H
#define TT_APP_REQUEST_H

#include "app/settings.h"
#include "tintype/engine.h"

/* A field of the job that had no effect, and why; static strings. */
typedef struct tt_app_unused {
    const char *field, *why;
} tt_app_unused;
enum { TT_APP_MAX_UNUSED = 4 }; /* rows of type TT_OPTION_UNUSED, and room */

/* Texts are borrowed from the settings it was read from, or static. Nothing to release. */
typedef struct tt_app_request {
    tt_request engine;  /* progress is the caller's to add */
    const char *format; /* "png", "jpeg" or "webp" */
    int quality;        /* 1..100; 0: the format's default */
    tt_app_unused unused[TT_APP_MAX_UNUSED];
    int n_unused;
} tt_app_request;

/* `model` is what tt_request_defaults gives for the engine that will do the work, or for NULL to
 * check early. A seed that nobody chose is drawn from the system, below 2^32. TT_E_INVALID when
 * there are problems (those that came in included). */
tt_status tt_app_request_read(const tt_settings *s, const tt_request *model, tt_app_request *out,
                              tt_problems *problems, tt_err *err);

/* The engine's side of the settings: model, precision, device... The model path stays NULL when
 * nobody named one. */
tt_status tt_app_engine_read(const tt_settings *s, tt_engine_options *out, tt_problems *problems,
                             tt_err *err);

#endif
