/* PEFT keeps alpha in adapter_config.json. diffusers copies that into the safetensors file's metadata, as one JSON text:
 *
 *     "lora_adapter_metadata": {"unet.r": 16, "unet.lora_alpha": 32, "unet.use_rslora": false,
 *                               "unet.alpha_pattern": {"attn1.to_q": 8}, "text_encoder.r": ...}
 *     "adapter_config":        {"r": 16, "lora_alpha": 32, ...}
 *
 * PEFT's own adapter_model.safetensors has it in the file beside: that is read as if it were the second. LoHa and LoKr call
 * it "alpha".
 *
 * A pattern is a regular expression, and holds for modules whose path is what it describes or ends with it after a dot; the
 * first that holds counts. Nearly all are plain paths. The others are put into POSIX's words; one that has no such words is
 * refused, since its modules would silently get another strength. An alpha that is a tensor wins.
 */
#include <ctype.h>
#include <math.h>
#include <regex.h>
#include <string.h>

#include "base/file.h"
#include "base/limits.h"
#include "weights/adapter_parts.h"

enum {
    LABEL_BYTES = 128,
    PATH_BYTES = 4096,
    MAX_EXPRESSIONS =
        64, /* in one pattern table: each is compiled anew for every module, which takes microseconds */
    EXPRESSION_BYTES = 512, /* module paths take up to 100 */
};
static const char *const prefixes[] = {"unet.", "text_encoder.", "text_encoder_2."};

static tt_status read_metadata(json_object **root, const tt_adapter *a, const char *key,
                               tt_err *err) {
    const char *text = tt_safetensors_metadata(a->file, key);
    if (!text) return TT_OK;
    tt_status status = tt_json_parse(text, strlen(text), root, err);
    if (status == TT_OK && !json_object_is_type(*root, json_type_object))
        status = tt_fail(err, TT_E_FORMAT, "expected an object");
    return status == TT_OK
               ? TT_OK
               : tt_fail_prefix(err, status, "lora %s: metadata %s", a->report.name, key);
}

/* folder/adapter_model.safetensors has folder/adapter_config.json beside it. */
static tt_status read_beside(json_object **root, const tt_adapter *a, tt_err *err) {
    static const char own[] = "adapter_model.safetensors", beside[] = "adapter_config.json";
    const char *path = tt_safetensors_path(a->file);
    char config[PATH_BYTES];
    if (strcmp(a->report.name, own) != 0) return TT_OK;
    int folder = (int)(strlen(path) - strlen(own));
    int length = snprintf(config, sizeof config, "%.*s%s", folder, path, beside);
    if (length >= (int)sizeof config || !tt_file_exists(config)) return TT_OK;
    tt_status status = tt_json_read_file(config, root, err);
    if (status == TT_OK && !json_object_is_type(*root, json_type_object))
        status = tt_fail(err, TT_E_FORMAT, "expected an object");
    return status == TT_OK ? TT_OK
                           : tt_fail_prefix(err, status, "lora %s: %s", a->report.name, beside);
}

tt_status tt__alphas_read(tt__alphas *alphas, const tt_adapter *a, tt_err *err) {
    TT_TRY(read_metadata(&alphas->roots[0], a, "lora_adapter_metadata", err));
    TT_TRY(read_metadata(&alphas->roots[1], a, "adapter_config", err));
    return alphas->roots[0] || alphas->roots[1] ? TT_OK : read_beside(&alphas->roots[1], a, err);
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

/* ---- patterns --------------------------------------------------------------------------------------- */

static bool is_expression(const char *pattern) {
    return strpbrk(pattern, "^$\\*+?()[]{}|") != NULL; /* a dot also fits itself */
}

/* path is pattern or ends with ".pattern" */
static bool ends_with(const char *path, const char *pattern) {
    size_t n = strlen(path), m = strlen(pattern);
    if (n < m || strcmp(path + n - m, pattern) != 0) return false;
    return n == m || path[n - m - 1] == '.';
}

/* What POSIX says for the escape or group that begins at *p, which is stepped over; NULL: nothing, or nothing safe. Counts in
 * braces are among those: they may multiply to gigabytes. */
static const char *translate_one(const char **p, char two[3]) {
    const char *at = *p;
    if (*at == '{' || (at[0] == '(' && at[1] == '?' && at[2] != ':')) return NULL;
    *p += at[0] == '(' && at[1] == '?' ? 3 : at[0] == '\\' ? 2 : 1;
    if (*at == '(') return "(";
    if (strchr("*+?", *at) && **p == '?') (*p)++; /* lazy: what matches is the same */
    if (*at != '\\') {
        two[0] = *at;
        two[1] = '\0';
        return two;
    }
    if (at[1] == 'd') return "[0-9]";
    if (at[1] == 'w') return "[A-Za-z0-9_]";
    if (!ispunct((unsigned char)at[1])) return NULL;
    memcpy(two, at, 2);
    two[2] = '\0';
    return two;
}

/* As Python's re.match of "(.*\.)?(pattern)$". */
static bool translate(const char *pattern, char out[EXPRESSION_BYTES]) {
    char two[3];
    size_t n = (size_t)snprintf(out, EXPRESSION_BYTES, "^(.*\\.)?(");
    for (const char *p = pattern; *p;) {
        const char *said = translate_one(&p, two);
        if (!said || n + strlen(said) + sizeof ")$" > EXPRESSION_BYTES) return false;
        n += (size_t)snprintf(out + n, EXPRESSION_BYTES - n, "%s", said);
    }
    snprintf(out + n, EXPRESSION_BYTES - n, ")$");
    return true;
}

static tt_status fits(const char *path, const char *pattern, bool *out, tt_err *err) {
    char text[EXPRESSION_BYTES];
    regex_t compiled;
    *out = false;
    if (!is_expression(pattern)) {
        *out = ends_with(path, pattern);
        return TT_OK;
    }
    bool has_class = strchr(pattern, '[') && strchr(pattern, '\\'); /* [\d]: other rules */
    if (has_class || !translate(pattern, text) ||
        regcomp(&compiled, text, REG_EXTENDED | REG_NOSUB) != 0)
        return tt_fail(err, TT_E_UNSUPPORTED, "\"%.100s\" is no expression that we can read",
                       pattern);
    *out = regexec(&compiled, path, 0, NULL, 0) == 0;
    regfree(&compiled);
    return TT_OK;
}

/* By the path, or as transformers 5 has it. */
static tt_status fits_module(const char *path, const char *pattern, bool *out, tt_err *err) {
    const char *bare = tt__after(path, "text_model.");
    TT_TRY(fits(path, pattern, out, err));
    return *out || !bare ? TT_OK : fits(bare, pattern, out, err);
}

/* ---- alphas ----------------------------------------------------------------------------------------- */

/* The first pattern that holds for the module sets *value. */
static tt_status pattern_alpha(json_object *patterns, const char *path, double *value,
                               tt_err *err) {
    int n_expressions = 0;
    if (!json_object_is_type(patterns, json_type_object)) return TT_OK;
    json_object_object_foreach(patterns, name, own) {
        bool holds;
        if (!is_number(own)) continue;
        if (is_expression(name) && ++n_expressions > MAX_EXPRESSIONS)
            return tt_fail(err, TT_E_UNSUPPORTED, "more than %d expressions", MAX_EXPRESSIONS);
        TT_TRY(fits_module(path, name, &holds, err));
        if (!holds) continue;
        *value = json_object_get_double(own);
        return TT_OK;
    }
    return TT_OK;
}

/* The alpha of a patch in this root; NaN: it says nothing. */
static tt_status alpha_in(json_object *root, const char *prefix, const tt__patch *p,
                          const char *path, double *value, tt_err *err) {
    json_object *alpha = member(root, prefix, p->kind == TT__LORA ? "lora_alpha" : "alpha");
    *value = is_number(alpha) ? json_object_get_double(alpha) : (double)NAN;
    return pattern_alpha(member(root, prefix, "alpha_pattern"), path, value, err);
}

/* LoKr's factors may be whole: then the file alone knows the rank. */
static double rank_of(json_object *root, const char *prefix, const tt__patch *p) {
    json_object *rank = member(root, prefix, "r");
    if (p->rank) return (double)p->rank;
    double found = is_number(rank) ? json_object_get_double(rank) : 1;
    return found > 0 ? found : 1;
}

static bool has_alpha_in_metadata(const tt__patch *p) {
    bool has_kind = p->kind == TT__LORA || p->kind == TT__LOHA || p->kind == TT__LOKR;
    return has_kind && !p->parts[TT__ALPHA];
}

tt_status tt__alphas_scale(const tt__alphas *alphas, const tt_adapter *a, const tt__patch *p,
                           float *scale, tt_err *err) {
    const tt__module *m = &a->modules[p->modules[0]];
    const char *path = strchr(m->stem, '.') + 1;
    for (int i = 0; has_alpha_in_metadata(p) && i < 2; i++) {
        json_object *root = alphas->roots[i];
        const char *prefix = i == 0 ? prefixes[m->network] : "";
        double alpha;
        if (!root) continue;
        tt_status status = alpha_in(root, prefix, p, path, &alpha, err);
        if (status != TT_OK)
            return tt_fail_prefix(err, status, "lora %s: metadata alpha_pattern", a->report.name);
        if (!isfinite(alpha)) continue;
        double rank = rank_of(root, prefix, p);
        bool by_root = json_object_get_boolean(member(root, prefix, "use_rslora"));
        *scale = (float)(alpha / (by_root ? sqrt(rank) : rank));
        return TT_OK;
    }
    return TT_OK;
}
