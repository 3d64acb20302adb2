/* The refiner: a second UNet with a text encoder of its own, which walks the end of the steps.
 *
 * It is one more pass behind the last one, in the same size: the base model stops at request.refiner_start and the refiner goes
 * on from the same latents, at the same place of the same schedule, as diffusers does it with denoising_end and denoising_start.
 * No noise is added between the two, samplers that draw some go on in the picture's stream, and a mask keeps what it kept before.
 * With a second pass in a larger size, that pass is the one which is refined, as A1111 has it.
 *
 * Latents, the UNet's output and the place of the final picture are the ones of the pass before; the VAE is the base model's. The
 * refiner has the second text encoder only, and reads the first of the two prompts, as diffusers' pipeline without a first encoder
 * does; of a prompt that changes on the way it reads what that ended with. Adapters change the base model only. */
#include "pipeline/passes.h"

#include <string.h>

#include "base/alloc.h"

/* ---- the engine's ------------------------------------------------------------------------------------ */

static tt_status open_tokenizer(tt__model *m, tt_err *err) {
    static const char *const files[] = {"tokenizer_2/tokenizer.json", "tokenizer_2/vocab.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[4096]; /* Linux' PATH_MAX */
        if (!tt_checkpoint_file(m->checkpoint, files[i], path, sizeof path)) continue;
        *strrchr(path, '/') = '\0';
        return tt_tokenizer_open_folder(path, &m->tokenizers[1], err);
    }
    return tt_tokenizer_open(&m->tokenizers[1], err);
}

static tt_status check_widths(const tt__model *m, const char *name, tt_err *err) {
    const tt_clip *clip = m->clips[1];
    if (tt_clip_width(clip) != tt_unet_context_width(m->unet))
        return tt_fail(err, TT_E_FORMAT,
                       "refiner %s: its text encoder gives %lld features, its UNet takes %lld",
                       name, (long long)tt_clip_width(clip),
                       (long long)tt_unet_context_width(m->unet));
    if (tt_clip_pooled_width(clip) != tt_unet_pooled_width(m->unet))
        return tt_fail(err, TT_E_FORMAT,
                       "refiner %s: its text encoder pools to %lld features, its UNet takes %lld",
                       name, (long long)tt_clip_pooled_width(clip),
                       (long long)tt_unet_pooled_width(m->unet));
    return TT_OK;
}

static tt_status check_fit(const tt_engine *e, tt_err *err) {
    const tt__model *m = &e->refiner.model;
    const char *name = e->refiner.name;
    int64_t channels = tt_vae_latent_channels(e->vae);
    if (tt_unet_size_ids(m->unet) != TT_UNET_REFINER_IDS)
        return tt_fail(err, TT_E_INVALID,
                       "refiner %s: expected an SDXL refiner, whose UNet takes an aesthetic score; "
                       "this is a base model",
                       name);
    TT_TRY(check_widths(m, name, err));
    if (tt_unet_in_channels(m->unet) == channels && tt_unet_out_channels(m->unet) == channels)
        return TT_OK;
    return tt_fail(err, TT_E_INVALID,
                   "refiner %s: its UNet takes %lld channels and gives %lld, the base model's VAE "
                   "has %lld",
                   name, (long long)tt_unet_in_channels(m->unet),
                   (long long)tt_unet_out_channels(m->unet), (long long)channels);
}

static tt_status open_networks(tt_engine *e, tt__model *m, tt_loader *loader, tt_err *err) {
    TT_TRY(tt_checkpoint_require(m->checkpoint, "unet", err));
    TT_TRY(tt_checkpoint_require(m->checkpoint, "te2", err));
    TT_TRY(tt_clip_open(loader, e->ops, 1, &m->clips[1], err));
    TT_TRY(tt_unet_open(loader, e->ops, &m->unet, err));
    TT_TRY(check_fit(e, err));
    TT_TRY(open_tokenizer(m, err));
    return tt_loader_run(loader, err);
}

tt_status tt__refiner_open(tt_engine *e, const char *path, tt_err *err) {
    tt__model *m = &e->refiner.model;
    tt_loader *loader = NULL;
    m->texts = &e->refiner.texts;
    tt__last_part(path, e->refiner.name, sizeof e->refiner.name);
    TT_TRY(tt_checkpoint_open_with(path, &(tt_checkpoint_options){.as_refiner = true},
                                   &m->checkpoint, err));
    TT_TRY(tt__training_of(tt_checkpoint_facts(m->checkpoint), NULL, &m->trained, err));
    TT_TRY(tt_loader_new(m->checkpoint, &loader, err));
    tt_status status = open_networks(e, m, loader, err);
    if (status == TT_OK) e->info.n_int8 += tt_loader_int8_numbers(loader);
    tt_loader_free(loader);
    if (status == TT_OK) e->info.refiner_name = e->refiner.name;
    return status;
}

void tt__refiner_close(tt_engine *e) {
    tt__model *m = &e->refiner.model;
    tt__texts_release(&e->refiner.texts);
    tt_unet_close(m->unet);
    tt_clip_close(m->clips[1]);
    tt_tokenizer_close(m->tokenizers[1]);
    tt_checkpoint_close(m->checkpoint);
}

/* ---- a request's ------------------------------------------------------------------------------------- */

static bool is_wanted(const tt_request *r) {
    return r->refiner_start > 0 && r->refiner_start < 1;
}

tt_status tt__check_refiner(const tt_request *r, tt_err *err) {
    if (!(r->refiner_start >= 0 && r->refiner_start <= 1)) /* false for NaN */
        return tt_fail(err, TT_E_INVALID, "refiner start: expected 0 to 1, found %g",
                       (double)r->refiner_start);
    const struct {
        const char *name;
        float value;
    } scores[] = {{"aesthetic score", r->aesthetic_score},
                  {"negative aesthetic score", r->negative_aesthetic_score}};
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
        if (!(scores[i].value >= 0 && scores[i].value <= TT_MAX_AESTHETIC_SCORE))
            return tt_fail(err, TT_E_INVALID, "%s: expected 0 to %d, found %g", scores[i].name,
                           TT_MAX_AESTHETIC_SCORE, (double)scores[i].value);
    return TT_OK;
}

/* The refiner's schedule is the whole one; ComfyUI makes a longer one for a picture to start from. */
static tt_status check_schedule(const tt_generation *before, tt_err *err) {
    const tt_request *r = before->request;
    bool starts_late = (r->image || before->is_after) && r->strength < 1;
    if (!starts_late ||
        tt_sample_compat_of(before->manner.compat)->strength != TT_STRENGTH_STRETCHED)
        return TT_OK;
    return tt_fail(err, TT_E_UNSUPPORTED,
                   "refiner start: not with compat comfyui and a picture to start from or a second "
                   "pass, whose steps are counted in another way; choose another compat");
}

tt_status tt__refiner_add(tt_generation *g, tt_err *err) {
    tt_generation *before = g;
    if (!is_wanted(g->request)) return TT_OK;
    if (!g->engine->info.refiner_name)
        return tt_fail(err, TT_E_INVALID,
                       "refiner start: no refiner was opened, expected 0 or 1, found %g",
                       (double)g->request->refiner_start);
    while (before->next) before = before->next;
    TT_TRY(check_schedule(before, err));
    tt_generation *p = tt_alloc(sizeof *p);
    if (!p) return tt_fail_nomem(err, "the refiner's pass", sizeof *p);
    *p = (tt_generation){.engine = g->engine,
                         .model = g->engine->refiner.model,
                         .request = before->request,
                         .result = g->result,
                         .start_us = g->start_us,
                         .manner = g->manner,
                         .before = before,
                         .is_after = true};
    before->next = p;
    return TT_OK;
}

void tt__refiner_part(const tt_generation *p, tt_sampler_options *options) {
    if (p->before) options->denoising_start = p->request->refiner_start;
    if (p->next && p->next->before) options->denoising_end = p->request->refiner_start;
}

/* ---- its texts --------------------------------------------------------------------------------------- */

/* What the base model reads at the end; an empty text where that was given zeros. */
static const tt_buf *last_text(const tt_prompt_schedule *s) {
    static char nothing[] = "";
    static const tt_buf empty = {.data = nothing};
    if (s->n_variants == 0) return &empty;
    int variant = s->n_variants > 1 ? s->variant_of_step[s->n_steps - 1] : 0;
    return &s->texts[variant][0];
}

static tt_status read_side(tt_generation *p, const tt__words *words, int side, tt_err *err) {
    const tt_buf *text = last_text(&words->schedules[side]);
    const tt_buf texts[TT_PROMPT_ENCODERS] = {*text, *text};
    bool is_zeros = side == TT__NEGATIVE && !tt__negative_text(p);
    if (is_zeros || (side == TT__NEGATIVE && p->n_rows == 1)) return TT_OK;
    p->words.schedules[side].n_variants = 1;
    return tt__encode_text(p, side, texts, &p->words.states[side][0], err);
}

tt_status tt__refiner_read(tt_generation *g, tt_err *err) {
    tt_generation *p = g;
    while (p && !p->before) p = p->next;
    if (!p) return TT_OK;
    const tt__words *words = &g->words;
    p->words = (tt__words){.n_embeddings = words->n_embeddings};
    memcpy(p->words.embedding_files, words->embedding_files, sizeof words->embedding_files);
    memcpy(p->words.embeddings, words->embeddings, sizeof words->embeddings);
    for (int side = TT__SIDES - 1; side >= 0; side--) TT_TRY(read_side(p, words, side, err));
    return tt__fit_chunks(p, err);
}

/* ---- its memory -------------------------------------------------------------------------------------- */

void tt__refiner_share(tt_generation *p) {
    const tt_generation *before = p->before;
    if (!before) return;
    p->latents = before->latents;
    p->unet_out = before->unet_out;
    p->decoded = before->decoded;
    p->start = before->start;
}

void tt__refiner_unshare(tt_generation *p) {
    if (!p->before) return;
    p->latents = p->unet_out = p->decoded = NULL;
    memset(&p->start, 0, sizeof p->start);
}
