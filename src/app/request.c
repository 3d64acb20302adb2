/* See request.h. */
#include "app/request.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "app/show.h"
#include "app/values.h"
#include "base/limits.h"

/* Seeds that nobody chose stay below 2^32: torch's CPU generator ignores the bits above, and people
 * can type them. All pictures of a job fit below too. */
static const uint64_t RANDOM_SEEDS = (UINT64_C(1) << 32) - TT_MAX_PICTURES;

static tt_status draw_seed(uint64_t *out, tt_err *err) {
    uint64_t random;
    ssize_t n;
    do n = getrandom(&random, sizeof random, 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof random)
        return tt_fail_errno(err, "cannot draw a seed from", "getrandom");
    *out = random % RANDOM_SEEDS;
    return TT_OK;
}

static void read_texts(const tt_settings *s, tt_request *r, tt_problems *problems) {
    if (tt_value_is_set(s, TT_OPT_PROMPT))
        tt_value_text(s, TT_OPT_PROMPT, &r->prompt, problems);
    else
        tt_problems_add(problems, "prompt: expected text (it may be empty), found nothing");
    tt_value_text(s, TT_OPT_NEGATIVE_PROMPT, &r->negative_prompt, problems);
}

static void refuse_sampler(const tt_setting *named, const tt_err *why, tt_problems *problems) {
    static const char own_name[] = "sampler: "; /* what the engine calls it */
    bool is_named = strncmp(why->message, own_name, strlen(own_name)) == 0;
    tt_problems_add(problems, "%s: %s", named->spelling,
                    why->message + (is_named ? strlen(own_name) : 0));
}

/* A pasted sampler name may bring its schedule. One that is named beside it wins when it comes from
 * nearer to the user; from the same place, the two must agree. */
static void read_sampler(const tt_settings *s, tt_request *r, tt_problems *problems) {
    const tt_setting *named = &s->of[TT_OPT_SAMPLER], *schedule = &s->of[TT_OPT_SCHEDULE];
    const char *name = NULL, *sampler = NULL, *implied = NULL, *chosen = NULL;
    tt_err why;
    tt_value_choice(s, TT_OPT_SCHEDULE, &chosen, problems);
    tt_value_string(s, TT_OPT_SAMPLER, &name, problems);
    if (name && tt_sampler_lookup(name, &sampler, &implied, &why) != TT_OK) {
        refuse_sampler(named, &why, problems);
        return;
    }
    if (implied && chosen && schedule->origin == named->origin && strcmp(implied, chosen) != 0)
        tt_problems_add(problems,
                        "%s: expected %s, as the name of the sampler says, or none, found \"%s\"",
                        schedule->spelling, implied, chosen);
    if (implied && schedule->origin < named->origin) chosen = implied;
    if (sampler) {
        r->sampler = sampler;
        r->schedule = implied;
    }
    if (chosen) r->schedule = chosen;
}

/* Pictures take consecutive seeds, and the last must be one, too. */
static void read_seed_and_count(const tt_settings *s, tt_request *r, tt_problems *problems) {
    tt_value_seed(s, TT_OPT_SEED, &r->seed, problems);
    tt_value_integer(s, TT_OPT_COUNT, &r->count, problems);
    uint64_t last = UINT64_MAX - (uint64_t)(r->count - 1);
    if (r->seed > last)
        tt_problems_add(problems,
                        "%s: expected at most %" PRIu64
                        ", since %d pictures take consecutive seeds, found %" PRIu64,
                        s->of[TT_OPT_SEED].spelling, last, r->count, r->seed);
}

static void read_loras(const tt_settings *s, tt_problems *problems) {
    const tt_setting *loras = &s->of[TT_OPT_LORAS];
    if (!loras->value) return;
    if (!json_object_is_type(loras->value, json_type_array))
        tt_problems_add(problems, "loras: expected a list");
    else if (json_object_array_length(loras->value) > 0)
        tt_problems_add(
            problems,
            "loras: expected an empty list, since LoRAs cannot be applied yet, found %zu of them",
            json_object_array_length(loras->value));
}

static const char *why_without_effect(tt_option_id id) {
    if (id == TT_OPT_PRESET) return "presets cannot be chosen yet";
    bool is_of_refiner = id == TT_OPT_REFINER_STEPS || id == TT_OPT_HIGH_NOISE_FRAC;
    return is_of_refiner ? "there is no refiner here" : "pictures start from noise only";
}

/* Fields of other workers that mean nothing here yet. What would change the picture is refused; settings that go with it, which
 * clients send by habit, are told as unused. */
static void read_reserved(const tt_settings *s, tt_app_request *out, tt_problems *problems) {
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const tt_option *row = tt_option_get((tt_option_id)i);
        char shown[TT_SHOWN_BYTES];
        if (!s->of[i].value) continue;
        if (row->type == TT_OPTION_UNUSED)
            out->unused[out->n_unused++] =
                (tt_app_unused){row->field, why_without_effect((tt_option_id)i)};
        if (row->type != TT_OPTION_RESERVED) continue;
        tt_show_json(shown, s->of[i].value);
        tt_problems_add(problems, "%s: expected null or nothing, since %s, found %s", row->field,
                        why_without_effect((tt_option_id)i), shown);
    }
}

static void read_format(const tt_settings *s, tt_app_request *out, tt_problems *problems) {
    tt_value_choice(s, TT_OPT_FORMAT, &out->format, problems);
    if (out->format && strcmp(out->format, "jpg") == 0) out->format = "jpeg";
    tt_value_integer(s, TT_OPT_QUALITY, &out->quality, problems);
}

tt_status tt_app_request_read(const tt_settings *s, const tt_request *model, tt_app_request *out,
                              tt_problems *problems, tt_err *err) {
    *out = (tt_app_request){.engine = *model};
    tt_request *r = &out->engine;
    int clip_skip;
    read_texts(s, r, problems);
    tt_value_integer(s, TT_OPT_WIDTH, &r->width, problems);
    tt_value_integer(s, TT_OPT_HEIGHT, &r->height, problems);
    tt_value_integer(s, TT_OPT_STEPS, &r->steps, problems);
    tt_value_number(s, TT_OPT_CFG, &r->guidance, problems);
    tt_value_number(s, TT_OPT_GUIDANCE_RESCALE, &r->guidance_rescale, problems);
    read_seed_and_count(s, r, problems);
    tt_value_choice(s, TT_OPT_NOISE, &r->noise, problems);
    tt_value_integer(s, TT_OPT_CLIP_SKIP, &clip_skip, problems);
    read_sampler(s, r, problems);
    read_loras(s, problems);
    read_reserved(s, out, problems);
    read_format(s, out, problems);
    TT_TRY(tt_problems_status(problems, err));
    return tt_value_is_set(s, TT_OPT_SEED) ? TT_OK : draw_seed(&r->seed, err);
}

static tt_precision precision_named(const char *name) {
    if (strcmp(name, "f32") == 0) return TT_PRECISION_F32;
    return strcmp(name, "bf16") == 0 ? TT_PRECISION_BF16 : TT_PRECISION_AUTO;
}

tt_status tt_app_engine_read(const tt_settings *s, tt_engine_options *out, tt_problems *problems,
                             tt_err *err) {
    const char *dtype = "auto", *vae_dtype = "auto", *device = "cpu";
    tt_engine_options_defaults(out);
    tt_value_string(s, TT_OPT_MODEL, &out->model_path, problems);
    tt_value_choice(s, TT_OPT_DTYPE, &dtype, problems);
    tt_value_choice(s, TT_OPT_VAE_DTYPE, &vae_dtype, problems);
    tt_value_choice(s, TT_OPT_DEVICE, &device, problems);
    tt_value_choice(s, TT_OPT_PREDICTION, &out->prediction, problems);
    tt_value_integer(s, TT_OPT_THREADS, &out->n_threads, problems);
    out->precision = precision_named(dtype);
    out->vae_precision = precision_named(vae_dtype);
    out->device = strcmp(device, "ref") == 0 ? TT_DEVICE_REF : TT_DEVICE_CPU;
    return tt_problems_status(problems, err);
}
