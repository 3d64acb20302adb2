/* Feeds a folder of inputs to one fuzz target, without libFuzzer: the part of fuzzing that every
 * test run can afford. Each input is also tried cut short at several places and with single bytes
 * changed, because parsers break at edges. Deterministic; a crash or a sanitizer report is the
 * failure.
 *
 *     replay_fuzz_x FOLDER        (a folder that does not exist counts as empty) */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT_BYTES = 1 << 20, N_CUTS = 16, N_CHANGES = 32 };

/* A copy of exactly the right size, so that AddressSanitizer sees the first byte read too far. */
static void try_exactly(const uint8_t *data, size_t size) {
    uint8_t *copy = calloc(1, size ? size : 1);
    if (!copy) return;
    if (size) memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void try_variants(uint8_t *data, size_t size) {
    try_exactly(data, size);
    for (size_t i = 0; i < N_CUTS; i++) try_exactly(data, size * i / N_CUTS);
    uint32_t state = 1; /* a linear congruential generator: the same changes in every run */
    for (int i = 0; i < N_CHANGES && size > 0; i++) {
        state = state * 1664525u + 1013904223u;
        size_t at = state % size;
        uint8_t before = data[at];
        data[at] = (uint8_t)(state >> 24);
        try_exactly(data, size);
        data[at] = before;
    }
}

static int replay_file(const char *folder, const char *name) {
    static uint8_t data[MAX_INPUT_BYTES];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "cannot open %s\n", path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, f);
    fclose(f);
    try_variants(data, size);
    printf("[       OK ] %s\n", name);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    try_exactly(NULL, 0);
    printf("[       OK ] empty_input\n");
    DIR *folder = opendir(argv[1]);
    if (!folder) return 0;
    int n_bad = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.') n_bad += replay_file(argv[1], entry->d_name);
    closedir(folder);
    return n_bad ? 1 : 0;
}
