/* Does a network's recipe read all of it? Networks find their parts by asking which tensors there are, so a file that lacks
 * one may lose a whole part, without a word: a transformer's depth is counted block by block until one is not there. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "nn/loader_parts.h"

typedef struct reading {
    const char *name; /* borrowed: without .weight / .bias */
    size_t length;
    bool has_bias;
} reading;

/* A name may be read twice, into two forms: both are in the list. */
static int compare(const void *a, const void *b) {
    const reading *x = a, *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->name, y->name, shorter);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

static size_t list_readings(const tt_loader *l, reading *out) {
    size_t n = 0;
    for (const tt__job *job = l->first; job; job = job->next)
        for (int i = 0; i < job->n_names; i++, n++)
            if (out) out[n] = (reading){job->names[i], strlen(job->names[i]), job->has_bias};
    return n;
}

static bool is_read(const reading *readings, size_t n, const char *name) {
    const char *dot = strrchr(name, '.');
    if (!dot) return false;
    const reading wanted = {.name = name, .length = (size_t)(dot - name)};
    const reading *found = bsearch(&wanted, readings, n, sizeof *readings, compare);
    return found && (strcmp(dot, ".weight") == 0 || (found->has_bias && strcmp(dot, ".bias") == 0));
}

tt_status tt_loader_check_all(const tt_loader *l, const char *prefix, tt_err *err) {
    const tt_checkpoint *c = l->checkpoint;
    const char *name;
    size_t n = list_readings(l, NULL), bytes = n * sizeof(reading);
    reading *readings = tt_alloc(bytes);
    tt_status status = TT_OK;
    if (!readings) return tt_fail_nomem(err, "the list of tensors", bytes);
    list_readings(l, readings);
    qsort(readings, n, sizeof *readings, compare);
    for (size_t i = 0; status == TT_OK && (name = tt_checkpoint_name(c, i)); i++)
        if (strncmp(name, prefix, strlen(prefix)) == 0 && !is_read(readings, n, name))
            status = tt_fail(err, TT_E_UNSUPPORTED,
                             "model %s: tensor %s belongs to no part of the network: one beside it "
                             "is missing, or this is another architecture",
                             tt_checkpoint_path(c), name);
    tt_free(readings);
    return status;
}
