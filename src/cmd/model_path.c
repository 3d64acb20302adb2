/* See model_path.h. A build tree has the program in build/ and the model in models/; an installed
 * one has bin/ and share/tintype/. */
#include "cmd/model_path.h"

#include <limits.h>
#include <stdio.h>

#include "base/file.h"
#include "cmd/program_path.h"

#define MODEL_FILE "tintype-tiny.safetensors"

tt_status tt__model_path_find(char *out, size_t size, tt_err *err) {
    static const char *const near_program[] = {"../models", "../../models", "../share/tintype"};
    static const char *const elsewhere[] = {"models", "/usr/local/share/tintype"};
    char program[PATH_MAX];
    tt__program_directory(program);
    for (size_t i = 0; i < sizeof near_program / sizeof *near_program; i++) {
        int n = snprintf(out, size, "%s/%s/" MODEL_FILE, program, near_program[i]);
        if (n > 0 && (size_t)n < size && tt_file_exists(out)) return TT_OK;
    }
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        int n = snprintf(out, size, "%s/" MODEL_FILE, elsewhere[i]);
        if (n > 0 && (size_t)n < size && tt_file_exists(out)) return TT_OK;
    }
    return tt_fail(
        err, TT_E_NOT_FOUND,
        "no model: " MODEL_FILE
        " is neither in ../models, ../../models or ../share/tintype beside the "
        "program (%s), nor in ./models or /usr/local/share/tintype; name one with --model PATH or "
        "TINTYPE_MODEL",
        program);
}
