/* /openapi.json: OpenAPI 3.1, whose schemas are JSON Schema 2020-12 as the jobs' schema is. */
#include <ctype.h>
#include <string.h>

#include "api/describe.h"
#include "api/routes.h"
#include "base/json.h"
#include "base/limits.h"

static const char schemas[] =
    "\"JobRequest\": {\"allOf\": [{\"$ref\": \"#/components/schemas/Job\"}, {\"type\": \"object\", "
    "\"properties\": {"
    "\"webhook\": {\"type\": [\"string\", \"null\"], \"format\": \"uri\", \"description\": "
    "\"Called with the result when the "
    "job has ended, as Standard Webhooks.\"}, "
    "\"policy\": {\"type\": [\"object\", \"null\"], \"properties\": {"
    "\"executionTimeout\": {\"type\": \"integer\", \"minimum\": 5000, \"maximum\": 604800000, "
    "\"description\": "
    "\"Milliseconds the job may run.\"}, "
    "\"ttl\": {\"type\": \"integer\", \"minimum\": 10000, \"maximum\": 604800000, \"description\": "
    "\"Milliseconds from "
    "submission after which the job is timed out.\"}, "
    "\"lowPriority\": {\"type\": \"boolean\"}}}, "
    "\"s3Config\": {\"description\": \"Handed to the worker as it is.\"}}}]},\n"
    "\"Status\": {\"type\": \"string\", \"enum\": [\"IN_QUEUE\", \"IN_PROGRESS\", \"COMPLETED\", "
    "\"FAILED\", "
    "\"CANCELLED\", \"TIMED_OUT\"]},\n"
    "\"Accepted\": {\"type\": \"object\", \"required\": [\"id\", \"status\"], \"properties\": "
    "{\"id\": {\"type\": "
    "\"string\"}, \"status\": {\"$ref\": \"#/components/schemas/Status\"}}},\n"
    "\"Result\": {\"type\": \"object\", \"required\": [\"id\", \"status\"], \"properties\": "
    "{\"id\": {\"type\": "
    "\"string\"}, \"status\": {\"$ref\": \"#/components/schemas/Status\"}, "
    "\"delayTime\": {\"type\": \"integer\", \"description\": \"Milliseconds in the queue.\"}, "
    "\"executionTime\": {\"type\": \"integer\", \"description\": \"Milliseconds of work.\"}, "
    "\"retries\": {\"type\": \"integer\"}, \"workerId\": {\"type\": \"string\"}, "
    "\"output\": {\"description\": \"The handler's result; while the job runs, its newest "
    "progress.\"}, "
    "\"error\": {\"type\": \"string\"}}},\n"
    "\"Stream\": {\"type\": \"object\", \"required\": [\"id\", \"status\", \"stream\"], "
    "\"properties\": {\"id\": {\"type\": "
    "\"string\"}, \"status\": {\"$ref\": \"#/components/schemas/Status\"}, \"stream\": {\"type\": "
    "\"array\", \"items\": "
    "{\"type\": \"object\", \"required\": [\"output\"], \"properties\": {\"output\": {}}}}}},\n"
    "\"Purged\": {\"type\": \"object\", \"properties\": {\"removed\": {\"type\": \"integer\"}, "
    "\"status\": {\"const\": "
    "\"completed\"}}},\n"
    "\"Health\": {\"type\": \"object\", \"properties\": {\"jobs\": {\"type\": \"object\", "
    "\"additionalProperties\": "
    "{\"type\": \"integer\"}}, \"workers\": {\"type\": \"object\", \"additionalProperties\": "
    "{\"type\": \"integer\"}}}},\n"
    "\"Requests\": {\"type\": \"object\", \"properties\": {\"requests\": {\"type\": \"array\", "
    "\"items\": {\"$ref\": "
    "\"#/components/schemas/Result\"}}}},\n"
    "\"Ready\": {\"type\": \"object\", \"required\": [\"ready\"], \"properties\": {\"ready\": "
    "{\"type\": \"boolean\"}, "
    "\"reason\": {\"type\": \"string\"}}},\n"
    "\"Error\": {\"type\": \"object\", \"required\": [\"error\"], \"properties\": {\"error\": "
    "{\"type\": \"string\"}}}";

static const char any_job[] =
    "{\"type\": \"object\", \"required\": [\"input\"], \"properties\": {\"input\": {}}}";

static const struct {
    const char *code, *text;
} failures[] = {
    {"400", "The request makes no sense; error says why."},
    {"401", "The API key is missing or wrong."},
    {"404", "No such job, or its result has expired."},
    {"409", "The job is in a state that does not allow it."},
    {"413", "The body is too large."},
    {"429", "The queue is full; Retry-After says when to try again."},
    {"503", "The server cannot do this now."},
};

static tt_status put_string(tt_buf *out, const char *text, tt_err *err) {
    return tt_json_append_string(out, text, strlen(text), err);
}

/* ---- one route --------------------------------------------------------------------------------------------------- */

static tt_status put_failure(const char *code, size_t size, tt_buf *out, tt_err *err) {
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        if (strncmp(failures[i].code, code, size) == 0)
            return tt_buf_printf(out, err,
                                 ", \"%s\": {\"description\": \"%s\", \"content\": "
                                 "{\"application/json\": {\"schema\": {\"$ref\": "
                                 "\"#/components/schemas/Error\"}}}}",
                                 failures[i].code, failures[i].text);
    return tt_fail(err, TT_E_INTERNAL, "no text for HTTP status %.*s", (int)size, code);
}

static tt_status put_answer(const tt__route *route, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "\"200\": {\"description\": \"OK\", \"content\": {\"%s\": {",
                         route->type));
    if (route->schema[0])
        TT_TRY(tt_buf_printf(out, err, "\"schema\": {\"$ref\": \"#/components/schemas/%s\"}",
                             route->schema));
    else
        TT_TRY(tt_buf_puts(out, "\"schema\": {\"type\": \"string\"}", err));
    if (route->schema[0] && route->example[0])
        TT_TRY(tt_buf_printf(out, err, ", \"example\": %s", route->example));
    return tt_buf_puts(out, "}}}", err);
}

static tt_status put_responses(const tt__about *about, const tt__route *route, tt_buf *out,
                               tt_err *err) {
    TT_TRY(tt_buf_puts(out, ", \"responses\": {", err));
    TT_TRY(put_answer(route, out, err));
    if (about->has_key && route->access == TT__KEYED) TT_TRY(put_failure("401", 3, out, err));
    for (const char *at = route->failures; *at;) {
        size_t size = strcspn(at, " ");
        TT_TRY(put_failure(at, size, out, err));
        at += size + (at[size] == ' ');
    }
    return tt_buf_puts(out, "}", err);
}

static tt_status put_parameters(const tt__route *route, tt_buf *out, tt_err *err) {
    const char *comma = "";
    TT_TRY(tt_buf_puts(out, ", \"parameters\": [", err));
    if (strchr(route->path, '{')) {
        TT_TRY(tt_buf_puts(out,
                           "{\"name\": \"id\", \"in\": \"path\", \"required\": true, \"schema\": "
                           "{\"type\": \"string\"}}",
                           err));
        comma = ", ";
    }
    for (const char *at = route->params; *at; comma = ", ") {
        size_t size = strcspn(at, " ");
        TT_TRY(tt_buf_printf(out, err,
                             "%s{\"name\": \"%.*s\", \"in\": \"query\", \"schema\": {\"type\": "
                             "\"integer\"}, \"description\": ",
                             comma, (int)size, at));
        TT_TRY(put_string(out, tt__param_text(at, size), err));
        TT_TRY(tt_buf_puts(out, "}", err));
        at += size + (at[size] == ' ');
    }
    return tt_buf_puts(out, "]", err);
}

static bool takes_job(const tt__route *route) {
    return route->max_body_bytes > TT_MAX_OTHER_BODY_BYTES;
}

/* "post_status_sync" */
static tt_status put_operation_id(const char *method, const char *path, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "\"operationId\": \"%s", method));
    for (const char *c = path; *c; c++) {
        if (*c == '{' || *c == '}') continue;
        TT_TRY(tt_buf_append(out, isalnum((unsigned char)*c) ? c : "_", 1, err));
    }
    return tt_buf_puts(out, "\"", err);
}

static tt_status put_operation(const tt__about *about, const tt__route *route, const char *method,
                               tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "\"%s\": {", method));
    TT_TRY(put_operation_id(method, route->path, out, err));
    TT_TRY(tt_buf_puts(out, ", \"summary\": ", err));
    TT_TRY(put_string(out, route->summary, err));
    TT_TRY(tt_buf_puts(out, ", \"description\": ", err));
    TT_TRY(put_string(out, route->more, err));
    TT_TRY(put_parameters(route, out, err));
    if (takes_job(route))
        TT_TRY(tt_buf_puts(
            out,
            ", \"requestBody\": {\"required\": true, \"content\": {\"application/json\": "
            "{\"schema\": {\"$ref\": \"#/components/schemas/JobRequest\"}}}}",
            err));
    if (!about->has_key || route->access == TT__OPEN)
        TT_TRY(tt_buf_puts(out, ", \"security\": []", err));
    TT_TRY(put_responses(about, route, out, err));
    return tt_buf_puts(out, "}", err);
}

static tt_status put_path(const tt__about *about, const tt__route *route, tt_buf *out,
                          tt_err *err) {
    TT_TRY(tt_buf_printf(out, err, "\"%s\": {", route->path));
    if (route->methods & TT__TAKES_GET) TT_TRY(put_operation(about, route, "get", out, err));
    if (route->methods == (TT__TAKES_GET | TT__TAKES_POST)) TT_TRY(tt_buf_puts(out, ", ", err));
    if (route->methods & TT__TAKES_POST) TT_TRY(put_operation(about, route, "post", out, err));
    return tt_buf_puts(out, "}", err);
}

/* ---- the jobs' schema -------------------------------------------------------------------------------------------- */

/* "#/x" to "#/components/schemas/Job/x", everywhere below `value`: the schema is not the document's root any more. Schemas
 * come from json.h's reader, so the depth is bounded. */
static tt_status move_references(json_object *value, tt_err *err) {
    if (json_object_is_type(value, json_type_array))
        for (size_t i = 0; i < json_object_array_length(value); i++)
            TT_TRY(move_references(json_object_array_get_idx(value, i), err));
    if (!json_object_is_type(value, json_type_object)) return TT_OK;
    json_object_object_foreach(value, name, member) {
        TT_TRY(move_references(member, err));
        const char *text =
            json_object_is_type(member, json_type_string) ? json_object_get_string(member) : NULL;
        if (!text || strcmp(name, "$ref") != 0 || strncmp(text, "#/", 2) != 0) continue;
        tt_buf b;
        tt_buf_init(&b, TT_MAX_OWN_TEXT_BYTES);
        tt_status status = tt_buf_printf(&b, err, "#/components/schemas/Job/%s", text + 2);
        if (status == TT_OK && !json_object_set_string(member, b.data))
            status = tt_fail_nomem(err, "schema", b.size);
        tt_buf_release(&b);
        TT_TRY(status);
    }
    return TT_OK;
}

static tt_status put_job_schema(const tt__about *about, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(out, "\"Job\": ", err));
    if (!about->schema) return tt_buf_puts(out, any_job, err);
    TT_TRY(move_references(about->schema, err));
    const char *text = json_object_to_json_string_ext(
        about->schema, JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE);
    return text ? tt_buf_puts(out, text, err) : tt_fail_nomem(err, "schema", 0);
}

/* ---- the document ------------------------------------------------------------------------------------------------ */

static tt_status put_info(const tt__about *about, tt_buf *out, tt_err *err) {
    TT_TRY(tt_buf_puts(out, "{\"openapi\": \"3.1.0\",\n\"info\": {\"title\": ", err));
    TT_TRY(put_string(out, about->title, err));
    TT_TRY(tt_buf_puts(out, ", \"version\": ", err));
    TT_TRY(put_string(out, about->version, err));
    return tt_buf_puts(out,
                       ", \"description\": \"RunPod's serverless API on this machine. Every "
                       "operation on jobs is also below "
                       "/v2/{any endpoint id}/.\"},\n\"servers\": [{\"url\": \"/\"}],\n",
                       err);
}

tt_status tt__openapi_write(const tt__about *about, tt_buf *out, tt_err *err) {
    TT_TRY(put_info(about, out, err));
    TT_TRY(tt_buf_puts(out, "\"security\": [{\"key\": []}],\n\"paths\": {\n", err));
    for (int i = 0; i < TT__N_ROUTES; i++) {
        if (i > 0) TT_TRY(tt_buf_puts(out, ",\n", err));
        TT_TRY(put_path(about, &tt__routes[i], out, err));
    }
    TT_TRY(tt_buf_puts(
        out,
        "},\n\"components\": {\"securitySchemes\": {\"key\": {\"type\": \"http\", \"scheme\": "
        "\"bearer\"}},\n\"schemas\": {\n",
        err));
    TT_TRY(put_job_schema(about, out, err));
    TT_TRY(tt_buf_puts(out, ",\n", err));
    TT_TRY(tt_buf_puts(out, schemas, err));
    return tt_buf_puts(out, "\n}}}\n", err);
}
