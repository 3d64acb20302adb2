/* The one model that is open. Another one takes its place: its files are found first, so that a model that cannot be had costs
 * nothing; then the old one is closed, for two seldom fit into memory; then the new one is opened. Where there is no room for
 * both on disk the old one is closed first, and may go. A file of the store that the engine cannot read is compared with its
 * digest; one that is spoilt is found, that is fetched, again.
 *
 * One thread at a time. */
#ifndef TT_APP_RESIDENT_H
#define TT_APP_RESIDENT_H

#include "app/models.h"
#include "app/settings.h"
#include "tintype/engine.h"

/* What is to be open: paths or references. Borrowed. */
typedef struct tt_app_wish {
    const char *model, *vae, *refiner; /* NULL: none said; the model's own; none */
} tt_app_wish;

/* A flag beats the preset of the settings, which beats the environment and what else stands in `base`. */
void tt_app_wish_read(const tt_settings *s, const tt_engine_options *base, tt_app_wish *out);

enum { TT_APP_PARTS = 3 };

typedef struct tt_app_resident {
    tt_engine_options base;      /* all but the paths; strings borrowed */
    const tt_app_models *models; /* borrowed: they hold the files */
    tt_engine *engine;           /* owned; NULL: none is open */
    tt_app_found model, vae, refiner;
    char wished[TT_APP_PARTS][TT_MODEL_PATH_BYTES]; /* of what is open */
    char doubted[TT_DIGEST_HEX + 1];                /* the last model whose bytes were read again */
} tt_app_resident;

bool tt_app_resident_is(const tt_app_resident *r, const tt_app_wish *wish);
/* TT_OK at once where it is open already. After a failure to find a file the old model is still open; after a failure to
 * open, none is, and `model`, `vae`, `refiner` say what could not be opened. fetching may be NULL. */
tt_status tt_app_resident_open(tt_app_resident *r, const tt_app_wish *wish,
                               tt_app_fetching_fn fetching, void *fetching_context, tt_err *err);
void tt_app_resident_close(tt_app_resident *r); /* all zero is fine */

#endif
