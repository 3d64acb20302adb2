#include "sample/recipes.h"

#include <stdbool.h>
#include <string.h>

#include "base/ascii.h"

#define TURBO     "https://huggingface.co/stabilityai/sdxl-turbo"
#define LIGHTNING "https://huggingface.co/ByteDance/SDXL-Lightning"
#define HYPER     "https://huggingface.co/ByteDance/Hyper-SD"
#define LCM       "https://huggingface.co/latent-consistency/lcm-lora-sdxl"
#define TCD       "https://huggingface.co/h1t/TCD-SDXL-LoRA"
#define DMD2      "https://huggingface.co/tianweiy/DMD2"

/* Lightning's one-step model is missing: it predicts the picture itself. So is DMD2's, which starts at
 * a timestep of its own. The Hyper rows with guidance are its "CFG-preserved" LoRAs. */
static const tt_sample_recipe recipes[] = {
    {"turbo", "turbo", "euler_a", "trailing", 1, 1, -1, TURBO},
    {"turbo-2", "turbo", "euler_a", "trailing", 2, 1, -1, TURBO},
    {"turbo-4", "turbo", "euler_a", "trailing", 4, 1, -1, TURBO},
    {"lightning-4", "lightning", "euler", "trailing", 4, 1, -1, LIGHTNING},
    {"lightning-2", "lightning", "euler", "trailing", 2, 1, -1, LIGHTNING},
    {"lightning-8", "lightning", "euler", "trailing", 8, 1, -1, LIGHTNING},
    {"hyper-8", "hyper", "ddim", "trailing", 8, 1, -1, HYPER},
    {"hyper-1", "hyper", "tcd", "default", 1, 1, 1, HYPER},
    {"hyper-2", "hyper", "ddim", "trailing", 2, 1, -1, HYPER},
    {"hyper-4", "hyper", "ddim", "trailing", 4, 1, -1, HYPER},
    {"hyper-cfg-8", "hyper-cfg", "ddim", "trailing", 8, 5, -1, HYPER},
    {"hyper-cfg-12", "hyper-cfg", "ddim", "trailing", 12, 5, -1, HYPER},
    {"lcm", "lcm", "lcm", "default", 4, 1, -1, LCM},
    {"lcm-8", "lcm", "lcm", "default", 8, 1, -1, LCM},
    {"tcd", "tcd", "tcd", "default", 4, 1, 0.3f, TCD},
    {"tcd-8", "tcd", "tcd", "default", 8, 1, 0.3f, TCD},
    {"dmd2-4", "dmd2", "lcm", "trailing", 4, 1, -1, DMD2},
    {.name = NULL},
};

const tt_sample_recipe *tt_sample_recipes(void) {
    return recipes;
}

static bool is_letter(char c) {
    return tt_ascii_lower(c) >= 'a' && tt_ascii_lower(c) <= 'z';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool begins_with(const char *text, const char *word) {
    for (; *word; text++, word++)
        if (tt_ascii_lower(*text) != *word) return false;
    return true;
}

/* Where a family's word ends in text; NULL: it is not there as a word of its own. File names glue words
 * together: "HyperSDXL", "lightningDPM". */
static const char *find_word(const char *text, const char *word) {
    for (const char *at = text; *at; at++) {
        if (!begins_with(at, word) ||
            (at > text && is_letter(at[-1]) && tt_ascii_lower(*at) == *at))
            continue;
        const char *after = at + strlen(word);
        bool glued = begins_with(after, "sd") || begins_with(after, "xl") ||
                     tt_ascii_lower(*after) != *after;
        if (!is_letter(*after) || glued) return after;
    }
    return NULL;
}

/* The number before "step" or, in our own names, after the family's dash; 0: none. */
static int find_steps(const char *after) {
    enum { MOST = 1000 };
    for (const char *at = after; *at; at++) {
        if (!is_digit(*at) || is_digit(at[-1])) continue;
        const char *end = at;
        int n = 0;
        for (; is_digit(*end); end++) n = n < MOST ? 10 * n + (*end - '0') : MOST;
        const char *unit = end + (*end == '-' || *end == '_' || *end == ' ');
        bool ours = at == after + 1 && at[-1] == '-' && *end == '\0';
        if (ours || begins_with(unit, "step")) return n;
    }
    return 0;
}

static const tt_sample_recipe *find_in_family(const char *family, int steps) {
    for (const tt_sample_recipe *r = recipes; r->name; r++)
        if (strcmp(r->family, family) == 0 && (steps == 0 || r->steps == steps)) return r;
    return NULL;
}

const tt_sample_recipe *tt_sample_recipe_find(const char *text) {
    static const char *const families[] = {"turbo", "lightning", "hyper", "dmd2", "tcd", "lcm"};
    for (const tt_sample_recipe *r = recipes; r->name; r++)
        if (begins_with(text, r->name) && text[strlen(r->name)] == '\0') return r;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        const char *after = find_word(text, families[i]);
        if (!after) continue;
        bool cfg = strcmp(families[i], "hyper") == 0 && find_word(after, "cfg");
        return find_in_family(cfg ? "hyper-cfg" : families[i], find_steps(after));
    }
    return NULL;
}

static bool says_steps(const char *name) {
    for (const char *at = name; *at; at++) {
        if (!is_digit(*at)) continue;
        while (is_digit(at[1])) at++;
        const char *unit = at + 1 + (at[1] == '-' || at[1] == '_' || at[1] == ' ');
        if (begins_with(unit, "step")) return true;
    }
    return false;
}

const tt_sample_recipe *tt_sample_recipe_of_file(const char *name) {
    bool is_makers = begins_with(name, "sd_xl_turbo") || begins_with(name, "sdxl-turbo") ||
                     begins_with(name, "sdxl_turbo");
    return is_makers || says_steps(name) ? tt_sample_recipe_find(name) : NULL;
}
