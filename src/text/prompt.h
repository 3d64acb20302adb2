/* A prompt as people write it: its text, the LoRAs it asks for, and how it changes from step to step.
 *
 *     tt_prompt_open(text, size, TT_PROMPT_A1111, &prompt, err);
 *     tt_prompt_loras(prompt, &n);                              what <lora:...> asked for, taken out of the text
 *     tt_prompt_schedule_init(&schedule, prompts, n_steps, err);
 *     schedule.texts[v][which]                                  the few texts that occur: encode each (prompt_encode.h)
 *     schedule.variant_of_step[step]                            which of them a step uses
 *
 * Syntaxes:
 *
 *     A1111    (x) [x] (x:1.4) \( BREAK    weights, prompt_segments.h
 *              <lora:name:weight> <lora:name:te:unet> <lora:name:te=0.5:unet=1>
 *                                          weight 1 where none is given; the first number is the text encoders', and the
 *                                          UNet's too when there is no second. <lyco:...> is the same. Other tags of this
 *                                          form are taken out and counted, <hypernet:...> is refused.
 *              [a:b:when]                  a, later b; [b:when] and [:b:when] add b, [a::when] takes a away.
 *                                          `when` with a point is a share of the steps, without one a number of them
 *              [a|b|c]                     changes with every step; parts may be empty
 *              AND is a word like others: composing predictions of several prompts is not supported.
 *     ComfyUI  (x) (x:1.4) \( embedding:name
 *     compel   (x)1.4 (x)++ word- "x"
 *     plain    nothing: every character is text
 *
 * Only A1111's has tags and schedules. Steps count from 0, and are the denoiser's calls. As A1111 does, "a" of
 * [a:b:3] still holds at step 3, and the steps 0 and 1 see the same part of [a|b].
 *
 * A1111 gives up on all schedules of a prompt with a stray | or a backslash at its end; here those are text.
 *
 * A prompt is immutable once open: any number of threads may use one. */
#ifndef TT_TEXT_PROMPT_H
#define TT_TEXT_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

typedef enum tt_prompt_syntax {
    TT_PROMPT_A1111,
    TT_PROMPT_COMFY,
    TT_PROMPT_COMPEL,
    TT_PROMPT_PLAIN,
    TT_PROMPT_SYNTAXES
} tt_prompt_syntax;

typedef struct tt_prompt_lora {
    char *name;     /* as written; owned by the prompt */
    float te, unet; /* strengths, -TT_MAX_PROMPT_LORA_STRENGTH to that */
} tt_prompt_lora;

#define TT_MAX_PROMPT_LORA_STRENGTH 100.0f /* as adapters have it: people use -2 to 5 */

typedef struct tt_prompt tt_prompt;

/* TT_E_INVALID with one sentence, and the byte where it is: text that is not UTF-8, longer than TT_MAX_PROMPT_BYTES, or
 * beyond the other limits of a prompt; a <lora:...> without a name or whose strength is no number. */
tt_status tt_prompt_open(const char *text, size_t size, tt_prompt_syntax syntax, tt_prompt **out,
                         tt_err *err);
void tt_prompt_close(tt_prompt *p); /* NULL is fine */

/* In the order they stand; the same one may occur twice. Owned by the prompt. */
const tt_prompt_lora *tt_prompt_loras(const tt_prompt *p, size_t *n);
/* Tags that name nothing we know: they were taken out. */
size_t tt_prompt_unknown_tags(const tt_prompt *p);

/* Appends the text that step `step` (from 0) of `n_steps` uses: without tags, schedules resolved, weights as written. */
tt_status tt_prompt_at_step(const tt_prompt *p, int step, int n_steps, tt_buf *out, tt_err *err);

/* ---- all steps at once ------------------------------------------------------------------------------ */

enum { TT_PROMPT_ENCODERS = 2 };

typedef struct tt_prompt_schedule {
    int n_steps;
    int n_variants;       /* at least 1 */
    int *variant_of_step; /* owned, [n_steps] */
    tt_buf (*texts)
        [TT_PROMPT_ENCODERS]; /* owned, [n_variants]: one text per encoder; data is never NULL */
} tt_prompt_schedule;

/* prompts[1] may be NULL: then both encoders read prompts[0]. TT_E_INVALID beyond TT_MAX_PROMPT_VARIANTS texts. */
tt_status tt_prompt_schedule_init(tt_prompt_schedule *s,
                                  const tt_prompt *const prompts[TT_PROMPT_ENCODERS], int n_steps,
                                  tt_err *err);
void tt_prompt_schedule_release(tt_prompt_schedule *s); /* all zero is fine */

#endif
