/* See outfile.h. */
#include "cmd/outfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/show.h"
#include "app/values.h"
#include "base/file.h"
#include "image/image.h"

/* The name's extension with its dot, "" when it has none. A dot that begins the name begins a
 * hidden file. */
static const char *extension_of(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    return dot && dot != name ? dot : "";
}

/* The format that the settings name, in its canonical spelling; NULL when that is no format. */
static const char *named_format(const tt_settings *s) {
    tt_problems told_elsewhere = {.count = 0};
    tt_image_format format;
    const char *name = NULL;
    tt_value_choice(s, TT_OPT_FORMAT, &name, &told_elsewhere);
    if (!name || tt_image_format_from_name(name, &format, NULL) != TT_OK) return NULL;
    return tt_image_format_name(format);
}

void tt__outfile_settle_format(tt_settings *s, const char **out_path, tt_problems *problems) {
    const tt_setting *out = &s->of[TT_OPT_OUT], *asked = &s->of[TT_OPT_FORMAT];
    const char *wanted = named_format(s);
    tt_image_format format;
    tt_err err;
    *out_path = NULL;
    tt_value_string(s, TT_OPT_OUT, out_path, problems);
    const char *path = *out_path;
    if (!path || tt_file_is_directory(path) || !extension_of(path)[0]) return;
    if (tt_image_format_from_path(path, &format, &err) != TT_OK) {
        tt_problems_add(problems, "%s: %s", out->spelling, err.message);
        return;
    }
    const char *name = tt_image_format_name(format);
    if (asked->origin < out->origin) {
        if (tt_settings_set_text(s, TT_OPT_FORMAT, out->origin, out->spelling, name, &err) != TT_OK)
            tt_problems_add(problems, "%s", err.message);
    } else if (wanted && strcmp(wanted, name) != 0) {
        char shown[TT_SHOWN_BYTES];
        tt_show_text(shown, path, strlen(path));
        tt_problems_add(problems, "%s: expected a name that ends in .%s, as %s says, found %s",
                        out->spelling, wanted, asked->spelling, shown);
    }
}

static tt_status copy(char *out, size_t size, const char *text, size_t length, tt_err *err) {
    if (length >= size) return tt_fail(err, TT_E_INVALID, "path too long: %.200s", text);
    memcpy(out, text, length);
    out[length] = '\0';
    return TT_OK;
}

/* Fails unless a file can be made in the directory that `path` names a file of. */
static tt_status check_directory(const char *path, tt_err *err) {
    char directory[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    if (slash)
        TT_TRY(copy(directory, sizeof directory, path, slash == path ? 1 : (size_t)(slash - path),
                    err));
    if (!tt_file_exists(directory))
        return tt_fail(err, TT_E_NOT_FOUND, "cannot write %s: there is no directory %s", path,
                       directory);
    if (!tt_file_is_directory(directory))
        return tt_fail(err, TT_E_INVALID, "cannot write %s: %s is not a directory", path,
                       directory);
    if (access(directory, W_OK | X_OK) != 0)
        return tt_fail_errno(err, "cannot write in", directory);
    return TT_OK;
}

static tt_status check_file(const char *path, tt_err *err) {
    if (access(path, F_OK) == 0 && access(path, W_OK) != 0)
        return tt_fail_errno(err, "cannot write", path);
    return check_directory(path, err);
}

tt_status tt__outfile_plan(const char *out_path, const char *format, tt__outfile *out,
                           tt_err *err) {
    *out = (tt__outfile){.is_seed_always = false};
    if (!out_path || tt_file_is_directory(out_path)) {
        out->is_seed_always = true;
        const char *extension = strcmp(format, "jpeg") == 0 ? "jpg" : format;
        snprintf(out->extension, sizeof out->extension, ".%s", extension);
        const char *directory = out_path ? out_path : ".";
        TT_TRY(tt_path_join(out->stem, sizeof out->stem, directory, "tintype", err));
        return check_directory(out->stem, err);
    }
    const char *extension = extension_of(out_path);
    size_t stem_length = strlen(out_path) - strlen(extension);
    TT_TRY(copy(out->extension, sizeof out->extension, extension, strlen(extension), err));
    TT_TRY(copy(out->stem, sizeof out->stem, out_path, stem_length, err));
    return check_file(out_path, err);
}

tt_status tt__outfile_path(const tt__outfile *out, int n_pictures, uint64_t seed,
                           char path[PATH_MAX], tt_err *err) {
    const char *stem = out->stem;
    if (strncmp(stem, "./", 2) == 0) stem += 2;
    int n;
    if (n_pictures > 1 || out->is_seed_always)
        n = snprintf(path, PATH_MAX, "%s-%" PRIu64 "%s", stem, seed, out->extension);
    else
        n = snprintf(path, PATH_MAX, "%s%s", stem, out->extension);
    if (n > 0 && n < PATH_MAX) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "path too long: %.200s", stem);
}
