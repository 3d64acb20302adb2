/* One network of a test model, on one back-end: what test_text, test_unet and test_vae have in common. */
#ifndef TT_SUPPORT_GOLDEN_NETWORK_H
#define TT_SUPPORT_GOLDEN_NETWORK_H

#include "nn/loader.h"
#include "support/golden_model.h"

typedef struct tt_golden_setup { /* what to open */
    const char *model;
    tt_golden_layout layout;
    tt_backend_kind backend;
    tt_dtype dtype;
} tt_golden_setup;

typedef struct tt_golden_network {
    tt_checkpoint *checkpoint;
    tt_ops *ops;
    tt_loader *loader;
} tt_golden_network;

/* Opens checkpoint, back-end and loader; the caller then opens a network and runs the loader. Failures fail the test. */
void tt_golden_network_open(const tt_golden_setup *setup, tt_golden_network *out);
void tt_golden_network_close(tt_golden_network *n);

/* "kernel, ldm, cpu f32": for messages; valid until the next call. */
const char *tt_golden_setup_text(const tt_golden_setup *setup);

/* What the numbers must hold for, in f32: oneDNN on both layouts, the reference (slow) on one. */
enum { TT_GOLDEN_SETUPS = 3 };
tt_golden_setup tt_golden_setup_number(const char *model, int i);

/* [n, c, h, w] <-> [n, h, w, c] */
void tt_golden_to_nhwc(const float *in, float *out, int64_t n, int64_t c, int64_t h, int64_t w);
void tt_golden_to_nchw(const float *in, float *out, int64_t n, int64_t c, int64_t h, int64_t w);

/* Fails the test with the error's sentence. */
#define TT_GOLDEN_OK(call, err)                  \
    do {                                         \
        if (call) fail_msg("%s", (err).message); \
    } while (0)

#endif
