/* Opening a network the way the pipeline does, without the pipeline. */
#include "support/golden_network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { N_THREADS = 1 };

const char *tt_golden_setup_text(const tt_golden_setup *s) {
    static char text[64];
    snprintf(text, sizeof text, "%s, %s, %s %s", s->model,
             s->layout == TT_GOLDEN_LDM ? "ldm" : "folder",
             s->backend == TT_BACKEND_REF ? "ref" : "cpu", tt_dtype_name(s->dtype));
    return text;
}

tt_golden_setup tt_golden_setup_number(const char *model, int i) {
    static const tt_golden_layout layouts[] = {TT_GOLDEN_LDM, TT_GOLDEN_FOLDER, TT_GOLDEN_LDM};
    static const tt_backend_kind backends[] = {TT_BACKEND_CPU, TT_BACKEND_CPU, TT_BACKEND_REF};
    return (tt_golden_setup){
        .model = model, .layout = layouts[i], .backend = backends[i], .dtype = TT_F32};
}

void tt_golden_network_open(const tt_golden_setup *s, tt_golden_network *out) {
    const tt_ops_options options = {
        .backend = s->backend, .dtype = s->dtype, .n_threads = N_THREADS};
    tt_golden_path path;
    tt_err err;
    *out = (tt_golden_network){0};
    TT_GOLDEN_OK(tt_golden_model(s->model, s->layout, &path, &err), err);
    TT_GOLDEN_OK(tt_checkpoint_open(path.text, &out->checkpoint, &err), err);
    TT_GOLDEN_OK(tt_ops_open(&options, &out->ops, &err), err);
    TT_GOLDEN_OK(tt_loader_new(out->checkpoint, &out->loader, &err), err);
}

void tt_golden_network_close(tt_golden_network *n) {
    tt_loader_free(n->loader);
    tt_ops_close(n->ops);
    tt_checkpoint_close(n->checkpoint);
}

void tt_golden_to_nhwc(const float *in, float *out, int64_t n, int64_t c, int64_t h, int64_t w) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < c; k++)
            for (int64_t p = 0; p < h * w; p++)
                out[(i * h * w + p) * c + k] = in[(i * c + k) * h * w + p];
}

void tt_golden_to_nchw(const float *in, float *out, int64_t n, int64_t c, int64_t h, int64_t w) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < c; k++)
            for (int64_t p = 0; p < h * w; p++)
                out[(i * c + k) * h * w + p] = in[(i * h * w + p) * c + k];
}
