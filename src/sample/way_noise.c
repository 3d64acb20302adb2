#include "sample/way_noise.h"

tt_step_noise tt__way_noise_manner(const tt__plan *p, const tt_sampler_options *o) {
    const tt_sample_compat_facts *facts = tt_sample_compat_of(p->compat);
    tt_step_noise manner = o->step_noise;
    if (manner == TT_STEP_NOISE_DEFAULT) {
        bool tree = p->kind->always_tree || (p->kind->sde && facts->tree_noise);
        manner = tree                      ? TT_STEP_NOISE_BROWNIAN
                 : facts->fresh_step_noise ? TT_STEP_NOISE_FRESH
                                           : TT_STEP_NOISE_STREAM;
    }
    if (manner == TT_STEP_NOISE_STREAM && o->step_seed_delta > 0) return TT_STEP_NOISE_FRESH;
    return manner;
}

/* A CPU stream begun again at the same seed would repeat the first latents: ComfyUI goes one further
 * there. */
static void begin_fresh(tt__way_noise *w, const tt__plan *p, const tt_sampler_options *o,
                        const tt_noise *stream) {
    const tt_sample_compat_facts *facts = tt_sample_compat_of(p->compat);
    tt_noise_kind kind = facts->cuda_step_noise ? TT_NOISE_CUDA : stream->kind;
    if (o->step_noise_kind >= 0) kind = (tt_noise_kind)o->step_noise_kind;
    uint64_t seed = stream->seed + o->step_seed_delta;
    if (facts->cuda_step_noise && kind != TT_NOISE_CUDA) seed++;
    tt_noise_init(&w->own, kind, seed);
    w->stream = &w->own;
}

/* The least sigma above 0 that the run visits, and the largest. */
static void begin_tree(tt__way_noise *w, const tt__plan *p, const tt_sampler_options *o,
                       const tt_noise *stream, int64_t n, float *scratch, double *paths) {
    int last = p->first + p->steps;
    float min = p->sigmas[last] > 0 ? p->sigmas[last] : p->sigmas[last - 1];
    tt_noise_kind kind = o->step_noise_kind >= 0 ? (tt_noise_kind)o->step_noise_kind : stream->kind;
    tt_brownian_init(&w->tree, kind, stream->seed, min, p->sigmas[p->first], n, scratch, paths);
}

void tt__way_noise_begin(tt__way_noise *w, const tt__plan *p, const tt_sampler_options *o,
                         tt_noise *stream, int64_t n, float *scratch, double *paths) {
    *w = (tt__way_noise){.manner = tt__way_noise_manner(p, o), .stream = stream};
    if (!stream) return;
    if (w->manner == TT_STEP_NOISE_FRESH) begin_fresh(w, p, o, stream);
    if (w->manner == TT_STEP_NOISE_BROWNIAN) begin_tree(w, p, o, stream, n, scratch, paths);
}

void tt__draw(tt__run *r, float sigma_from, float sigma_to, bool single, float *out) {
    tt__way_noise *w = r->noise;
    if (w->manner == TT_STEP_NOISE_BROWNIAN)
        tt_brownian_fill(&w->tree, sigma_from, sigma_to, out);
    else if (single)
        tt_noise_fill_f32(w->stream, out, r->n);
    else
        tt_noise_fill(w->stream, out, r->n);
}
