/* See config.h. */
#include "cmd/config.h"

#include "app/values.h"
#include "base/file.h"

#define USUAL_FILE "tintype.json"

const char *tt__config_path(const tt_settings *s, tt_problems *problems) {
    const char *path = NULL;
    tt_value_string(s, TT_OPT_CONFIG, &path, problems);
    if (path) return path;
    return tt_file_exists(USUAL_FILE) ? USUAL_FILE : NULL;
}

static tt_status choose(tt_settings *s, const tt_presets *p, tt_problems *problems, tt_err *err) {
    tt_status status = tt_settings_choose_preset(s, p, problems, err);
    if (status == TT_E_INVALID && problems->count == 0)
        tt_problems_add(problems, "%s", err->message);
    return status;
}

tt_status tt__config_use(tt_settings *s, tt_presets **out, tt_problems *problems, tt_err *err) {
    const char *path = tt__config_path(s, problems);
    *out = NULL;
    if (!path) return TT_OK;
    TT_TRY(tt_presets_open(path, out, problems, err));
    return choose(s, *out, problems, err);
}
