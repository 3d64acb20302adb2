/* Presets: settings under a name, in one JSON file that people without code can edit. docs/presets.md is for them.
 *
 *     {"default": "portrait",
 *      "policy": {"loras": "listed", "fetch": "start"},
 *      "presets": {"portrait": {
 *          "checkpoint": "civitai:128078",
 *          "loras": [{"name": "detail", "source": "civitai:62833", "scale": 0.6}],
 *          "defaults": {"steps": 24, "cfg_scale": 4.5},
 *          "limits": {"max_steps": 40}}}}
 *
 * The file's whole form is one table (presets_shape.c), from which the check and the published schema are made. A file with
 * any mistake is refused whole, with every mistake and its place. What opened is immutable and may be shared by threads. */
#ifndef TT_APP_PRESETS_H
#define TT_APP_PRESETS_H

#include <json-c/json.h>

#include "app/problems.h"
#include "app/settings.h"
#include "base/log.h"
#include "store/reference.h"

enum {
    TT_MAX_PRESETS = 256,
    TT_MAX_PRESET_LORAS = 64, /* listed, most of them inactive */
    TT_MAX_PRESET_EMBEDDINGS = 64,
    TT_MAX_PRESETS_BYTES = 1 << 20,
};

/* A file that a preset names. Strings are owned by the presets. */
typedef struct tt_preset_model {
    const char *name;   /* what requests and results call it; NULL for checkpoints and the like */
    const char *source; /* a reference; a file's path is made absolute */
} tt_preset_model;

/* No limit but the program's own: 0; -1 for LoRAs. */
typedef struct tt_preset_limits {
    int max_steps, max_images, max_loras;
    int64_t max_pixels;
    double max_lora_scale;
} tt_preset_limits;

typedef struct tt_preset {
    const char *name, *description;           /* "" without one */
    tt_preset_model checkpoint, vae, refiner; /* source NULL: not said */
    /* the list as it is written, with sources made absolute; NULL: none. See request_loras.c */
    json_object *loras;
    const tt_preset_model *embeddings; /* [n_embeddings] */
    int n_embeddings;
    json_object *defaults; /* an object of job fields; NULL */
    tt_preset_limits limits;
} tt_preset;

typedef enum tt_preset_fetch { TT_FETCH_AT_START, TT_FETCH_AT_FIRST_USE } tt_preset_fetch;

typedef struct tt_presets tt_presets;

/* TT_E_INVALID with problems when there are any; TT_E_NOT_FOUND, TT_E_IO for the file itself. `path` stands in front of
 * each problem: "tintype.json:4:17: presets.portrait.stpes: ...". */
tt_status tt_presets_open(const char *path, tt_presets **out, tt_problems *problems, tt_err *err);
tt_status tt_presets_parse(const char *text, size_t size, const char *path, tt_presets **out,
                           tt_problems *problems, tt_err *err);
tt_presets *tt_presets_share(tt_presets *p); /* one holder more */
void tt_presets_release(tt_presets *p);      /* NULL is fine */

int tt_presets_count(const tt_presets *p);
const tt_preset *tt_presets_at(const tt_presets *p, int i);
/* NULL or "": the default preset, and where there is none TT_E_INVALID with the names. */
tt_status tt_presets_find(const tt_presets *p, const char *name, const tt_preset **out,
                          tt_err *err);
const char *tt_presets_default(const tt_presets *p); /* NULL: none */
tt_preset_fetch tt_presets_fetch(const tt_presets *p);

/* Whether a request may name a model itself: policy "open", and the kind of source, and for URLs their beginning. */
tt_status tt_presets_allow(const tt_presets *p, const tt_reference *reference, tt_err *err);

/* Sets the preset's defaults as TT_FROM_PRESET and hands its LoRAs and limits to the reading of the request. The preset is
 * borrowed until the settings are released. */
void tt_settings_use_preset(tt_settings *s, const tt_preset *preset);
/* Uses the preset that the settings name, or the default one. Fails as tt_presets_find. */
tt_status tt_settings_choose_preset(tt_settings *s, const tt_presets *p, tt_problems *problems,
                                    tt_err *err);

/* The JSON schema (draft 2020-12) of such a file. */
tt_status tt_presets_schema(tt_buf *out, tt_err *err);

/* ---- a file that may change while it is used ---- */

typedef struct tt_presets_watch tt_presets_watch;

/* Opens the file; fails as tt_presets_open. path and log are borrowed. */
tt_status tt_presets_watch_new(const char *path, const tt_log *log, tt_presets_watch **out,
                               tt_problems *problems, tt_err *err);
void tt_presets_watch_free(tt_presets_watch *w); /* NULL is fine */
/* What holds now; release it. Reads the file again where its size, time or inode changed, or after a poke. A file that became
 * wrong changes nothing but the log. Any thread. */
tt_presets *tt_presets_watch_get(tt_presets_watch *w);
void tt_presets_watch_poke(tt_presets_watch *w); /* any thread, also a signal handler */

#endif
