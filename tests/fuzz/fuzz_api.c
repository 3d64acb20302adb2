/* The body of /run on any bytes: what is taken is a job that the workers' own reader takes, with our id and the client's input
 * unchanged; what is refused is refused in one clean sentence. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/body.h"
#include "base/json_span.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "job/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int is_true) {
    if (!is_true) abort();
}

static void check_taken(const char *text, size_t size, const tt__body *body) {
    tt_envelope envelope;
    tt_err err;
    const char *input;
    size_t input_size;
    must(tt_envelope_parse(body->envelope->data, body->envelope->size, NULL, &envelope, &err) ==
         TT_OK);
    must(strcmp(envelope.id, "job-1") == 0);
    if (tt_json_member(text, size, "input", &input, &input_size)) {
        must(envelope.input.size == input_size);
        must(memcmp(envelope.input.text, input, input_size) == 0);
    }
    must(!body->webhook || strncmp(body->webhook, "http", 4) == 0 ||
         strncmp(body->webhook, "HTTP", 4) == 0 || strchr(body->webhook, ':') != NULL);
    tt_envelope_release(&envelope);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tt__body body = {.ttl_ms = 0};
    tt_err err;
    if (tt__body_read((const char *)data, size, "job-1", &body, &err) == TT_OK) {
        check_taken((const char *)data, size, &body);
    } else {
        must(tt_utf8_is_valid(err.message, strlen(err.message), NULL));
        must(err.code == TT_E_INVALID || err.code == TT_E_FORMAT);
    }
    tt__body_release(&body);
    return 0;
}
