/* Two alias tables and a suffix rule. A pasted name is reduced to a key of letters and digits ('+'
 * counts as 'p': "DPM++ 2M" and "dpmpp_2m" meet at "dpmpp2m"), then looked up whole, then as
 * sampler + schedule. */
#include "sample/names.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"

enum { KEY_BYTES = 64 }; /* twice the longest alias with the longest schedule */

typedef struct alias {
    const char *key;
    const char *sampler;  /* canonical; NULL: exists in other programs, not here */
    const char *schedule; /* canonical, or NULL: the name does not say */
} alias;

static const alias samplers[] = {
    /* ours */
    {"euler", "euler", NULL},
    {"eulera", "euler_a", NULL},
    {"heun", "heun", NULL},
    {"dpmpp2m", "dpmpp_2m", NULL},
    {"dpmpp2msde", "dpmpp_2m_sde", NULL},
    {"ddim", "ddim", NULL},
    {"unipc", "unipc", NULL},
    {"lcm", "lcm", NULL},
    {"dpmppsde", "dpmpp_sde", NULL},
    {"dpmpp3msde", "dpmpp_3m_sde", NULL},
    {"dpmpp2s", "dpmpp_2s", NULL},
    {"dpmpp2sa", "dpmpp_2s_a", NULL},
    {"dpm2", "dpm2", NULL},
    {"dpm2a", "dpm2_a", NULL},
    {"lms", "lms", NULL},
    {"pndm", "pndm", NULL},
    {"tcd", "tcd", NULL},
    {"resmultistep", "res_multistep", NULL},
    {"eulercfgpp", "euler_cfgpp", NULL},
    /* ComfyUI, A1111 and k-diffusion */
    {"eulerancestral", "euler_a", NULL},
    {"dpmpp2msdegpu", "dpmpp_2m_sde", NULL},
    {"dpmppsdegpu", "dpmpp_sde", NULL},
    {"dpmpp3msdegpu", "dpmpp_3m_sde", NULL},
    {"dpmpp2sancestral", "dpmpp_2s_a", NULL},
    {"dpm2ancestral", "dpm2_a", NULL},
    {"unipcbh2", "unipc", NULL},
    {"keuler", "euler", NULL},
    {"keulera", "euler_a", NULL},
    {"keulerancestral", "euler_a", NULL},
    {"kheun", "heun", NULL},
    {"klms", "lms", NULL},
    {"kdpm2", "dpm2", NULL},
    {"kdpm2a", "dpm2_a", NULL},
    {"kdpm2ancestral", "dpm2_a", NULL},
    {"kdpmpp2m", "dpmpp_2m", NULL},
    {"kdpmpp2msde", "dpmpp_2m_sde", NULL},
    {"kdpmpp3msde", "dpmpp_3m_sde", NULL},
    {"kdpmppsde", "dpmpp_sde", NULL},
    {"kdpmpp2sa", "dpmpp_2s_a", NULL},
    {"dpm2m", "dpmpp_2m", NULL},
    {"dpm3msde", "dpmpp_3m_sde", NULL},
    {"plms", "pndm", NULL},
    /* diffusers classes, less "Scheduler" */
    {"eulerdiscrete", "euler", NULL},
    {"eulerancestraldiscrete", "euler_a", NULL},
    {"heundiscrete", "heun", NULL},
    {"lmsdiscrete", "lms", NULL},
    {"kdpm2discrete", "dpm2", NULL},
    {"kdpm2ancestraldiscrete", "dpm2_a", NULL},
    {"dpmsolvermultistep", "dpmpp_2m", NULL},
    {"dpmsolversinglestep", "dpmpp_2s", NULL},
    {"dpmsolversde", "dpmpp_sde", NULL},
    {"unipcmultistep", "unipc", NULL},
    {"edmeuler", "euler", NULL},
    {"edmdpmsolvermultistep", "dpmpp_2m", NULL},
    /* hosted services */
    {"karrasdpm", "dpmpp_2m", "karras"},
    /* known elsewhere */
    {"dpmfast", NULL, NULL},
    {"dpmadaptive", NULL, NULL},
    {"dpmpp2msdeheun", NULL, NULL},
    {"deis", NULL, NULL},
    {"deismultistep", NULL, NULL},
    {"ddpm", NULL, NULL},
    {"restart", NULL, NULL},
    {"ipndm", NULL, NULL},
    {"sasolver", NULL, NULL},
    {"gradientestimation", NULL, NULL},
    {"ersde", NULL, NULL},
};

/* A longer key stands before one that it ends with. */
static const struct {
    const char *key, *schedule;
} schedules[] = {
    {"default", "default"},
    {"automatic", "default"},
    {"leading", "leading"},
    {"trailing", "trailing"},
    {"linspace", "linspace"},
    {"karras", "karras"},
    {"exponential", "exponential"},
    {"sgmuniform", "sgm_uniform"},
    {"simple", "simple"},
    {"beta", "beta"},
    {"alignyoursteps", "ays"},
    {"ays", "ays"},
    {"klopt", "kl_optimal"},
    {"kloptimal", "kl_optimal"},
    {"ddimuniform", "ddim_uniform"},
    {"linearquadratic", "linear_quadratic"},
    {"normal", "normal"},
    {"uniform", "normal"}, /* A1111's word for it */
};

/* In the order in which they are listed to people. */
static const char *const sampler_names[] = {
    "euler", "euler_a",   "heun",         "dpmpp_2m",      "dpmpp_2m_sde", "ddim", "unipc",
    "lcm",   "dpmpp_sde", "dpmpp_3m_sde", "dpmpp_2s",      "dpmpp_2s_a",   "dpm2", "dpm2_a",
    "lms",   "pndm",      "tcd",          "res_multistep", "euler_cfgpp",  NULL};
static const char *const sampler_labels[] = {
    "Euler", "Euler a",   "Heun",         "DPM++ 2M",      "DPM++ 2M SDE", "DDIM", "UniPC",
    "LCM",   "DPM++ SDE", "DPM++ 3M SDE", "DPM++ 2S",      "DPM++ 2S a",   "DPM2", "DPM2 a",
    "LMS",   "PNDM",      "TCD",          "RES Multistep", "Euler CFG++"};
static const char *const schedule_names[] = {
    "default", "leading",     "trailing",     "linspace",         "normal",
    "karras",  "exponential", "sgm_uniform",  "simple",           "beta",
    "ays",     "kl_optimal",  "ddim_uniform", "linear_quadratic", NULL};
static const char *const schedule_labels[] = {"",
                                              "Leading",
                                              "Trailing",
                                              "Linspace",
                                              "Normal",
                                              "Karras",
                                              "Exponential",
                                              "SGM Uniform",
                                              "Simple",
                                              "Beta",
                                              "Align Your Steps",
                                              "KL Optimal",
                                              "DDIM Uniform",
                                              "Linear Quadratic"};

#define SAMPLER_LIST                                              \
    "euler, euler_a, heun, dpmpp_2m, dpmpp_2m_sde, ddim, unipc, " \
    "lcm, dpmpp_sde, dpmpp_3m_sde, dpmpp_2s, dpmpp_2s_a, dpm2, "  \
    "dpm2_a, lms, pndm, tcd, res_multistep, euler_cfgpp"
#define SCHEDULE_LIST                                           \
    "default, leading, trailing, linspace, normal, karras, "    \
    "exponential, sgm_uniform, simple, beta, ays, kl_optimal, " \
    "ddim_uniform, linear_quadratic"

const char *const *tt_sample_sampler_names(void) {
    return sampler_names;
}

const char *const *tt_sample_schedule_names(void) {
    return schedule_names;
}

/* False when the name is longer than any we know. */
static bool make_key(const char *text, char key[KEY_BYTES]) {
    size_t length = 0;
    for (; *text; text++) {
        char c = tt_ascii_lower(*text);
        if (c == '+') c = 'p';
        bool counts = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c & 0x80);
        if (!counts) continue;
        if (length + 1 == KEY_BYTES) return false;
        key[length++] = c;
    }
    key[length] = '\0';
    return true;
}

/* True when key ends with suffix and something stands before it, of length *left. */
static bool has_suffix(const char *key, size_t length, const char *suffix, size_t *left) {
    size_t n = strlen(suffix);
    if (length <= n || memcmp(key + length - n, suffix, n) != 0) return false;
    *left = length - n;
    return true;
}

/* k-diffusion's functions are sample_euler..., diffusers' classes EulerDiscreteScheduler. */
static const alias *find_sampler(const char *key, size_t length) {
    static const char prefix[] = "sample";
    size_t skip = sizeof prefix - 1;
    if (length > skip && memcmp(key, prefix, skip) == 0) {
        key += skip;
        length -= skip;
    }
    has_suffix(key, length, "scheduler", &length);
    for (size_t i = 0; i < sizeof samplers / sizeof samplers[0]; i++)
        if (strlen(samplers[i].key) == length && memcmp(samplers[i].key, key, length) == 0)
            return &samplers[i];
    return NULL;
}

static const alias *find_pair(const char *key, const char **schedule) {
    size_t length = strlen(key), left;
    for (size_t i = 0; i < sizeof schedules / sizeof schedules[0]; i++) {
        if (!has_suffix(key, length, schedules[i].key, &left)) continue;
        *schedule = schedules[i].schedule;
        const alias *found = find_sampler(key, left);
        if (found) return found;
    }
    *schedule = NULL;
    return NULL;
}

tt_status tt_sample_lookup(const char *pasted, const char **sampler, const char **schedule,
                           tt_err *err) {
    char key[KEY_BYTES];
    *sampler = *schedule = NULL;
    const alias *found = NULL;
    if (make_key(pasted, key)) {
        found = find_sampler(key, strlen(key));
        if (found)
            *schedule = found->schedule;
        else
            found = find_pair(key, schedule);
    }
    if (!found)
        return tt_fail(err, TT_E_INVALID,
                       "sampler: expected one of " SAMPLER_LIST ", found \"%.60s\"", pasted);
    if (!found->sampler)
        return tt_fail(
            err, TT_E_UNSUPPORTED,
            "sampler: \"%.60s\" exists in other programs and is not available here; choose one "
            "of " SAMPLER_LIST,
            pasted);
    *sampler = found->sampler;
    return TT_OK;
}

tt_status tt_sample_lookup_schedule(const char *pasted, const char **schedule, tt_err *err) {
    char key[KEY_BYTES];
    *schedule = NULL;
    if (make_key(pasted, key))
        for (size_t i = 0; i < sizeof schedules / sizeof schedules[0]; i++)
            if (strcmp(key, schedules[i].key) == 0) *schedule = schedules[i].schedule;
    if (*schedule) return TT_OK;
    return tt_fail(err, TT_E_INVALID,
                   "schedule: expected one of " SCHEDULE_LIST ", found \"%.60s\"", pasted);
}

static const char *label_of(const char *name, const char *const *names, const char *const *labels) {
    for (int i = 0; names[i]; i++)
        if (strcmp(name, names[i]) == 0) return labels[i];
    return name;
}

void tt_sample_label(const char *sampler, const char *schedule, char out[TT_SAMPLE_LABEL_BYTES]) {
    const char *first = label_of(sampler, sampler_names, sampler_labels);
    const char *second = schedule ? label_of(schedule, schedule_names, schedule_labels) : "";
    snprintf(out, TT_SAMPLE_LABEL_BYTES, "%s%s%s", first, *second ? " " : "", second);
}
