/* From a file's keys to patches. A key is a prefix for the network, a module's name, and an ending for the part:
 *
 *     lora_unet_ | input_blocks_4_1_transformer_blocks_0_attn1_to_q | .lora_down.weight
 *     text_encoder_2. | text_model.encoder.layers.0.mlp.fc1         | .lora_B.weight
 *
 * Prefixes and endings are tables; all that fit are tried, and only a module that exists makes a match. What has none is
 * counted: a file may train more than this model has (a text encoder it was extracted with), and the user is told. */
#include <string.h>

#include "base/alloc.h"
#include "weights/adapter_parts.h"

/* ---- endings ---------------------------------------------------------------------------------------- */

static const struct {
    const char *ending;
    tt__part part;
} endings[] = {
    {".lora_down.weight", TT__LORA_DOWN}, /* kohya */
    {".lora_up.weight", TT__LORA_UP},
    {".lora_mid.weight", TT__LORA_MID},
    {".lora_A.weight", TT__LORA_DOWN}, /* PEFT */
    {".lora_B.weight", TT__LORA_UP},
    {".lora_A.default.weight", TT__LORA_DOWN},
    {".lora_B.default.weight", TT__LORA_UP},
    {".lora_A.default_0.weight", TT__LORA_DOWN},
    {".lora_B.default_0.weight", TT__LORA_UP},
    {".lora_A", TT__LORA_DOWN},
    {".lora_B", TT__LORA_UP},
    {".lora_up.bias", TT__LORA_BIAS},
    {".lora.up.bias", TT__LORA_BIAS},
    {".lora_B.bias", TT__LORA_BIAS},
    {".lora_B.default.bias", TT__LORA_BIAS},
    {".lora.down.weight", TT__LORA_DOWN}, /* diffusers, 2023 */
    {".lora.up.weight", TT__LORA_UP},
    {"_lora.down.weight", TT__LORA_DOWN},
    {"_lora.up.weight", TT__LORA_UP},
    {".lora_linear_layer.down.weight", TT__LORA_DOWN},
    {".lora_linear_layer.up.weight", TT__LORA_UP},
    {".alpha", TT__ALPHA},
    {"_lora.alpha", TT__ALPHA},
    {".lora.alpha", TT__ALPHA},
    {".lora_linear_layer.alpha", TT__ALPHA},
    {".dora_scale", TT__DORA_SCALE},
    {".lora_magnitude_vector", TT__MAGNITUDE},
    {".lora_magnitude_vector.weight", TT__MAGNITUDE},
    {".lora_magnitude_vector.default", TT__MAGNITUDE},
    {".lora_magnitude_vector.default.weight", TT__MAGNITUDE},
    {".hada_w1_a", TT__HADA_W1_A}, /* LyCORIS */
    {".hada_w1_b", TT__HADA_W1_B},
    {".hada_w2_a", TT__HADA_W2_A},
    {".hada_w2_b", TT__HADA_W2_B},
    {".hada_t1", TT__HADA_T1},
    {".hada_t2", TT__HADA_T2},
    {".lokr_w1", TT__LOKR_W1},
    {".lokr_w1_a", TT__LOKR_W1_A},
    {".lokr_w1_b", TT__LOKR_W1_B},
    {".lokr_w2", TT__LOKR_W2},
    {".lokr_w2_a", TT__LOKR_W2_A},
    {".lokr_w2_b", TT__LOKR_W2_B},
    {".lokr_t2", TT__LOKR_T2},
    {".a1.weight", TT__GLORA_A1},
    {".a2.weight", TT__GLORA_A2},
    {".b1.weight", TT__GLORA_B1},
    {".b2.weight", TT__GLORA_B2},
    {".oft_blocks", TT__OFT_BLOCKS},
    {".rescale", TT__RESCALE},
    {".weight", TT__IA3},
    {".on_input", TT__ON_INPUT},
    {".ia3_l", TT__PEFT_IA3},
    {".ia3_l.default", TT__PEFT_IA3},
    {".diff", TT__DIFF},
    {".diff_b", TT__DIFF_B},
    {".set_weight", TT__SET_WEIGHT},
    {".w_norm", TT__DIFF},
    {".b_norm", TT__DIFF_B},
};
enum { N_ENDINGS = sizeof endings / sizeof *endings };

bool tt__part_of_key(const char *key, size_t *at, tt__part *part, size_t *stem_length) {
    for (; *at < N_ENDINGS; (*at)++) {
        if (!tt_ends_with(key, endings[*at].ending)) continue;
        *part = endings[*at].part;
        *stem_length = strlen(key) - strlen(endings[*at].ending);
        (*at)++;
        return true;
    }
    return false;
}

const char *tt__part_name(tt__part part) {
    for (size_t i = 0; i < N_ENDINGS; i++)
        if (endings[i].part == part) return endings[i].ending + 1;
    return "a part";
}

/* ---- prefixes --------------------------------------------------------------------------------------- */

/* Flattened, like the names they stand before. */
static const struct {
    const char *prefix;
    int network;
} prefixes[] = {
    {"lora_unet_", 0},
    {"unet_", 0},
    {"lycoris_", 0},
    {"lycoris_unet_", 0},
    {"oft_unet_", 0},
    {"diffusion_model_", 0},
    {"model_diffusion_model_", 0},
    {"base_model_model_", 0},
    {"base_model_model_unet_", 0},
    {"unet_base_model_model_", 0},
    {"", 0},
    {"lora_te1_", 1},
    {"lora_te_", 1},
    {"text_encoder_", 1},
    {"text_encoder_1_", 1},
    {"text_encoder_base_model_model_", 1},
    {"base_model_model_", 1},
    {"base_model_model_text_encoder_", 1},
    {"te1_", 1},
    {"te_", 1},
    {"lycoris_te1_", 1},
    {"lycoris_text_encoder_", 1},
    {"clip_l_", 1},
    {"clip_l_transformer_", 1},
    {"text_encoders_clip_l_transformer_", 1},
    {"conditioner_embedders_0_transformer_", 1},
    {"lora_te2_", 2},
    {"text_encoder_2_", 2},
    {"text_encoder_2_base_model_model_", 2},
    {"base_model_model_text_encoder_2_", 2},
    {"te2_", 2},
    {"lycoris_te2_", 2},
    {"lycoris_text_encoder_2_", 2},
    {"clip_g_", 2},
    {"clip_g_transformer_", 2},
    {"text_encoders_clip_g_transformer_", 2},
    {"conditioner_embedders_1_model_", 2},
};

/* The alias that stem (its first `length` bytes) spells; NULL: none. */
static const tt__alias *find_alias(const tt__aliases *t, const char *stem, size_t length) {
    char flat[TT_ST_MAX_NAME_BYTES + 1], name[TT__NAME_BYTES];
    for (size_t i = 0; i < length; i++) flat[i] = stem[i] == '.' ? '_' : stem[i];
    flat[length] = '\0';
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const char *rest = tt__after(flat, prefixes[i].prefix);
        if (!rest) continue;
        snprintf(name, sizeof name, "%d:%s", prefixes[i].network, rest);
        int64_t id = tt__names_find(&t->names, name);
        if (id != TT__NO_NAME && t->entries[id].modules[0] != UINT32_MAX) return &t->entries[id];
    }
    return NULL;
}

/* ---- patches ---------------------------------------------------------------------------------------- */

/* The patch of these modules, old or new; *out is NULL when the modules have a patch under another name already. */
static tt_status patch_of(tt_adapter *a, const tt__alias *alias, const char *stem, size_t length,
                          tt__patch **out, tt_err *err) {
    tt__module *first = &a->modules[alias->modules[0]];
    for (int i = 0; i < first->n_patches; i++) {
        *out = &a->patches[first->patches[i]];
        if ((*out)->is_fused == alias->is_fused) return TT_OK;
    }
    void *array = a->patches;
    tt_status grown =
        tt__adapter_reserve(&array, &a->patch_capacity, a->n_patches, sizeof *a->patches, err);
    a->patches = array;
    TT_TRY(grown);
    tt__patch *p = *out = &a->patches[a->n_patches];
    *p = (tt__patch){.is_fused = alias->is_fused};
    memcpy(p->modules, alias->modules, sizeof p->modules);
    p->alias = tt_arena_strndup(&a->arena, stem, length);
    if (!p->alias) return tt_fail_nomem(err, "names of modules", length);
    for (int i = 0; i < (p->is_fused ? TT__THIRDS : 1); i++) {
        tt__module *module = &a->modules[p->modules[i]];
        module->thirds[module->n_patches] = i;
        module->patches[module->n_patches++] = (uint32_t)a->n_patches;
    }
    a->n_patches++;
    return TT_OK;
}

static tt_status match(tt_adapter *a, const tt__aliases *aliases, const tt_st_tensor *t,
                       bool *matched, tt_err *err) {
    tt__part part;
    size_t at = 0, length;
    *matched = false;
    while (tt__part_of_key(t->name, &at, &part, &length)) {
        const tt__alias *alias = find_alias(aliases, t->name, length);
        if (!alias) continue;
        tt__patch *p;
        TT_TRY(patch_of(a, alias, t->name, length, &p, err));
        if (p->parts[part])
            return tt_fail(err, TT_E_FORMAT, "lora %s: %s and %s are the same part of one module",
                           a->report.name, p->parts[part]->name, t->name);
        p->parts[part] = t;
        *matched = true;
        return TT_OK;
    }
    return TT_OK;
}

tt_status tt__adapter_read_keys(tt_adapter *a, const tt__aliases *aliases, tt_err *err) {
    tt_adapter_report *r = &a->report;
    r->n_keys = (int)tt_safetensors_count(a->file);
    for (int i = 0; i < r->n_keys; i++) {
        const tt_st_tensor *t = tt_safetensors_at(a->file, (size_t)i);
        bool matched;
        TT_TRY(match(a, aliases, t, &matched, err));
        if (matched)
            r->n_matched++;
        else if (r->n_unmatched++ < TT_ADAPTER_UNMATCHED_NAMED)
            r->unmatched[r->n_unmatched - 1] = t->name;
    }
    return TT_OK;
}
