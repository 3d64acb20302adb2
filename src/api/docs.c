/* /docs: the table of routes and the jobs' schema as one page, written on the server. No script, nothing from outside. */
#include <string.h>

#include "api/describe.h"
#include "api/routes.h"
#include "base/json.h"
#include "base/limits.h"

static const char style[] =
    "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#faf7f2;color:#2b2622}"
    "main{max-width:56rem;margin:0 auto;padding:1.5rem}"
    "h1 small{font-size:1rem;font-weight:400;opacity:.7}"
    "section{border-top:1px solid #ddd3c5;padding:.5rem 0 1rem}"
    "h3{margin:.6rem 0 .2rem;font-size:1.05rem}"
    "code,pre{font:.9rem/1.45 ui-monospace,monospace}"
    "pre{background:#f0e9de;padding:.7rem;white-space:pre-wrap;border-radius:.3rem;margin:.5rem 0}"
    "b.m{font:600 .75rem ui-monospace,monospace;background:#7a4a21;color:#fff;border-radius:.2rem;"
    "padding:.15rem .4rem;margin-right:.3rem}"
    "table{border-collapse:collapse;width:100%;table-layout:fixed;overflow-wrap:anywhere}"
    "th:nth-child(1){width:27%}th:nth-child(2){width:27%}"
    "td,th{text-align:left;vertical-align:top;border-top:1px solid #ddd3c5;padding:.35rem .5rem "
    ".35rem 0}"
    "a{color:#7a4a21}"
    "@media(prefers-color-scheme:dark){body{background:#1d1a18;color:#e9e2d8}pre{background:#"
    "2a2623}"
    "section,td,th{border-color:#453d36}a{color:#e0a76c}b.m{background:#e0a76c;color:#1d1a18}}";

/* ---- text to HTML ------------------------------------------------------------------------------------------------ */

static tt_status put(tt_buf *out, const char *html, tt_err *err) {
    return tt_buf_puts(out, html, err);
}

static tt_status put_text_n(tt_buf *out, const char *text, size_t size, tt_err *err) {
    for (size_t i = 0; i < size; i++) {
        const char *entity = text[i] == '&'   ? "&amp;"
                             : text[i] == '<' ? "&lt;"
                             : text[i] == '>' ? "&gt;"
                             : text[i] == '"' ? "&quot;"
                                              : NULL;
        TT_TRY(entity ? tt_buf_puts(out, entity, err) : tt_buf_append(out, text + i, 1, err));
    }
    return TT_OK;
}

static tt_status put_text(tt_buf *out, const char *text, tt_err *err) {
    return put_text_n(out, text, strlen(text), err);
}

static tt_status put_between(tt_buf *out, const char *before, const char *text, const char *after,
                             tt_err *err) {
    TT_TRY(put(out, before, err));
    TT_TRY(put_text(out, text, err));
    return put(out, after, err);
}

/* ---- routes ------------------------------------------------------------------------------------------------------ */

static tt_status put_params(const tt__route *route, tt_buf *out, tt_err *err) {
    for (const char *at = route->params; *at;) {
        size_t size = strcspn(at, " ");
        TT_TRY(put(out, "<p><code>?", err));
        TT_TRY(put_text_n(out, at, size, err));
        TT_TRY(put_between(out, "=</code> ", tt__param_text(at, size), "</p>", err));
        at += size + (at[size] == ' ');
    }
    return TT_OK;
}

static tt_status put_route(const tt__about *about, const tt__route *route, tt_buf *out,
                           tt_err *err) {
    TT_TRY(put(out, "<section><h3>", err));
    if (route->methods & TT__TAKES_GET) TT_TRY(put(out, "<b class=\"m\">GET</b>", err));
    if (route->methods & TT__TAKES_POST) TT_TRY(put(out, "<b class=\"m\">POST</b>", err));
    TT_TRY(put_between(out, "<code>", route->path, "</code></h3>", err));
    TT_TRY(put_between(out, "<p>", route->summary, ". ", err));
    TT_TRY(put_text(out, route->more, err));
    if (about->has_key && route->access == TT__OPEN) TT_TRY(put(out, " Needs no key.", err));
    TT_TRY(put(out, "</p>", err));
    TT_TRY(put_params(route, out, err));
    if (route->example[0]) TT_TRY(put_between(out, "<pre>", route->example, "</pre>", err));
    if (route->failures[0])
        TT_TRY(put_between(out, "<p>Failures: ", route->failures,
                           ", with <code>{\"error\": \"...\"}</code>.</p>", err));
    return put(out, "</section>\n", err);
}

/* ---- the jobs' input --------------------------------------------------------------------------------------------- */

static tt_status put_value(tt_buf *out, const char *before, json_object *value, const char *after,
                           tt_err *err) {
    if (!value) return TT_OK;
    const char *text = json_object_is_type(value, json_type_string)
                           ? json_object_get_string(value)
                           : json_object_to_json_string_ext(
                                 value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    return put_between(out, before, text ? text : "", after, err);
}

/* The items of a list, or a single value. Null, which says "may be left out", is not listed. */
static tt_status put_list(tt_buf *out, const char *before, json_object *list, tt_err *err) {
    if (!json_object_is_type(list, json_type_array)) return put_value(out, before, list, "", err);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        bool is_null = !item || (json_object_is_type(item, json_type_string) &&
                                 strcmp(json_object_get_string(item), "null") == 0);
        if (is_null) continue;
        TT_TRY(put_value(out, before, item, "", err));
        before = ", ";
    }
    return TT_OK;
}

/* Descriptions that tell the default themselves often tell more than the schema can. */
static tt_status put_default(tt_buf *out, json_object *field, tt_err *err) {
    if (strstr(tt_json_text(field, "description", ""), "Default:")) return TT_OK;
    return put_value(out, " Default: <code>", tt_json_value(field, "default"), "</code>", err);
}

/* The other names of a field: members that only refer to it. */
static tt_status put_aliases(tt_buf *out, json_object *properties, const char *name, tt_err *err) {
    json_object_object_foreach(properties, other, value) {
        json_object *reference = tt_json_value(value, "$ref");
        const char *target = reference ? json_object_get_string(reference) : "";
        const char *slash = strrchr(target, '/');
        if (slash && strcmp(slash + 1, name) == 0)
            TT_TRY(put_between(out, "<br>also <code>", other, "</code>", err));
    }
    return TT_OK;
}

static tt_status put_field(tt_buf *out, json_object *properties, const char *name,
                           json_object *field, tt_err *err) {
    if (tt_json_value(field, "$ref")) return TT_OK;
    TT_TRY(put_between(out, "<tr><td><code>", name, "</code>", err));
    TT_TRY(put_aliases(out, properties, name, err));
    TT_TRY(put(out, "</td><td>", err));
    TT_TRY(put_list(out, "", tt_json_value(field, "type"), err));
    TT_TRY(put_value(out, "<br>at least ", tt_json_value(field, "minimum"), "", err));
    TT_TRY(put_value(out, "<br>at most ", tt_json_value(field, "maximum"), "", err));
    TT_TRY(put_value(out, "<br>in steps of ", tt_json_value(field, "multipleOf"), "", err));
    TT_TRY(put_list(out, "<br>one of ", tt_json_value(field, "enum"), err));
    TT_TRY(put(out, "</td><td>", err));
    TT_TRY(put_value(out, "", tt_json_value(field, "description"), "", err));
    TT_TRY(put_default(out, field, err));
    return put(out, "</td></tr>\n", err);
}

static tt_status put_input(const tt__about *about, tt_buf *out, tt_err *err) {
    json_object *properties = tt_json_value(
        tt_json_value(tt_json_value(about->schema, "properties"), "input"), "properties");
    if (!json_object_is_type(properties, json_type_object)) return TT_OK;
    TT_TRY(put(out, "<h2>Input</h2><table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>\n",
               err));
    json_object_object_foreach(properties, name, field) {
        if (json_object_is_type(field, json_type_object))
            TT_TRY(put_field(out, properties, name, field, err));
    }
    return put(out, "</table>\n", err);
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

static tt_status put_head(const tt__about *about, tt_buf *out, tt_err *err) {
    TT_TRY(put(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\"><title>",
        err));
    TT_TRY(put_between(out, "", about->title, " API</title><style>", err));
    TT_TRY(put(out, style, err));
    TT_TRY(put_between(out, "</style></head><body><main><h1>", about->title, " API <small>", err));
    TT_TRY(put_between(out, "", about->version, "</small></h1>\n", err));
    TT_TRY(put(out,
               "<p><a href=\"/\">Playground</a> &middot; <a "
               "href=\"/openapi.json\">OpenAPI</a></p><p>RunPod's "
               "serverless API, on this machine. Every operation on jobs is also below "
               "<code>/v2/{any endpoint id}/</code>, so RunPod's clients work with another base "
               "URL.</p><pre>"
               "curl -X POST -d '{\"input\": {...}}' http://HOST/runsync",
               err));
    if (about->has_key) TT_TRY(put(out, " -H 'Authorization: Bearer KEY'", err));
    return put(out, "</pre>\n", err);
}

tt_status tt__docs_write(const tt__about *about, tt_buf *out, tt_err *err) {
    TT_TRY(put_head(about, out, err));
    TT_TRY(put_input(about, out, err));
    TT_TRY(put(out, "<h2>Operations</h2>\n", err));
    for (int i = 0; i < TT__N_ROUTES; i++) TT_TRY(put_route(about, &tt__routes[i], out, err));
    return put(out, "</main></body></html>\n", err);
}
