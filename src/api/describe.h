/* The API describes itself: OpenAPI 3.1 and a page, both written once at the start from the table of routes and the jobs'
 * JSON Schema. */
#ifndef TT_API_DESCRIBE_H
#define TT_API_DESCRIBE_H

#include <json-c/json.h>
#include <stdbool.h>

#include "base/buf.h"

typedef struct tt__about {
    const char *title, *version;
    /* of a job; NULL: any object with an input. Its "#/" references are changed by tt__openapi_write */
    json_object *schema;
    bool has_key;
} tt__about;

tt_status tt__docs_write(const tt__about *about, tt_buf *out, tt_err *err);
/* Moves the schema to components.schemas.Job. */
tt_status tt__openapi_write(const tt__about *about, tt_buf *out, tt_err *err);

#endif
