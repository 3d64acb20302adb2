/* The text form of generation settings that AUTOMATIC1111's web UI made common:
 *
 *     a lighthouse at sunset
 *     Negative prompt: fog
 *     Steps: 24, Sampler: DPM++ 2M Karras, CFG scale: 4.5, Seed: 5, Size: 256x256, Model: x
 *
 * What is written reads back the same, for any UTF-8: values with commas, colons, quotes, line
 * breaks or outer spaces are JSON strings. Prompts that the form itself cannot carry (outer spaces,
 * a line that starts with "Negative prompt:") stand there as usual for other readers, and once
 * more, quoted, under "Exact prompt" and "Exact negative prompt", which our reader prefers.
 *
 * Numbers are written with the C locale's decimal point; the program must not call setlocale. */
#ifndef TT_IMAGE_PARAMETERS_H
#define TT_IMAGE_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

typedef struct tt_image_parameter {
    /* 2..64 bytes: a letter, digit or '_', then also ' ', '-', '/', no space at the end */
    const char *key;
    const char *value; /* any UTF-8 */
} tt_image_parameter;

/* Borrowed strings, valid UTF-8. All zero: everything unknown. */
typedef struct tt_image_parameters {
    const char *prompt;   /* NULL is written as ""; never NULL after parsing */
    const char *negative; /* NULL: absent, which is not the same as "" */
    int steps;            /* 0: unknown (written all the same: it marks the settings line) */
    /* a label, "DPM++ 2M" or "DPM++ 2M Karras"; NULL: unknown. Not interpreted here */
    const char *sampler;
    /* a label, written as "Schedule type"; NULL: unknown, or part of the sampler's */
    const char *schedule;
    bool has_cfg, has_seed;
    double cfg; /* finite */
    uint64_t seed;
    int width, height; /* both 0: unknown */
    const char *model;
    const char *version;             /* "tintype 0.1.0" */
    const tt_image_parameter *extra; /* in order; written before the version */
    int n_extra;                     /* at most TT_MAX_IMAGE_TEXT_PAIRS */
} tt_image_parameters;

/* Appends the text to `out`. TT_E_INVALID: a string that is not UTF-8, an extra key that is
 * malformed or has a field of its own, a number out of range, more than TT_MAX_IMAGE_TEXT_BYTES in
 * all. On failure `out` is as before. */
tt_status tt_image_parameters_write(const tt_image_parameters *p, tt_buf *out, tt_err *err);

/* Reads such a text, also from other programs: every piece may be missing, a text without a
 * settings line is all prompt, unknown keys (and known ones whose value makes no sense) go to
 * `extra`, what is beyond TT_MAX_IMAGE_TEXT_PAIRS is dropped. Strings live in `arena`. Fails only
 * for memory, size, or invalid UTF-8. */
tt_status tt_image_parameters_parse(const char *text, tt_arena *arena, tt_image_parameters *out,
                                    tt_err *err);

#endif
