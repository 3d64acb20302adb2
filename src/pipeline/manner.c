/* See manner.h. The habits (engine.md 4.9, 4.10, 6):
 *
 *                       nothing named      diffusers      A1111            ComfyUI
 *     prompts           a1111's            plain          a1111's          comfyui's
 *     first noise       cpu                cpu            cuda             cpu
 *     absent negative   the model's        the model's    zeros            encoded
 *     empty negative    encoded            encoded        zeros            encoded
 *     clip skip         by syntax          by syntax      ignored          by syntax
 *
 * "By syntax": as people count, but for plain and compel as diffusers does. */
#include "pipeline/manner.h"

#include <string.h>

#include "text/prompt_encode.h"

static const struct {
    const char *name;
    tt_prompt_syntax syntax;
} syntaxes[] = {
    {"a1111", TT_PROMPT_A1111},
    {"comfyui", TT_PROMPT_COMFY},
    {"compel", TT_PROMPT_COMPEL},
    {"plain", TT_PROMPT_PLAIN},
};

enum { N_SYNTAXES = sizeof syntaxes / sizeof *syntaxes };

const char *tt__syntax_name(tt_prompt_syntax syntax) {
    for (size_t i = 0; i < N_SYNTAXES; i++)
        if (syntaxes[i].syntax == syntax) return syntaxes[i].name;
    return "";
}

static tt_status find_syntax(const char *name, tt_prompt_syntax *out, tt_err *err) {
    for (size_t i = 0; name && i < N_SYNTAXES; i++) {
        if (strcmp(name, syntaxes[i].name) != 0) continue;
        *out = syntaxes[i].syntax;
        return TT_OK;
    }
    if (!name) return TT_OK;
    return tt_fail(err, TT_E_INVALID,
                   "prompt syntax: expected a1111, comfyui, compel or plain, found \"%.40s\"",
                   name);
}

static tt_status find_policy(const char *name, tt__absent *out, tt_err *err) {
    if (!name) return TT_OK;
    if (strcmp(name, "zeros") != 0 && strcmp(name, "encoded") != 0)
        return tt_fail(err, TT_E_INVALID,
                       "negative policy: expected zeros or encoded, found \"%.40s\"", name);
    *out = name[0] == 'z' ? TT__ABSENT_ZEROS : TT__ABSENT_ENCODED;
    return TT_OK;
}

tt_status tt__manner_of(const tt_request *r, tt__manner *out, tt_err *err) {
    *out = (tt__manner){.syntax = TT_PROMPT_A1111};
    const char *noise = r->noise;
    TT_TRY(tt_sample_compat_parse(r->compat, &out->compat, err));
    bool is_a1111 = out->compat == TT_COMPAT_A1111;
    if (r->compat && out->compat == TT_COMPAT_DIFFUSERS) out->syntax = TT_PROMPT_PLAIN;
    if (out->compat == TT_COMPAT_COMFYUI) {
        out->syntax = TT_PROMPT_COMFY;
        out->absent = TT__ABSENT_ENCODED;
    }
    if (is_a1111) out->absent = TT__ABSENT_ZEROS;
    out->empty_is_absent = is_a1111 && !r->negative_policy;
    if (!noise && is_a1111) noise = "cuda";
    TT_TRY(tt_noise_kind_parse(noise, &out->noise, err));
    TT_TRY(find_syntax(r->prompt_syntax, &out->syntax, err));
    TT_TRY(find_policy(r->negative_policy, &out->absent, err));
    out->skip_rule = is_a1111 ? TT_CLIP_SKIP_IGNORED : tt_encode_options_for(out->syntax).skip_rule;
    return TT_OK;
}
