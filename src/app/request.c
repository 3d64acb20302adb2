/* See request.h. Here: what a picture shows, seeds, output. How it is drawn: request_draw.c. LoRAs: request_loras.c. What needs
 * files: request_load.c and request_image.c. */
#include "app/request.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "app/presets.h"
#include "app/request_parts.h"
#include "app/values.h"
#include "base/limits.h"

/* Seeds that nobody chose stay below 2^32: torch's CPU generator ignores the bits above, and people
 * can type them. All pictures of a job fit below too. */
static const uint64_t RANDOM_SEEDS = (UINT64_C(1) << 32) - TT_MAX_PICTURES;
/* All LoRAs of a request and its prompts, each found with two paths, and as many embeddings. */
enum { MAX_MEMORY_BYTES = 2 << 20 };

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
    tt_value_text(s, TT_OPT_PROMPT_2, &r->prompt_2, problems);
    tt_value_text(s, TT_OPT_NEGATIVE_PROMPT_2, &r->negative_prompt_2, problems);
    tt_value_choice(s, TT_OPT_PROMPT_SYNTAX, &r->prompt_syntax, problems);
    tt_value_choice(s, TT_OPT_NEGATIVE_POLICY, &r->negative_policy, problems);
    tt_value_integer(s, TT_OPT_CLIP_SKIP, &r->clip_skip, problems);
}

/* Pictures take consecutive seeds, and the last must be one, too: of variations, where there are some. */
static void check_last_seed(const tt_settings *s, tt_option_id id, uint64_t seed, int count,
                            tt_problems *problems) {
    uint64_t last = UINT64_MAX - (uint64_t)(count - 1);
    const char *name = s->of[id].value ? s->of[id].spelling : tt_option_get(id)->field;
    if (seed > last)
        tt_problems_add(problems,
                        "%s: expected at most %" PRIu64
                        ", since %d pictures take consecutive seeds, found %" PRIu64,
                        name, last, count, seed);
}

static void read_seed_and_count(const tt_settings *s, tt_request *r, tt_problems *problems) {
    tt_value_seed(s, TT_OPT_SEED, &r->seed, problems);
    tt_value_integer(s, TT_OPT_COUNT, &r->count, problems);
    tt_value_number(s, TT_OPT_VARIATION_STRENGTH, &r->variation_strength, problems);
    tt_value_seed(s, TT_OPT_VARIATION_SEED, &r->variation_seed, problems);
    if (r->variation_strength > 0)
        check_last_seed(s, TT_OPT_VARIATION_SEED, r->variation_seed, r->count, problems);
    else
        check_last_seed(s, TT_OPT_SEED, r->seed, r->count, problems);
}

static void check_limit(const tt_preset *preset, const char *what, int64_t value, int64_t most,
                        tt_problems *problems) {
    if (most > 0 && value > most)
        tt_problems_add(problems, "%s: %" PRId64 ", the preset %s allows at most %" PRId64, what,
                        value, preset->name, most);
}

static void check_limits(const tt_settings *s, const tt_request *r, tt_problems *problems) {
    if (!s->preset && tt_value_is_said(s, TT_OPT_PRESET))
        tt_problems_add(problems,
                        "%s: there are no presets here, they come from the file of --config",
                        s->of[TT_OPT_PRESET].spelling);
    if (!s->preset) return;
    const tt_preset_limits *l = &s->preset->limits;
    double scale = r->hires_scale > 1 ? (double)r->hires_scale : 1;
    check_limit(s->preset, "steps", r->steps, l->max_steps, problems);
    check_limit(s->preset, "num_images", r->count, l->max_images, problems);
    check_limit(s->preset, "pixels", (int64_t)((double)r->width * r->height * scale * scale),
                l->max_pixels, problems);
}

static void read_format(const tt_settings *s, tt_app_request *out, tt_problems *problems) {
    tt_value_choice(s, TT_OPT_FORMAT, &out->format, problems);
    if (out->format && strcmp(out->format, "jpg") == 0) out->format = "jpeg";
    tt_value_integer(s, TT_OPT_QUALITY, &out->quality, problems);
}

static void read_outpaint(const tt_settings *s, tt_app_request *out, tt_problems *problems) {
    int sides[TT_SIDES] = {0};
    tt_value_sides(s, TT_OPT_OUTPAINT, sides, problems);
    for (int i = 0; i < TT_SIDES; i++)
        sides[i] = (sides[i] + TT_SIDE_MULTIPLE - 1) / TT_SIDE_MULTIPLE * TT_SIDE_MULTIPLE;
    out->outpaint = (tt_image_sides){sides[0], sides[1], sides[2], sides[3]};
}

static tt_status read_all(const tt_settings *s, tt_app_request *out, tt_problems *problems,
                          tt_err *err) {
    read_texts(s, &out->engine, problems);
    tt__request_read_drawing(s, out, problems);
    read_seed_and_count(s, &out->engine, problems);
    read_outpaint(s, out, problems);
    check_limits(s, &out->engine, problems);
    read_format(s, out, problems);
    TT_TRY(tt__request_read_loras(s, out, problems, err));
    TT_TRY(tt_problems_status(problems, err));
    return tt_value_is_set(s, TT_OPT_SEED) ? TT_OK : draw_seed(&out->engine.seed, err);
}

tt_status tt_app_request_read(const tt_settings *s, const tt_request *model, tt_app_request *out,
                              tt_problems *problems, tt_err *err) {
    *out = (tt_app_request){.engine = *model, .preset = s->preset ? s->preset->name : NULL};
    tt_arena_init(&out->memory, MAX_MEMORY_BYTES);
    tt_status status = read_all(s, out, problems, err);
    if (status != TT_OK) tt_arena_release(&out->memory);
    return status;
}
