/* What the API says of itself: OpenAPI and pages come from the table of routes, lead nowhere, and run no script but one. */
#include "unit/api/world.h"

#include "api/page.h"
#include "api/routes.h"
#include "api/sign.h"
#include "base/alloc.h"
#include "base/base64.h"

static const char schema[] =
    "{\"title\": \"T\", \"type\": \"object\", \"required\": [\"input\"], \"properties\": "
    "{\"input\": {\"type\": "
    "\"object\", \"properties\": {\"prompt\": {\"type\": [\"string\", \"null\"], \"description\": "
    "\"Say <what> & "
    "how.\"}, \"text\": {\"$ref\": \"#/properties/input/properties/prompt\"}, \"steps\": "
    "{\"type\": \"integer\", "
    "\"minimum\": 1, \"maximum\": 1000, \"default\": 24}, \"seed\": {\"type\": \"integer\", "
    "\"maximum\": "
    "18446744073709551615}}}}}";

static json_object *at_pointer(json_object *root, const char *pointer) {
    char path[256], *rest = path;
    snprintf(path, sizeof path, "%s", pointer + 2); /* past "#/" */
    for (char *name; root && (name = strsep(&rest, "/"));) {
        json_object *next = NULL;
        if (!json_object_object_get_ex(root, name, &next)) return NULL;
        root = next;
    }
    return root;
}

/* Every "$ref" leads somewhere. */
static int follow_references(json_object *root, json_object *value) {
    int n = 0;
    if (json_object_is_type(value, json_type_array))
        for (size_t i = 0; i < json_object_array_length(value); i++)
            n += follow_references(root, json_object_array_get_idx(value, i));
    if (!json_object_is_type(value, json_type_object)) return n;
    json_object_object_foreach(value, name, member) {
        if (strcmp(name, "$ref") == 0 && json_object_is_type(member, json_type_string)) {
            if (!at_pointer(root, json_object_get_string(member)))
                fail_msg("nothing at %s", json_object_get_string(member));
            n++;
        }
        n += follow_references(root, member);
    }
    return n;
}

static void openapi_has_every_route_and_no_loose_reference(void **state) {
    (void)state;
    world w;
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "A \"title\"", .input_schema = schema, .key = "k"});
    raw_answer a = ask(&w, "GET /openapi.json", NULL);
    assert_string_equal(raw_header(&a, "Content-Type"), "application/json");
    json_object *root = parse(&a), *paths, *operation;
    assert_string_equal(string_of(root, "openapi"), "3.1.0");
    assert_true(json_object_object_get_ex(root, "paths", &paths));
    assert_int_equal(json_object_object_length(paths), TT__N_ROUTES);
    for (int i = 0; i < TT__N_ROUTES; i++) {
        json_object *path;
        assert_true(json_object_object_get_ex(paths, tt__routes[i].path, &path));
        assert_int_equal(json_object_object_get_ex(path, "get", &operation),
                         tt__route_takes(&tt__routes[i], TT__GET));
        assert_int_equal(json_object_object_get_ex(path, "post", &operation),
                         tt__route_takes(&tt__routes[i], TT__POST));
    }
    assert_true(follow_references(root, root) > 20);
    /* The playground reads this place. */
    json_object *steps =
        at_pointer(root, "#/components/schemas/Job/properties/input/properties/steps");
    assert_non_null(steps);
    json_object *seed =
        at_pointer(root, "#/components/schemas/Job/properties/input/properties/seed/maximum");
    assert_string_equal(json_object_to_json_string(seed), "18446744073709551615");
    json_object_put(root);
    raw_answer_release(&a);
    world_close(&w);
}

static void without_a_schema_any_input_is_described(void **state) {
    world *w = *state;
    raw_answer a = ask(w, "GET /openapi.json", NULL);
    json_object *root = parse(&a);
    assert_non_null(at_pointer(root, "#/components/schemas/Job/properties/input"));
    follow_references(root, root);
    json_object_put(root);
    raw_answer_release(&a);
}

static void docs_escape_and_bring_no_script(void **state) {
    (void)state;
    world w;
    world_open_with(&w, &(tt_queue_memory_options){0},
                    (tt_api_options){.title = "<script>x", .input_schema = schema});
    raw_answer a = ask(&w, "GET /docs", NULL);
    assert_string_equal(raw_header(&a, "Content-Type"), "text/html; charset=utf-8");
    assert_non_null(strstr(raw_header(&a, "Content-Security-Policy"), "default-src 'none';"));
    assert_string_equal(raw_header(&a, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(raw_header(&a, "Referrer-Policy"), "no-referrer");
    assert_null(strstr(a.body.data, "<script"));
    assert_null(strstr(a.body.data, "https://"));
    assert_non_null(strstr(a.body.data, "<h1>&lt;script&gt;x API"));
    assert_non_null(strstr(a.body.data, "Say &lt;what&gt; &amp; how."));
    assert_non_null(strstr(a.body.data, "also <code>text</code>"));
    assert_non_null(strstr(a.body.data, "<td>string</td>")); /* may be null: not said */
    assert_non_null(strstr(a.body.data, "Default: <code>24</code>"));
    for (int i = 0; i < TT__N_ROUTES; i++)
        assert_non_null(strstr(a.body.data, tt__routes[i].summary));
    raw_answer_release(&a);
    world_close(&w);
}

static void the_playground_runs_its_own_script_only(void **state) {
    world *w = *state;
    raw_answer a = ask(w, "GET /", NULL);
    const char *policy = raw_header(&a, "Content-Security-Policy");
    static const char *const parts[] = {"default-src 'none'",     "connect-src 'self'",
                                        "base-uri 'none'",        "form-action 'none'",
                                        "frame-ancestors 'none'", "img-src data: blob: 'self'",
                                        "script-src 'sha256-"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_non_null(strstr(policy, parts[i]));
    assert_null(strstr(strstr(policy, "script-src"), "unsafe"));
    raw_answer_release(&a);
}

/* The hash is of the bytes between the tags (CSP level 3, 6.7.3.3); the vector is "alert(1)" by `openssl dgst -sha256`. */
static void the_policy_names_each_script_by_its_hash(void **state) {
    (void)state;
    static const struct {
        const char *html, *policy;
    } cases[] = {
        {"<p>none</p>", "base; script-src 'none'"},
        {"<script>alert(1)</script>",
         "base; script-src 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"},
        {"<script>alert(1)</script><script>alert(1)</script>",
         "base; script-src 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=' "
         "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"},
        {"<script>never closed", "base; script-src 'none'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tt_buf b;
        tt_buf_init(&b, 4096);
        assert_int_equal(tt__page_policy(cases[i].html, strlen(cases[i].html), "base", &b, NULL),
                         TT_OK);
        assert_string_equal(b.data, cases[i].policy);
        tt_buf_release(&b);
    }
}

static void routes_are_found_by_their_pattern(void **state) {
    (void)state;
    static const struct {
        const char *path, *route, *id;
    } cases[] = {{"/run", "/run", ""},
                 {"/v2/x/run", "/run", ""},
                 {"/status/a-u1", "/status/{id}", "a-u1"},
                 {"/v2/e/status/a", "/status/{id}", "a"},
                 {"/status-sync/a", "/status-sync/{id}", "a"},
                 {"/", "/", ""},
                 {"/v2/e/", NULL, ""},
                 {"/v2/e/docs", NULL, ""},
                 {"/v2/run", NULL, ""},
                 {"/runx", NULL, ""},
                 {"/run/", NULL, ""},
                 {"", NULL, ""},
                 {"*", NULL, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char id[TT_JOB_ID_BYTES];
        const tt__route *route = tt__route_find(cases[i].path, id);
        if (!cases[i].route)
            assert_null(route);
        else
            assert_string_equal(route->path, cases[i].route);
        assert_string_equal(id, cases[i].id);
    }
}

static void a_failed_allocation_is_told(void **state) {
    (void)state;
    tt_queue *queue;
    tt_api *api = NULL;
    assert_int_equal(tt_queue_memory_new(&(tt_queue_memory_options){0}, &queue, NULL), TT_OK);
    tt_api_options options = {
        .queue = queue, .title = "T", .input_schema = schema, .cors_origin = "*"};
    int nth = 0;
    for (tt_status status = TT_E_NOMEM; status != TT_OK && nth < 1000; nth++) {
        tt_alloc_fail_after(nth);
        status = tt_api_new(&options, &api, NULL);
        tt_alloc_fail_after(-1);
        if (status != TT_OK) assert_null(api);
    }
    assert_non_null(api);
    assert_true(nth > 10);
    tt_api_free(api);
    queue->free(queue);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openapi_has_every_route_and_no_loose_reference),
        world_test(without_a_schema_any_input_is_described),
        cmocka_unit_test(docs_escape_and_bring_no_script),
        world_test(the_playground_runs_its_own_script_only),
        cmocka_unit_test(the_policy_names_each_script_by_its_hash),
        cmocka_unit_test(routes_are_found_by_their_pattern),
        cmocka_unit_test(a_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
