/* Answers of the platform, any bytes. Where the strict JSON reader accepts an answer to a take, the walk by structure alone
 * must find exactly its items; elsewhere it must stay inside the text and end. The same for ids of items and for stops. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "worker/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int is_true) {
    if (!is_true) abort();
}

/* What the walk found is the tree's item, and its id the tree's. */
static void is_item(json_object *expected, const char *item, size_t size) {
    json_object *found, *id = NULL;
    char text[TT_JOB_ID_BYTES];
    must(tt_json_parse(item, size, &found, NULL) == TT_OK);
    must(json_object_equal(found, expected));
    bool has_id = tt_wire_item_id(item, size, text);
    if (has_id) {
        must(json_object_object_get_ex(found, "id", &id));
        must(strcmp(json_object_get_string(id), text) == 0);
    }
    json_object_put(found);
}

static void walk(const char *text, size_t size, json_object *root, bool is_valid) {
    bool is_list = json_object_is_type(root, json_type_array);
    bool is_answer = is_list || json_object_is_type(root, json_type_object);
    size_t n = is_list ? json_object_array_length(root) : is_answer ? 1 : 0, i = 0, item_size;
    tt_wire_items items;
    const char *item;
    char id[TT_JOB_ID_BYTES];
    tt_wire_items_begin(&items, text, size);
    for (; tt_wire_items_next(&items, &item, &item_size); i++) {
        must(item >= text && item + item_size <= text + size && item_size > 0);
        if (is_valid && is_answer && i < n)
            is_item(is_list ? json_object_array_get_idx(root, i) : root, item, item_size);
        else
            tt_wire_item_id(item, item_size, id);
    }
    if (is_valid && is_answer) must(i == n && !items.is_broken);
}

static void ignore(void *context, const char *id) {
    (void)context;
    must(strlen(id) < SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1); /* of its own, so that a read behind the end is seen */
    json_object *root = NULL;
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    bool is_valid = tt_json_parse(text, size, &root, NULL) == TT_OK;
    walk(text, size, root, is_valid);
    tt_wire_read_stops(text, size, ignore, NULL, NULL);
    json_object_put(root);
    free(text);
    return 0;
}
