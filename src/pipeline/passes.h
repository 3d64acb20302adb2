/* The passes behind a request's first one, each a tt_generation of its own in `next` that goes on from the latents of the one before. */
#ifndef TT_PIPELINE_PASSES_H
#define TT_PIPELINE_PASSES_H

#include "pipeline/parts.h"

/* hires.c: a second pass in a larger size. The check's part of tt_request_check. */
tt_status tt__check_hires(const tt_request *r, tt_err *err);
/* Adds the pass, if the request wants it: sizes and sampler are then to be found for it too... */
tt_status tt__hires_open(tt_generation *g, tt_err *err);
/* ...with the texts read, gives it its words and its memory; nothing to do without the pass... */
tt_status tt__hires_read(tt_generation *g, tt_err *err);
/* ...and with g's latents done, makes what g->next starts from. */
tt_status tt__hires_enlarge(tt_generation *g, tt_err *err);
bool tt__is_decoded(const tt_generation *g); /* whether g's latents become a picture */

/* NULL: there is no such pass. */
static inline tt_generation *tt__enlarged(const tt_generation *g) {
    return g->next && !g->next->before ? g->next : NULL;
}

/* refiner.c: another model for the last steps. */
tt_status tt__refiner_open(tt_engine *e, const char *path, tt_err *err); /* after the base model */
void tt__refiner_close(tt_engine *e);
tt_status tt__check_refiner(const tt_request *r, tt_err *err); /* part of tt_request_check */
/* Adds the pass behind all others, if the request wants it... */
tt_status tt__refiner_add(tt_generation *g, tt_err *err);
/* ...says which part of the steps is p's, which may be any pass... */
void tt__refiner_part(const tt_generation *p, tt_sampler_options *options);
/* ...with g's texts read, reads them too; nothing to do without the pass... */
tt_status tt__refiner_read(tt_generation *g, tt_err *err);
/* ...and has the buffers of the pass before, and gives them up: nothing to do for other passes. */
void tt__refiner_share(tt_generation *p);
void tt__refiner_unshare(tt_generation *p);

#endif
