/* From settings to what the engine is asked: every field checked, every fault reported.
 *
 *     tt_app_request_read     words and numbers; needs no file and no model
 *     tt_app_request_load     pictures, LoRAs, embeddings: opens files, and may fetch
 *     tt_app_request_release
 *
 * A program that opens its model late reads and loads once before, to tell what is wrong early, and again with the model's
 * defaults. */
#ifndef TT_APP_REQUEST_H
#define TT_APP_REQUEST_H

#include "app/models.h"
#include "app/settings.h"
#include "base/arena.h"
#include "image/image.h"
#include "image/pad.h"
#include "tintype/engine.h"

/* A field of the job that had no effect, and why; static strings. */
typedef struct tt_app_unused {
    const char *field, *why;
} tt_app_unused;
enum { TT_APP_MAX_UNUSED = 8 }; /* the calls of tt__request_unused, and room */

/* One entry of "loras", read but not found yet. Texts live in the request's memory. */
typedef struct tt_app_lora {
    const char *where;  /* what to call the entry in messages: "loras[0]" */
    const char *source; /* a name, a reference, a path */
    const char *name;   /* what results are to call it; NULL: what is found says */
    const char *parts;  /* as tt_request_adapter's; NULL */
    float scale;
    bool is_trusted; /* see tt_app_ask */
    bool is_off;     /* while it is read: listed by a preset, but not active */
} tt_app_lora;

/* A found file, until the request ends. */
typedef struct tt_app_held {
    tt_app_found found;
    const char *called; /* what results call it */
    struct tt_app_held *next;
} tt_app_held;

/* Texts are borrowed from the settings it was read from, static, or in `memory`. Once loaded it must stay where it is: the
 * engine's callback points to it. All zero is a released one. */
typedef struct tt_app_request {
    tt_request engine;  /* progress is the caller's to add */
    const char *format; /* "png", "jpeg" or "webp" */
    int quality;        /* 1..100; 0: the format's default */
    const char *recipe; /* NULL: none was named */
    const char *preset; /* its name, borrowed from the settings' preset; NULL: none */
    tt_app_lora *loras;
    int n_loras;
    tt_image_sides outpaint; /* all 0: none */
    tt_app_unused unused[TT_APP_MAX_UNUSED];
    int n_unused;
    tt_arena memory; /* owned */
    tt_image image;  /* owned; what engine.image points to */
    uint8_t *mask;   /* owned; what engine.mask points to */
    /* borrowed; what draws it, for results: the caller's to add; NULL. resident.h */
    const struct tt_app_resident *resident;
    tt_app_held *held;           /* in memory; released with the request */
    const tt_app_models *models; /* borrowed; where what is held came from */
} tt_app_request;

/* `model` is what tt_request_defaults gives for the engine that will do the work, or for NULL to
 * check early. A seed that nobody chose is drawn from the system, below 2^32. TT_E_INVALID when
 * there are problems (those that came in included). On failure there is nothing to release. */
tt_status tt_app_request_read(const tt_settings *s, const tt_request *model, tt_app_request *out,
                              tt_problems *problems, tt_err *err);

/* All borrowed until the request is released. */
typedef struct tt_app_loading {
    const tt_app_models *models; /* NULL: paths only */
    const tt_engine_info *info;  /* of the model that will do the work; NULL: not known yet */
    tt_app_fetching_fn fetching; /* may be NULL */
    void *fetching_context;
} tt_app_loading;

/* Opens what the request names: sets the picture, its mask and size, adapters, embeddings. TT_E_INVALID with problems; other
 * statuses for what is nobody's mistake (network, memory, TT_E_CANCELLED). On failure the request is released. */
tt_status tt_app_request_load(const tt_settings *s, const tt_app_loading *how, tt_app_request *r,
                              tt_problems *problems, tt_err *err);
void tt_app_request_release(tt_app_request *r);

/* The found file at this path, and of several the one that is called so; NULL. */
const tt_app_found *tt_app_request_held(const tt_app_request *r, const char *path,
                                        const char *called);
/* Takes the folders of found files out of a sentence that clients will read. */
void tt_app_request_hide_folders(const tt_app_request *r, tt_err *err);

/* The folders that the settings name; strings borrowed from them. A folder that is not there is a problem. */
void tt_app_folders_read(const tt_settings *s, tt_app_folders *out, tt_problems *problems);

/* The engine's side of the settings: model, precision, device... The model path stays NULL when
 * nobody named one. */
tt_status tt_app_engine_read(const tt_settings *s, tt_engine_options *out, tt_problems *problems,
                             tt_err *err);

#endif
