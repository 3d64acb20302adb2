/* PEFT keeps alpha in adapter_config.json. diffusers copies that into the safetensors file's metadata, as one JSON text:
 *
 *     "lora_adapter_metadata": {"unet.r": 16, "unet.lora_alpha": 32, "unet.use_rslora": false,
 *                               "unet.alpha_pattern": {"attn1.to_q": 8}, "text_encoder.r": ...}
 *     "adapter_config":        {"r": 16, "lora_alpha": 32, ...}
 *
 * A pattern holds for modules whose path is it or ends with it after a dot. An alpha that is a tensor wins. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "weights/adapter_parts.h"

enum { LABEL_BYTES = 128 };
static const char *const prefixes[] = {"unet.", "text_encoder.", "text_encoder_2."};

tt_status tt__alphas_read(tt__alphas *alphas, const tt_adapter *a, tt_err *err) {
    static const char *const keys[] = {"lora_adapter_metadata", "adapter_config"};
    for (int i = 0; i < 2; i++) {
        const char *text = tt_safetensors_metadata(a->file, keys[i]);
        if (!text) continue;
        tt_status status = tt_json_parse(text, strlen(text), &alphas->roots[i], err);
        if (status == TT_OK && !json_object_is_type(alphas->roots[i], json_type_object))
            status = tt_fail(err, TT_E_FORMAT, "expected an object");
        if (status != TT_OK)
            return tt_fail_prefix(err, status, "lora %s: metadata %s", a->report.name, keys[i]);
    }
    return TT_OK;
}

void tt__alphas_release(tt__alphas *alphas) {
    for (int i = 0; i < 2; i++) json_object_put(alphas->roots[i]);
    *alphas = (tt__alphas){0};
}

static json_object *member(json_object *root, const char *prefix, const char *name) {
    char key[LABEL_BYTES];
    json_object *value = NULL;
    snprintf(key, sizeof key, "%s%s", prefix, name);
    json_object_object_get_ex(root, key, &value);
    return value;
}

static bool is_number(json_object *o) {
    return json_object_is_type(o, json_type_int) || json_object_is_type(o, json_type_double);
}

/* path is pattern or ends with ".pattern" */
static bool fits(const char *path, const char *pattern) {
    size_t n = strlen(path), m = strlen(pattern);
    if (n < m || strcmp(path + n - m, pattern) != 0) return false;
    return n == m || path[n - m - 1] == '.';
}

/* The module's alpha in this root; NaN: it says nothing. */
static double alpha_in(json_object *root, const char *prefix, const char *path) {
    json_object *pattern = member(root, prefix, "alpha_pattern");
    json_object *alpha = member(root, prefix, "lora_alpha");
    double value = is_number(alpha) ? json_object_get_double(alpha) : (double)NAN;
    if (!json_object_is_type(pattern, json_type_object)) return value;
    json_object_object_foreach(pattern, name, own) {
        if (fits(path, name) && is_number(own)) value = json_object_get_double(own);
    }
    return value;
}

float tt__alphas_scale(const tt__alphas *alphas, const tt_adapter *a, const tt__patch *p,
                       float fallback) {
    const tt__module *m = &a->modules[p->modules[0]];
    const char *path = strchr(m->stem, '.') + 1;
    if (p->kind != TT__LORA || p->parts[TT__ALPHA]) return fallback;
    for (int i = 0; i < 2; i++) {
        const char *prefix = i == 0 ? prefixes[m->network] : "";
        if (!alphas->roots[i]) continue;
        double alpha = alpha_in(alphas->roots[i], prefix, path);
        if (!isfinite(alpha)) continue;
        bool by_root = json_object_get_boolean(member(alphas->roots[i], prefix, "use_rslora"));
        return (float)(alpha / (by_root ? sqrt((double)p->rank) : (double)p->rank));
    }
    return fallback;
}
