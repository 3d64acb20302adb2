/* Names of samplers and schedules: canonical ones, and those people paste from other programs. */
#ifndef TT_SAMPLE_NAMES_H
#define TT_SAMPLE_NAMES_H

#include "base/err.h"

/* Canonical names, NULL-terminated, static. */
const char *const *tt_sample_sampler_names(void);
const char *const *tt_sample_schedule_names(void);

/* "DPM++ 2M Karras" -> "dpmpp_2m", "karras"; "EulerDiscreteScheduler" -> "euler", NULL. Case and
 * punctuation do not matter. The results are canonical and static; *schedule is NULL when the name
 * does not say. TT_E_INVALID with the known names, TT_E_UNSUPPORTED for samplers that exist
 * elsewhere and not here. */
tt_status tt_sample_lookup(const char *pasted, const char **sampler, const char **schedule,
                           tt_err *err);

/* The same for a schedule alone: "SGM Uniform" -> "sgm_uniform". */
tt_status tt_sample_lookup_schedule(const char *pasted, const char **schedule, tt_err *err);

enum { TT_SAMPLE_LABEL_BYTES = 64 };

/* What people call it: "dpmpp_2m", "karras" -> "DPM++ 2M Karras". schedule may be NULL or
 * "default". */
void tt_sample_label(const char *sampler, const char *schedule, char out[TT_SAMPLE_LABEL_BYTES]);

#endif
