/* See blob.h. One allocation per tt_blob_new would save a call, but tt_blob_take keeps a buffer's memory, so the bytes are
 * always a block of their own. */
#include "base/blob.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"

/* `data` is taken over. */
static tt_status make(char *data, size_t size, tt_blob **out, tt_err *err) {
    tt_blob *blob = tt_alloc(sizeof *blob);
    if (!blob) return tt_fail_nomem(err, "shared bytes", sizeof *blob);
    atomic_init(&blob->holders, 1);
    blob->size = size;
    blob->data = data;
    *out = blob;
    return TT_OK;
}

tt_status tt_blob_new(const void *bytes, size_t size, tt_blob **out, tt_err *err) {
    tt_buf copy;
    *out = NULL;
    tt_buf_init(&copy, SIZE_MAX - 1);
    tt_status status = tt_buf_append(&copy, bytes, size, err);
    if (status == TT_OK) return tt_blob_take(&copy, out, err);
    return status;
}

tt_status tt_blob_take(tt_buf *b, tt_blob **out, tt_err *err) {
    *out = NULL;
    tt_status status = tt_buf_reserve(b, 0, err); /* an empty buffer has no memory yet */
    if (status == TT_OK) status = make(b->data, b->size, out, err);
    if (status == TT_OK) b->data = NULL;
    tt_buf_release(b);
    return status;
}

tt_blob *tt_blob_hold(tt_blob *blob) {
    if (blob) atomic_fetch_add_explicit(&blob->holders, 1, memory_order_relaxed);
    return blob;
}

/* Release and acquire: what any holder did with the bytes happens before they are freed. */
void tt_blob_release(tt_blob *blob) {
    if (!blob) return;
    int before = atomic_fetch_sub_explicit(&blob->holders, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1) return;
    tt_free(blob->data);
    tt_free(blob);
}
