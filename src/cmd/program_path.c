/* See program_path.h. */
#include "cmd/program_path.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void tt__program_directory(char out[PATH_MAX]) {
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = '\0';
    else
        snprintf(out, PATH_MAX, ".");
}
