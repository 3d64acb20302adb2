#include "sample/compat.h"

#include <string.h>

/* diffusers: half's least positive value. The others: a constant of their own. */
static const tt_sample_compat_facts rows[] = {
    [TT_COMPAT_DIFFUSERS] = {.name = "diffusers",
                             .start = TT_START_BY_SPACING,
                             .strength = TT_STRENGTH_LAST,
                             .zero_snr_end = 0x1p-24f},
    [TT_COMPAT_A1111] = {.name = "a1111",
                         .default_schedule = "normal",
                         .start = TT_START_SIGMA,
                         .strength = TT_STRENGTH_LAST_PLUS,
                         .whole_range_ramp = true,
                         .tree_noise = true,
                         .zero_snr_end = 4.8973451890853435e-08f},
    [TT_COMPAT_COMFYUI] = {.name = "comfyui",
                           .default_schedule = "normal",
                           .start = TT_START_BY_MAX,
                           .strength = TT_STRENGTH_STRETCHED,
                           .whole_timesteps = true,
                           .whole_range_ramp = true,
                           .fresh_step_noise = true,
                           .cuda_step_noise = true,
                           .tree_noise = true,
                           .zero_snr_end = 4.8973451890853435e-08f},
};

static const struct {
    const char *name;
    tt_sample_compat compat;
} names[] = {
    {"diffusers", TT_COMPAT_DIFFUSERS}, {"a1111", TT_COMPAT_A1111},
    {"automatic1111", TT_COMPAT_A1111}, {"forge", TT_COMPAT_A1111},
    {"comfyui", TT_COMPAT_COMFYUI},     {"comfy", TT_COMPAT_COMFYUI},
};

const tt_sample_compat_facts *tt_sample_compat_of(tt_sample_compat compat) {
    return &rows[compat];
}

tt_status tt_sample_compat_parse(const char *name, tt_sample_compat *out, tt_err *err) {
    *out = TT_COMPAT_DIFFUSERS;
    if (!name) return TT_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i].name) != 0) continue;
        *out = names[i].compat;
        return TT_OK;
    }
    return tt_fail(err, TT_E_INVALID,
                   "compat: expected diffusers, a1111 or comfyui, found \"%.40s\"", name);
}
