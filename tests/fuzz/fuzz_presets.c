/* A presets file of any bytes. What is refused is refused with sentences; what is taken has names, sources that can be read
 * again, and can be asked for every preset. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "app/presets.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int is_true) {
    if (!is_true) abort();
}

static void use(const tt_presets *p) {
    for (int i = 0; i < tt_presets_count(p); i++) {
        const tt_preset *preset = tt_presets_at(p, i), *found;
        tt_reference r;
        tt_settings settings;
        must(tt_presets_find(p, preset->name, &found, NULL) == TT_OK && found == preset);
        if (preset->checkpoint.source)
            must(tt_reference_parse(preset->checkpoint.source, &r, NULL) == TT_OK);
        must(tt_settings_init(&settings, NULL) == TT_OK);
        tt_settings_use_preset(&settings, preset);
        tt_settings_release(&settings);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tt_presets *p;
    tt_problems problems;
    tt_err err;
    tt_problems_init(&problems);
    if (tt_presets_parse((const char *)data, size, "p.json", &p, &problems, &err) == TT_OK) {
        must(problems.count == 0);
        use(p);
        tt_presets_release(p);
        return 0;
    }
    must(p == NULL && problems.count > 0);
    for (int i = 0; i < problems.count && i < TT_MAX_PROBLEMS; i++) {
        must(tt_utf8_is_valid(problems.list[i].message, strlen(problems.list[i].message), NULL));
        must(strncmp(problems.list[i].message, "p.json:", 7) == 0);
    }
    return 0;
}
