/* Names, bytes, lists: what is put in comes out, and what was tampered with does not. */
#include "unit/store/library_case.h"

#include "base/alloc.h"

static void what_is_committed_is_found(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char path[4096], digest[80];
    struct stat st;
    tt_library_entry e, put = lb_put(c, "civitai:128078", "weights");
    lb_blob_path(c, put.digest, path);
    assert_string_equal(put.path, path);
    lb_expect(c, "civitai:128078", "weights");
    lb_expect(c, "128078", "weights");
    snprintf(digest, sizeof digest, "sha256:%s", put.digest);
    lb_expect(c, digest, "weights");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    assert_int_equal(lb_find(c, "civitai:128078", &e), TT_OK);
    assert_string_equal(e.name, "toy");
    assert_int_equal(e.kind, TT_MODEL_LORA);
    assert_true(e.fetched_s > 0 && e.can_be_fetched_again && !e.is_read_only);
    assert_int_equal(lb_count(c, "v1/tmp"), 0);
    lb_expect_miss(c, "civitai:128079");
    lb_end(c);
}

static void it_is_still_there_after_another_opening(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    lb_put(c, "civitai:1", "weights");
    tt_library_close(c->l);
    lb_open(c);
    lb_expect(c, "civitai:1", "weights");
    lb_end(c);
}

static void an_alias_finds_it_and_can_move(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e = lb_entry("civitai:1", "one"), f = lb_entry("civitai:2", "two"), found;
    snprintf(e.alias, sizeof e.alias, "favourite");
    assert_int_equal(lb_try_put(c, &e, "one"), TT_OK);
    lb_expect(c, "favourite", "one");
    snprintf(f.alias, sizeof f.alias, "favourite");
    assert_int_equal(lb_try_put(c, &f, "two"), TT_OK);
    lb_expect(c, "favourite", "two");
    assert_int_equal(lb_find(c, "civitai:1", &found), TT_OK);
    assert_string_equal(found.alias, "");
    snprintf(f.alias, sizeof f.alias, "other");
    assert_int_equal(tt_library_name(c->l, &f, &c->err), TT_OK);
    lb_expect_miss(c, "favourite");
    lb_expect(c, "other", "two");
    lb_end(c);
}

static void the_beginning_of_a_digest_is_enough_for_people(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char prefix[16];
    tt_library_entry e = lb_put(c, "civitai:1", "weights 17"); /* its digest begins with a letter */
    snprintf(prefix, sizeof prefix, "%.10s", e.digest);
    if (strspn(prefix, "0123456789") < 10) lb_expect(c, prefix, "weights 17");
    prefix[7] = '\0';
    tt_reference r = {.type = TT_REF_NAME};
    snprintf(r.path, sizeof r.path, "%s", prefix);
    assert_int_equal(tt_library_find(c->l, &r, &e, &c->err), TT_E_NOT_FOUND);
    lb_end(c);
}

static void two_names_share_their_bytes(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e = lb_put(c, "civitai:1", "same"),
                     f = lb_put(c, "hf://a/b@main/c.safetensors", "same");
    char folder[64];
    assert_string_equal(e.path, f.path);
    snprintf(folder, sizeof folder, "v1/blobs/sha256/%.2s", e.digest);
    assert_int_equal(lb_count(c, folder), 2); /* bytes and facts */
    tt_library_entry g = e;
    snprintf(g.identity, sizeof g.identity, "civitai:3");
    assert_int_equal(tt_library_name(c->l, &g, &c->err), TT_OK);
    lb_expect(c, "civitai:3", "same");
    lb_end(c);
}

static void a_name_needs_bytes(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e = lb_entry("civitai:1", "never written");
    assert_int_equal(tt_library_name(c->l, &e, &c->err), TT_E_NOT_FOUND);
    lb_expect_miss(c, "civitai:1");
    lb_end(c);
}

static void a_name_without_bytes_is_a_miss_and_remembers(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e = lb_put(c, "civitai:1", "weights"), recalled;
    assert_int_equal(unlink(e.path), 0);
    lb_expect_miss(c, "civitai:1");
    assert_int_equal(tt_library_recall(c->l, "civitai:1", &recalled, &c->err), TT_OK);
    assert_string_equal(recalled.digest, e.digest);
    lb_put(c, "civitai:1", "weights");
    lb_expect(c, "civitai:1", "weights");
    lb_end(c);
}

static void bytes_of_another_size_are_a_miss(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e = lb_put(c, "civitai:1", "weights");
    assert_int_equal(chmod(e.path, 0644), 0);
    assert_int_equal(truncate(e.path, 3), 0);
    lb_expect_miss(c, "civitai:1");
    lb_put(c, "civitai:2", "weights"); /* which repairs it */
    lb_expect(c, "civitai:1", "weights");
    lb_end(c);
}

static void touched_bytes_are_doubted_until_they_are_hashed(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e = lb_put(c, "civitai:1", "weights"), found;
    tt_reference r = lb_ref("civitai:1");
    tt_library_verified v;
    lb_age(e.path, 100);
    assert_int_equal(lb_find(c, "civitai:1", &found), TT_E_FORMAT);
    assert_int_equal(tt_library_verify(c->l, &r, NULL, NULL, &v, &c->err), TT_OK);
    assert_int_equal(v.n_good, 1);
    lb_expect(c, "civitai:1", "weights");
    assert_int_equal(chmod(e.path, 0644), 0);
    lb_write(e.path, "WEIGHTS");
    lb_age(e.path, 50);
    assert_int_equal(tt_library_verify(c->l, &r, NULL, NULL, &v, &c->err), TT_OK);
    assert_int_equal(v.n_bad, 1);
    assert_string_equal(v.first_bad, e.digest);
    lb_expect_miss(c, "civitai:1");
    assert_int_equal(lb_count(c, "v1/trash"), 1);
    lb_end(c);
}

static void verify_counts_everything(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_verified v;
    tt_library_entry bad = lb_put(c, "civitai:2", "two"), gone = lb_put(c, "civitai:3", "three");
    lb_put(c, "civitai:1", "one");
    chmod(bad.path, 0644);
    lb_write(bad.path, "owt");
    unlink(gone.path);
    assert_int_equal(tt_library_verify(c->l, NULL, NULL, NULL, &v, &c->err), TT_OK);
    assert_int_equal(v.n_good, 1);
    assert_int_equal(v.n_bad, 1);
    assert_int_equal(v.n_missing, 2); /* two names have no bytes now */
    lb_expect_miss(c, "civitai:2");
    lb_expect(c, "civitai:1", "one");
    lb_end(c);
}

/* ---- removing and pinning ---------------------------------------------------------------------------------------- */

static void bytes_go_with_their_last_name(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    uint64_t freed;
    tt_library_entry e = lb_put(c, "civitai:1", "same");
    lb_put(c, "civitai:2", "same");
    tt_reference r = lb_ref("civitai:1");
    assert_int_equal(tt_library_remove(c->l, &r, &freed, &c->err), TT_OK);
    assert_int_equal(freed, 0);
    lb_expect_miss(c, "civitai:1");
    lb_expect(c, "civitai:2", "same");
    r = lb_ref("civitai:2");
    assert_int_equal(tt_library_remove(c->l, &r, &freed, &c->err), TT_OK);
    assert_int_equal(freed, 4);
    assert_false(lb_is_there(e.path));
    assert_int_equal(tt_library_remove(c->l, &r, &freed, &c->err), TT_E_NOT_FOUND);
    lb_end(c);
}

static void by_digest_all_names_go(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    uint64_t freed;
    char text[80];
    tt_library_entry e = lb_put(c, "civitai:1", "same");
    lb_put(c, "civitai:2", "same");
    lb_put(c, "civitai:3", "other");
    snprintf(text, sizeof text, "sha256:%s", e.digest);
    tt_reference r = lb_ref(text);
    assert_int_equal(tt_library_remove(c->l, &r, &freed, &c->err), TT_OK);
    assert_int_equal(freed, 4);
    assert_int_equal(lb_count(c, "v1/names"), 1);
    lb_expect(c, "civitai:3", "other");
    lb_end(c);
}

static void bytes_in_use_stay_when_their_name_goes(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    uint64_t freed;
    tt_library_lease *lease;
    tt_library_entry e = lb_put(c, "civitai:1", "same");
    assert_int_equal(tt_library_lease_take(c->l, e.digest, &lease, &c->err), TT_OK);
    tt_reference r = lb_ref("civitai:1");
    assert_int_equal(tt_library_remove(c->l, &r, &freed, &c->err), TT_OK);
    assert_int_equal(freed, 0);
    assert_true(lb_is_there(e.path));
    tt_library_lease_release(lease);
    assert_int_equal(lb_count(c, "v1/leases"), 0);
    lb_end(c);
}

static void a_pin_is_kept(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e;
    lb_put(c, "civitai:1", "one");
    tt_reference r = lb_ref("civitai:1");
    assert_int_equal(tt_library_pin(c->l, &r, true, &c->err), TT_OK);
    assert_int_equal(lb_find(c, "civitai:1", &e), TT_OK);
    assert_true(e.is_pinned);
    assert_int_equal(tt_library_pin(c->l, &r, false, &c->err), TT_OK);
    assert_int_equal(lb_find(c, "civitai:1", &e), TT_OK);
    assert_false(e.is_pinned);
    lb_end(c);
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

typedef struct listed {
    int n, n_names, n_nameless, n_leased, n_read_only;
    int stop_at;
} listed;

static bool count(void *context, const tt_library_entry *e) {
    listed *s = context;
    s->n++;
    s->n_names += *e->identity != '\0';
    s->n_nameless += *e->identity == '\0';
    s->n_leased += e->is_leased;
    s->n_read_only += e->is_read_only;
    assert_true(lb_is_there(e->path));
    return s->n != s->stop_at;
}

static void the_list_has_names_then_orphans_then_plain_files(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char path[4096];
    tt_library_lease *lease;
    tt_library_entry e = lb_put(c, "civitai:1", "one"), orphan = lb_put(c, "civitai:2", "two");
    tt_reference r = lb_ref("civitai:2");
    uint64_t freed;
    assert_int_equal(tt_library_lease_take(c->l, orphan.digest, &lease, &c->err), TT_OK);
    assert_int_equal(tt_library_remove(c->l, &r, &freed, &c->err), TT_OK);
    (void)e;
    lb_path(c, path, "loras");
    assert_int_equal(mkdir(path, 0755), 0);
    lb_path(c, path, "loras/by hand.safetensors");
    lb_write(path, "plain");
    listed s = {.n = 0};
    assert_int_equal(tt_library_list(c->l, count, &s, &c->err), TT_OK);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.n_names, 1);
    assert_int_equal(s.n_leased, 1);
    assert_int_equal(s.n_read_only, 1);
    s = (listed){.stop_at = 2};
    assert_int_equal(tt_library_list(c->l, count, &s, &c->err), TT_OK);
    assert_int_equal(s.n, 2);
    tt_library_lease_release(lease);
    lb_end(c);
}

static void plain_files_are_found_by_name_and_never_removed(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e;
    tt_library_sweep sweep;
    uint64_t freed;
    char path[4096];
    lb_path(c, path, "checkpoints");
    assert_int_equal(mkdir(path, 0755), 0);
    lb_path(c, path, "checkpoints/mine.safetensors");
    lb_write(path, "plain");
    lb_age(path, 1000000);
    lb_expect(c, "mine", "plain");
    lb_expect(c, "mine.safetensors", "plain");
    lb_expect_miss(c, "min");
    lb_expect_miss(c, "../checkpoints/mine.safetensors");
    assert_int_equal(lb_find(c, "mine", &e), TT_OK);
    assert_int_equal(e.kind, TT_MODEL_CHECKPOINT);
    assert_true(e.is_read_only);
    tt_reference r = lb_ref("mine");
    assert_int_equal(tt_library_remove(c->l, &r, &freed, &c->err), TT_E_INVALID);
    assert_int_equal(tt_library_gc(c->l, 1 << 20, false, &sweep, &c->err), TT_OK);
    lb_expect(c, "mine", "plain");
    lb_end(c);
}

/* ---- roots ------------------------------------------------------------------------------------------------------- */

static void read_only_roots_are_looked_at_first_and_never_written(void **state) {
    (void)state;
    lb_case *shipped = lb_begin(), *c = lb_begin();
    tt_library_entry e;
    const char *roots[] = {shipped->root};
    tt_library_entry put = lb_put(shipped, "civitai:1", "shipped");
    lb_age(put.path, 100); /* an image gives its files other times */
    tt_library_close(c->l);
    c->options.read_only = roots;
    c->options.n_read_only = 1;
    lb_open(c);
    lb_expect(c, "civitai:1", "shipped");
    assert_int_equal(lb_find(c, "civitai:1", &e), TT_OK);
    assert_true(e.is_read_only);
    snprintf(e.identity, sizeof e.identity, "civitai:2"); /* a name of ours for shipped bytes */
    assert_int_equal(tt_library_name(c->l, &e, &c->err), TT_OK);
    lb_expect(c, "civitai:2", "shipped");
    assert_int_equal(lb_count(c, "v1/names"), 1);
    assert_int_equal(lb_count(shipped, "v1/names"), 1);
    listed s = {.n = 0};
    assert_int_equal(tt_library_list(c->l, count, &s, &c->err), TT_OK);
    assert_int_equal(s.n, 2);
    tt_reference r = lb_ref("civitai:1");
    assert_int_equal(tt_library_pin(c->l, &r, true, &c->err), TT_E_INVALID);
    lb_end(c);
    lb_end(shipped);
}

static void a_root_that_cannot_be_made_serves_the_others(void **state) {
    (void)state;
    lb_case *shipped = lb_begin();
    const char *roots[] = {shipped->root};
    lb_put(shipped, "civitai:1", "shipped");
    tt_library_options o = {.root = "/proc/nowhere", .read_only = roots, .n_read_only = 1};
    tt_library *l;
    tt_err err;
    tt_library_entry e;
    tt_reference r = lb_ref("civitai:1");
    assert_int_equal(tt_library_open(&o, &l, &err), TT_OK);
    assert_non_null(strstr(tt_library_read_only_reason(l), "/proc/nowhere"));
    assert_int_equal(tt_library_find(l, &r, &e, &err), TT_OK);
    assert_int_equal(tt_library_name(l, &e, &err), TT_E_IO);
    assert_non_null(strstr(err.message, "cannot be written"));
    tt_library_lease *lease;
    assert_int_equal(tt_library_lease_take(l, e.digest, &lease, &err), TT_OK);
    assert_null(lease);
    tt_library_touch(l, e.digest);
    tt_library_close(l);
    lb_end(shipped);
}

static void no_root_at_all_is_fine(void **state) {
    (void)state;
    tt_library *l;
    tt_err err;
    tt_library_entry e;
    tt_reference r = lb_ref("civitai:1");
    assert_int_equal(tt_library_open(&(tt_library_options){0}, &l, &err), TT_OK);
    assert_non_null(tt_library_read_only_reason(l));
    assert_int_equal(tt_library_find(l, &r, &e, &err), TT_E_NOT_FOUND);
    tt_library_close(l);
    tt_library_close(NULL);
}

static void links_below_v1_are_not_followed(void **state) {
    (void)state;
    lb_case *c = lb_begin(), *other = lb_begin();
    char path[4096], target[4096];
    tt_library_entry e = lb_put(c, "civitai:1", "weights");
    lb_path(other, target, "secret");
    lb_write(target, "secret!");
    assert_int_equal(unlink(e.path), 0);
    assert_int_equal(symlink(target, e.path), 0); /* of the right size */
    lb_expect_miss(c, "civitai:1");
    lb_put(c, "civitai:2", "weights"); /* replaces the link, not what it leads to */
    lb_expect(c, "civitai:1", "weights");
    FILE *f = fopen(target, "rb");
    char text[16] = "";
    assert_int_equal(fread(text, 1, 15, f), 7);
    fclose(f);
    assert_string_equal(text, "secret!");
    tt_library_close(c->l);
    lb_path(c, path, "v1/names");
    temp_tree_remove(path);
    lb_path(other, target, "v1/names");
    assert_int_equal(symlink(target, path), 0);
    lb_open(c);
    assert_non_null(strstr(tt_library_read_only_reason(c->l), "link"));
    lb_end(c);
    lb_end(other);
}

static void a_cache_says_that_it_is_one(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char path[4096], text[64] = "";
    lb_path(c, path, "CACHEDIR.TAG");
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_true(fread(text, 1, 43, f) == 43);
    fclose(f);
    assert_string_equal(text, "Signature: 8a477f597d28d172789f06886806bc55");
    lb_end(c);
}

/* ---- hostile and broken ------------------------------------------------------------------------------------------ */

static void a_record_of_another_identity_is_no_record(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char names[4096], key_1[80], key_2[80], from[4200], to[4200];
    lb_put(c, "civitai:1", "one");
    lb_path(c, names, "v1/names");
    lb_digest("civitai:1", 9, key_1);
    lb_digest("civitai:2", 9, key_2);
    snprintf(from, sizeof from, "%s/%s.json", names, key_1);
    snprintf(to, sizeof to, "%s/%s.json", names, key_2);
    assert_int_equal(link(from, to), 0);
    lb_expect_miss(c, "civitai:2");
    lb_end(c);
}

static void broken_records_are_misses(void **state) {
    (void)state;
    static const char *const TEXTS[] = {
        "",
        "{",
        "null",
        "[]",
        "{\"v\": 1}",
        "{\"v\": 2}",
        "{\"v\": 1, \"identity\": \"civitai:1\", \"digest\": \"../x\", \"size\": 3}",
        "{\"v\": 1, \"identity\": \"civitai:1\", \"digest\": 7, \"size\": 3, \"kind\": \"lora\"}",
        "{\"v\": 1, \"identity\": \"civitai:1\", \"size\": 3, \"kind\": \"lora\"}"};
    lb_case *c = lb_begin();
    char path[4096], key[80];
    lb_put(c, "civitai:1", "one");
    lb_digest("civitai:1", 9, key);
    lb_path(c, path, "v1/names/%s.json", key);
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        lb_write(path, TEXTS[i]);
        lb_expect_miss(c, "civitai:1");
        listed s = {.n = 0};
        assert_int_equal(tt_library_list(c->l, count, &s, &c->err), TT_OK);
        assert_int_equal(s.n_names, 0);
    }
    lb_put(c, "civitai:1", "one");
    lb_expect(c, "civitai:1", "one");
    lb_end(c);
}

static void a_pipe_in_place_of_a_record_holds_nobody(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    char path[4096], key[80];
    lb_digest("civitai:1", 9, key);
    lb_path(c, path, "v1/names/%s.json", key);
    assert_int_equal(mkfifo(path, 0644), 0);
    lb_expect_miss(c, "civitai:1");
    lb_end(c);
}

static void text_of_outside_origin_is_made_harmless(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e = lb_entry("civitai:1", "one"), found;
    snprintf(e.name, sizeof e.name, "a\033[2Jb\n\"\\\xff");
    snprintf(e.base_model, sizeof e.base_model, "SDXL \"1.0\"");
    assert_int_equal(lb_try_put(c, &e, "one"), TT_OK);
    assert_int_equal(lb_find(c, "civitai:1", &found), TT_OK);
    assert_string_equal(found.name, "a?[2Jb?\"\\?");
    assert_string_equal(found.base_model, "SDXL \"1.0\"");
    lb_end(c);
}

static void a_part_of_another_size_is_not_committed(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_library_entry e = lb_entry("civitai:1", "one");
    e.size = 4;
    assert_int_equal(lb_try_put(c, &e, "one"), TT_E_FORMAT);
    lb_expect_miss(c, "civitai:1");
    assert_int_equal(lb_count(c, "v1/tmp"), 0);
    lb_end(c);
}

/* ---- backup ------------------------------------------------------------------------------------------------------ */

static void a_backup_restores_names_without_bytes(void **state) {
    (void)state;
    lb_case *c = lb_begin(), *d = lb_begin();
    tt_buf text;
    tt_library_entry e, put;
    int n_restored, n_missing;
    put = lb_put(c, "civitai:1", "one");
    lb_put(c, "civitai:2", "two");
    tt_library_entry named = put;
    snprintf(named.alias, sizeof named.alias, "first");
    assert_int_equal(tt_library_name(c->l, &named, &c->err), TT_OK);
    lb_put(d, "civitai:2", "two");
    tt_buf_init(&text, 1 << 20);
    assert_int_equal(tt_library_backup(c->l, &text, &c->err), TT_OK);
    assert_int_equal(
        tt_library_restore(d->l, text.data, text.size, &n_restored, &n_missing, &d->err), TT_OK);
    assert_int_equal(n_restored, 1);
    assert_int_equal(n_missing, 1);
    lb_expect_miss(d, "first");
    assert_int_equal(tt_library_recall(d->l, "civitai:1", &e, &d->err), TT_OK);
    assert_string_equal(e.digest, put.digest);
    lb_put(d, "civitai:7", "one");
    lb_expect(d, "first", "one");
    assert_int_equal(tt_library_restore(d->l, "{\"tintype_names\": 1, \"names\": [7]}", 34,
                                        &n_restored, &n_missing, &d->err),
                     TT_E_FORMAT);
    assert_int_equal(tt_library_restore(d->l, "[]", 2, &n_restored, &n_missing, &d->err),
                     TT_E_FORMAT);
    tt_buf_release(&text);
    lb_end(c);
    lb_end(d);
}

/* ---- denials ----------------------------------------------------------------------------------------------------- */

static void a_denial_holds_for_its_credential_and_its_time(void **state) {
    (void)state;
    lb_case *c = lb_begin();
    tt_fetch_error why, found;
    tt_fetch_fail(&why, TT_FETCH_GONE, "version 1: deleted by its \"creator\"");
    assert_false(tt_library_is_denied(c->l, "civitai:1", "key", &found));
    tt_library_deny(c->l, "civitai:1", "key", &why, 60 * 1000);
    assert_true(tt_library_is_denied(c->l, "civitai:1", "key", &found));
    assert_int_equal(found.class_, TT_FETCH_GONE);
    assert_string_equal(found.err.message, why.err.message);
    assert_true(found.retry_after_ms > 0 && found.retry_after_ms <= 60 * 1000);
    assert_false(tt_library_is_denied(c->l, "civitai:1", "better key", &found));
    assert_false(tt_library_is_denied(c->l, "civitai:2", "key", &found));
    tt_library_deny(c->l, "civitai:1", "key", &why, 0); /* no time: no change */
    char path[4096], key[80];
    lb_digest("civitai:1\0key", 13, key);
    lb_path(c, path, "v1/negative/%s", key);
    assert_true(lb_is_there(path));
    lb_write(path, "{\"class\": \"gone\", \"message\": \"m\", \"until_s\": 1000}");
    assert_false(tt_library_is_denied(c->l, "civitai:1", "key", &found));
    lb_write(path, "{\"class\": \"gone\", \"message\": \"m\", \"until_s\": 99999999999}");
    assert_false(tt_library_is_denied(c->l, "civitai:1", "key", &found)); /* no clock says this */
    lb_write(path, "{\"class\": \"nonsense\"}");
    assert_false(tt_library_is_denied(c->l, "civitai:1", "key", &found));
    lb_end(c);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static bool everything_works(const char *root) {
    tt_library *l = NULL;
    tt_library_options o = {.root = root};
    tt_library_entry e = lb_entry("civitai:1", "one"), found;
    tt_library_part part;
    tt_library_sweep sweep;
    tt_library_verified v;
    tt_library_lease *lease = NULL;
    tt_library_lock *lock = NULL;
    tt_reference r = lb_ref("civitai:1");
    tt_buf text;
    listed s = {.n = 0};
    tt_buf_init(&text, 1 << 20);
    bool is_fine = tt_library_open(&o, &l, NULL) == TT_OK;
    if (is_fine && tt_library_lock_try(l, "civitai:1", &lock)) tt_library_lock_beat(lock);
    is_fine = is_fine && tt_library_part_begin(l, "civitai:1", &part, NULL) == TT_OK;
    if (is_fine) lb_write(part.part_path, "one");
    is_fine = is_fine && tt_library_commit(l, &part, &e, NULL) == TT_OK &&
              tt_library_find(l, &r, &found, NULL) == TT_OK &&
              tt_library_lease_take(l, e.digest, &lease, NULL) == TT_OK &&
              tt_library_list(l, count, &s, NULL) == TT_OK && s.n == 1 &&
              tt_library_gc(l, 0, false, &sweep, NULL) == TT_OK &&
              tt_library_verify(l, NULL, NULL, NULL, &v, NULL) == TT_OK &&
              tt_library_backup(l, &text, NULL) == TT_OK;
    tt_library_lease_release(lease);
    tt_library_lock_release(lock);
    tt_library_close(l);
    tt_buf_release(&text);
    return is_fine;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    bool has_worked = false;
    enum { MOST = 400 };
    for (int n = 0; n < MOST && !has_worked; n++) {
        lb_case *c = lb_begin();
        tt_alloc_fail_after(n);
        bool is_fine = everything_works(c->root);
        tt_alloc_fail_after(-1);
        /* Whatever failed, what was said to be there is there and right. */
        tt_library_entry e;
        if (lb_find(c, "civitai:1", &e) == TT_OK) lb_expect(c, "civitai:1", "one");
        has_worked = is_fine && n > 20;
        lb_end(c);
    }
    assert_true(has_worked);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_committed_is_found),
        cmocka_unit_test(it_is_still_there_after_another_opening),
        cmocka_unit_test(an_alias_finds_it_and_can_move),
        cmocka_unit_test(the_beginning_of_a_digest_is_enough_for_people),
        cmocka_unit_test(two_names_share_their_bytes),
        cmocka_unit_test(a_name_needs_bytes),
        cmocka_unit_test(a_name_without_bytes_is_a_miss_and_remembers),
        cmocka_unit_test(bytes_of_another_size_are_a_miss),
        cmocka_unit_test(touched_bytes_are_doubted_until_they_are_hashed),
        cmocka_unit_test(verify_counts_everything),
        cmocka_unit_test(bytes_go_with_their_last_name),
        cmocka_unit_test(by_digest_all_names_go),
        cmocka_unit_test(bytes_in_use_stay_when_their_name_goes),
        cmocka_unit_test(a_pin_is_kept),
        cmocka_unit_test(the_list_has_names_then_orphans_then_plain_files),
        cmocka_unit_test(plain_files_are_found_by_name_and_never_removed),
        cmocka_unit_test(read_only_roots_are_looked_at_first_and_never_written),
        cmocka_unit_test(a_root_that_cannot_be_made_serves_the_others),
        cmocka_unit_test(no_root_at_all_is_fine),
        cmocka_unit_test(links_below_v1_are_not_followed),
        cmocka_unit_test(a_cache_says_that_it_is_one),
        cmocka_unit_test(a_record_of_another_identity_is_no_record),
        cmocka_unit_test(broken_records_are_misses),
        cmocka_unit_test(a_pipe_in_place_of_a_record_holds_nobody),
        cmocka_unit_test(text_of_outside_origin_is_made_harmless),
        cmocka_unit_test(a_part_of_another_size_is_not_committed),
        cmocka_unit_test(a_backup_restores_names_without_bytes),
        cmocka_unit_test(a_denial_holds_for_its_credential_and_its_time),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
