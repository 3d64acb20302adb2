/* Whole pictures through the public API, for test programs. Failures fail the running test. */
#ifndef TT_SUPPORT_GOLDEN_ENGINE_H
#define TT_SUPPORT_GOLDEN_ENGINE_H

#include <json-c/json.h>

#include "support/golden_model.h"
#include "tintype/engine.h"

typedef struct tt_golden_engine_options {
    const char *model; /* of tests/golden/data/models; NULL: the shipped model */
    tt_golden_layout layout;
    tt_precision precision;
    tt_device device;       /* 0: the CPU */
    const char *prediction; /* NULL: the model's */
    int n_threads;          /* 0: 1 */
} tt_golden_engine_options;

tt_engine *tt_golden_engine(const tt_golden_engine_options *options);

/* The request of a row of expected/pictures.json; strings are borrowed from it. */
tt_request tt_golden_request(json_object *row);

tt_result tt_golden_generate(tt_engine *engine, const tt_request *request);

/* Fails unless the two pictures are the same bytes; `what` starts the message. */
void tt_golden_same_picture(const tt_picture *a, const tt_picture *b, const char *what);

double tt_golden_picture_psnr(const tt_picture *a, const tt_picture *b);

/* The least likeness in dB of f32 pictures to diffusers'. */
#define TT_GOLDEN_SMALLEST_PSNR 60.0
/* Whether `found` is as near to the row's picture, expected/<folder>/<id>.npy; says how near it is. */
bool tt_golden_picture_is_near(const char *folder, json_object *row, const tt_picture *found);

#endif
