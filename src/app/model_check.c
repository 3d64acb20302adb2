/* See model_check.h. */
#include "app/model_check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"

/* Any seed will do; a fixed one makes a failure repeatable. */
enum { CHECK_SEED = 1 };

static tt_status check_ends(int fd, const char *path, tt_err *err) {
    struct stat facts;
    char byte;
    if (fstat(fd, &facts) != 0) return tt_fail_errno(err, "cannot examine", path);
    if (facts.st_size == 0) return tt_fail(err, TT_E_FORMAT, "%s is empty", path);
    if (pread(fd, &byte, 1, 0) != 1 || pread(fd, &byte, 1, facts.st_size - 1) != 1)
        return tt_fail_errno(err, "cannot read", path);
    return TT_OK;
}

tt_status tt__model_check_files(const char *path, tt_err *err) {
    if (tt_file_is_directory(path))
        return access(path, R_OK | X_OK) == 0 ? TT_OK : tt_fail_errno(err, "cannot list", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return tt_fail_errno(err, "cannot open", path);
    tt_status status = check_ends(fd, path, err);
    close(fd);
    return status;
}

static bool is_constant(const tt_picture *p) {
    size_t size = (size_t)p->width * (size_t)p->height * 3;
    return memcmp(p->rgb, p->rgb + 3, size - 3) == 0; /* each pixel equals the one before */
}

tt_status tt__model_check_render(tt_engine *engine, tt_err *err) {
    tt_request request;
    tt_result result;
    if (!engine) return tt_fail(err, TT_E_INTERNAL, "no model is open");
    tt_request_defaults(engine, &request);
    request.prompt = "a lighthouse on the sea";
    request.width = request.height = TT_MIN_SIDE_PIXELS;
    request.steps = 1;
    request.seed = CHECK_SEED;
    TT_TRY(tt_engine_generate(engine, &request, &result, err));
    bool is_bad = is_constant(&result.pictures[0]);
    tt_result_release(&result);
    if (!is_bad) return TT_OK;
    return tt_fail(err, TT_E_FORMAT,
                   "a test picture came out in one colour: the model file is damaged, or its VAE "
                   "does not bear this precision (--vae-dtype f32)");
}

void tt__model_hide_folder(const char *model_path, tt_err *err) {
    const char *slash = strrchr(model_path, '/');
    if (!slash) return;
    size_t length = (size_t)(slash - model_path) + 1;
    if (length == 1) return; /* the root names nobody's folder */
    for (char *at = err->message; *at;) {
        if (strncmp(at, model_path, length) == 0)
            memmove(at, at + length, strlen(at + length) + 1);
        else
            at++;
    }
}
