/* What the networks' operations took, over all back-ends that an engine has: texts and UNet have one, the VAE another where its
 * precision is another, and a third when it had to be done again in f32. */
#include <string.h>

#include "pipeline/parts.h"

enum { MAX_BACKENDS = 3 };
static const double PER_GIGA = 1e-9, PER_MILLI = 1e-3;

_Static_assert((int)TT_OPERATION_KINDS == (int)TT_OP_KINDS, "engine.h and ops.h count the same");

static int backends(const tt_engine *e, tt_ops *out[MAX_BACKENDS]) {
    int n = 0;
    out[n++] = e->ops;
    if (e->vae_ops != e->ops) out[n++] = e->vae_ops;
    if (e->exact.ops) out[n++] = e->exact.ops;
    return n;
}

static void add(tt_operation *to, const tt_op_time *t) {
    to->name = t->name;
    to->calls += t->calls;
    to->ms += (double)t->us * PER_MILLI;
    to->gflop += t->flops * PER_GIGA;
    to->gbyte += t->bytes * PER_GIGA;
}

void tt_engine_get_operations(const tt_engine *engine, tt_operation out[TT_OPERATION_KINDS]) {
    tt_ops *of[MAX_BACKENDS];
    int n = backends(engine, of);
    memset(out, 0, TT_OPERATION_KINDS * sizeof *out);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < TT_OPERATION_KINDS; j++) add(&out[j], &tt_ops_times(of[i])[j]);
}

void tt_engine_reset_operations(tt_engine *engine) {
    tt_ops *of[MAX_BACKENDS];
    int n = backends(engine, of);
    for (int i = 0; i < n; i++) tt_ops_times_reset(of[i]);
}

void tt_engine_measure_peak(tt_engine *engine, tt_peak *out) {
    tt_ops_peak found;
    tt_ops_measure_peak(engine->ops, &found);
    *out = (tt_peak){.f32 = found.f32 * PER_GIGA,
                     .bf16 = found.bf16 * PER_GIGA,
                     .int8 = found.int8 * PER_GIGA,
                     .f32_by = found.f32_by,
                     .bf16_by = found.bf16_by,
                     .int8_by = found.int8_by};
    memcpy(out->features, found.features, sizeof out->features);
}
