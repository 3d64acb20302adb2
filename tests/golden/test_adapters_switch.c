/* Switching sets of adapters on a loaded model: what is in the networks' slots, how the model comes back, what is kept, what a
 * failure leaves. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"
#include "nn/loader_adapters.h"
#include "nn/loader_parts.h"
#include "support/counter.h"
#include "support/golden_data.h"
#include "support/golden_network.h"
#include "tensor/backend.h"
#include "text/clip.h"
#include "unet/unet.h"

enum { N_SETS = 20, N_SWITCHES = 1000, N_FILES = 8 };

static const char *const files[N_FILES] = {
    "kohya-ldm", "kohya-diffusers", "dora-columns", "lokr-factored", "oft",
    "full",      "open-clip",       "boft"};

typedef struct fixture {
    tt_golden_network network;
    tt_clip *clips[2];
    tt_unet *unet;
    tt_adapter *adapters[N_FILES];
    tt_adapters *switchboard;
} fixture;

static tt_adapter *open_file(const fixture *f, const char *name) {
    char relative[128];
    tt_adapter *a;
    tt_err err;
    snprintf(relative, sizeof relative, "adapters/%s.safetensors", name);
    TT_GOLDEN_OK(tt_adapter_open(tt_golden_data_path(relative), f->network.checkpoint, &a, &err),
                 err);
    return a;
}

static void begin(fixture *f, tt_backend_kind backend, tt_dtype dtype,
                  const tt_adapters_options *options) {
    tt_err err;
    tt_golden_setup setup = {"kernel", TT_GOLDEN_LDM, backend, dtype};
    tt_golden_network_open(&setup, &f->network);
    for (int i = 0; i < 2; i++)
        TT_GOLDEN_OK(tt_clip_open(f->network.loader, f->network.ops, i, &f->clips[i], &err), err);
    TT_GOLDEN_OK(tt_unet_open(f->network.loader, f->network.ops, &f->unet, &err), err);
    TT_GOLDEN_OK(tt_loader_run(f->network.loader, &err), err);
    TT_GOLDEN_OK(tt_adapters_new(f->network.loader, options, &f->switchboard, &err), err);
    for (int i = 0; i < N_FILES; i++) f->adapters[i] = open_file(f, files[i]);
}

static void end(fixture *f) {
    tt_adapters_free(f->switchboard);
    for (int i = 0; i < N_FILES; i++) tt_adapter_close(f->adapters[i]);
    tt_unet_close(f->unet);
    for (int i = 0; i < 2; i++) tt_clip_close(f->clips[i]);
    tt_golden_network_close(&f->network);
}

static size_t data_bytes(const tt_weight *w) {
    return w->size_bytes - (w->bias ? (size_t)w->n_out * sizeof *w->bias : 0);
}

/* What is packed: the weight itself, or the k-th that it is made of. NULL: no more. */
static const tt_weight *piece(const tt__job *job, int k) {
    const tt_weight *w = *job->slot;
    if (!w->parts[0]) return k == 0 ? w : NULL;
    return k < TT__PARTS ? w->parts[k] : NULL;
}

/* Of everything in the slots. */
static uint64_t hash_slots(const fixture *f) {
    uint64_t hash = 0;
    for (const tt__job *job = f->network.loader->first; job; job = job->next)
        for (int k = 0; piece(job, k); k++) {
            const tt_weight *w = piece(job, k);
            hash = hash * 31 + tt_fnv1a64(w->data, data_bytes(w));
            if (w->bias) hash = hash * 31 + tt_fnv1a64(w->bias, (size_t)w->n_out * sizeof *w->bias);
        }
    return hash;
}

/* Pointers tell kept weights from new ones. */
static uint64_t hash_pointers(const fixture *f) {
    uint64_t hash = 0;
    for (const tt__job *job = f->network.loader->first; job; job = job->next)
        hash = hash * 31 + (uint64_t)(uintptr_t)*job->slot;
    return hash;
}

static void set(fixture *f, const tt_adapter_use *uses, int n) {
    tt_err err;
    TT_GOLDEN_OK(tt_adapters_set(f->switchboard, uses, n, &err), err);
}

/* Set i: one to three adapters at strengths of its own. */
static int make_uses(const fixture *f, int i, tt_adapter_use *uses) {
    int n = 1 + i % 3;
    for (int k = 0; k < n; k++)
        uses[k] = (tt_adapter_use){f->adapters[(i + 3 * k) % N_FILES],
                                   tt_adapter_strength_all(0.25f + 0.125f * (float)(i % 7))};
    return n;
}

/* ---- what is in the slots --------------------------------------------------------------------------- */

/* The job's weight and bias from tt_adapter_apply alone, one name below the other. */
static void expect_job(const fixture *f, const tt__job *job, const tt_adapter_use *uses, int n,
                       const char *leaf, float *out) {
    tt_err err;
    const tt_checkpoint *c = f->network.checkpoint;
    for (int i = 0; i < job->n_names; i++) {
        char name[TT_NAME_BYTES];
        tt_tensor_info info;
        size_t count = 1;
        TT_GOLDEN_OK(tt_checkpoint_info(c, tt_name(name, "%s.weight", job->names[i]), &info, &err),
                     err);
        for (int d = 0; d < (strcmp(leaf, "bias") == 0 ? 1 : info.rank); d++)
            count *= (size_t)info.shape[d];
        memset(out, 0, count * sizeof *out);
        tt_name(name, "%s.%s", job->names[i], leaf);
        if (tt_checkpoint_has(c, name))
            TT_GOLDEN_OK(tt_checkpoint_read(c, name, TT_F32, -1, NULL, out, &err), err);
        for (int k = 0; k < n; k++)
            TT_GOLDEN_OK(
                tt_adapter_apply(uses[k].adapter, name, &uses[k].strength, out, count, &err), err);
        out += count;
    }
}

/* The reference back-end keeps weights as they are given: halves one after the other make the whole. */
static void same_as_slots(const tt__job *job, const float *weight, const float *bias) {
    for (int k = 0; piece(job, k); k++) {
        const tt_weight *w = piece(job, k);
        assert_memory_equal(w->data, weight, data_bytes(w));
        weight += data_bytes(w) / sizeof *weight;
        if (!w->bias) continue;
        assert_memory_equal(w->bias, bias, (size_t)w->n_out * sizeof *bias);
        bias += w->n_out;
    }
}

static void stacked_and_halved_weights_hold_what_each_part_became(void **state) {
    (void)state;
    fixture f;
    tt_adapters_options options;
    tt_adapters_options_defaults(&options);
    begin(&f, TT_BACKEND_REF, TT_F32, &options);
    tt_adapter_use uses[3];
    for (int i = 0; i < 3; i++)
        uses[i] = (tt_adapter_use){f.adapters[i == 2 ? 6 : i], tt_adapter_strength_all(0.5f)};
    set(&f, uses, 3);
    assert_int_not_equal(tt_adapters_get_info(f.switchboard).n_weights, 0);
    for (const tt__job *job = f.network.loader->first; job; job = job->next) {
        size_t count;
        assert_int_equal(tt__job_count(job, &count, NULL), TT_OK);
        float *weight = tt_alloc_aligned(count * sizeof *weight);
        float *bias = tt_alloc((size_t)job->n_out * sizeof *bias);
        expect_job(&f, job, uses, 3, "weight", weight);
        if (job->kind != TT__JOB_EMBEDDING) expect_job(&f, job, uses, 3, "bias", bias);
        same_as_slots(job, weight, bias);
        tt_free(weight);
        tt_free(bias);
    }
    end(&f);
}

static void a_layer_without_bias_gets_the_adapter_s(void **state) {
    (void)state;
    fixture f;
    tt_adapters_options options;
    tt_adapters_options_defaults(&options);
    begin(&f, TT_BACKEND_CPU, TT_BF16, &options);
    set(&f, &(tt_adapter_use){f.adapters[5], tt_adapter_strength_all(1)}, 1); /* "full" */
    bool seen = false;
    for (const tt__job *job = f.network.loader->first; job; job = job->next)
        seen = seen || (!job->has_bias && piece(job, 0)->bias);
    assert_true(seen);
    end(&f);
}

/* ---- coming back ------------------------------------------------------------------------------------ */

static void a_thousand_switches_leave_the_model_bit_for_bit(void **state) {
    (void)state;
    fixture f;
    tt_adapters_options options = {.max_sets = 6, .max_bytes = 64u << 20};
    begin(&f, TT_BACKEND_CPU, TT_BF16, &options);
    uint64_t loaded = hash_slots(&f), pointers = hash_pointers(&f), hashes[N_SETS] = {0};
    uint32_t random = 1;
    for (int i = 0; i < N_SWITCHES; i++) {
        tt_adapter_use uses[3];
        random = random * 1664525u + 1013904223u;
        int which = (int)(random >> 16) % (N_SETS + 2);
        bool is_base = which >= N_SETS;
        set(&f, uses, is_base ? 0 : make_uses(&f, which, uses));
        if (is_base) assert_true(hash_pointers(&f) == pointers);
        if (is_base || i % 20 != 0) continue; /* hashing costs more than switching */
        uint64_t hash = hash_slots(&f);
        assert_true(hash != loaded);
        if (hashes[which]) assert_true(hashes[which] == hash);
        hashes[which] = hash;
    }
    set(&f, NULL, 0);
    assert_true(hash_pointers(&f) == pointers);
    assert_true(hash_slots(&f) == loaded);
    end(&f);
}

/* ---- what is kept ----------------------------------------------------------------------------------- */

static void sets_are_kept_least_recently_used_go_first(void **state) {
    (void)state;
    fixture f;
    tt_adapters_options options = {.max_sets = 2, .max_bytes = SIZE_MAX};
    begin(&f, TT_BACKEND_CPU, TT_F32, &options);
    tt_adapter_use uses[4];
    for (int i = 0; i < 4; i++)
        uses[i] = (tt_adapter_use){f.adapters[i], tt_adapter_strength_all(1)};
    for (int i = 0; i < 4; i++) set(&f, &uses[i], 1);
    assert_int_equal(tt_adapters_get_info(f.switchboard).n_kept, 2); /* 2 and 1; 3 is in use */
    set(&f, &uses[1], 1);
    assert_true(tt_adapters_get_info(f.switchboard).was_kept);
    set(&f, &uses[0], 1);
    assert_false(tt_adapters_get_info(f.switchboard).was_kept);
    tt_adapter_close(f.adapters[0]); /* opened again it is the same file: the same set */
    f.adapters[0] = open_file(&f, files[0]);
    set(&f, NULL, 0);
    set(&f, &(tt_adapter_use){f.adapters[0], tt_adapter_strength_all(1)}, 1);
    assert_true(tt_adapters_get_info(f.switchboard).was_kept);
    end(&f);
}

static void bytes_of_kept_sets_are_bounded(void **state) {
    (void)state;
    fixture f;
    tt_adapters_options options = {.max_sets = 100, .max_bytes = 0};
    begin(&f, TT_BACKEND_CPU, TT_F32, &options);
    size_t loaded = tt_ops_weight_bytes(f.network.ops);
    for (int i = 0; i < N_FILES; i++)
        set(&f, &(tt_adapter_use){f.adapters[i], tt_adapter_strength_all(1)}, 1);
    tt_adapters_info info = tt_adapters_get_info(f.switchboard);
    assert_int_equal(info.n_kept, 0);
    assert_true(info.used_bytes > 0);
    set(&f, NULL, 0);
    assert_int_equal(tt_ops_weight_bytes(f.network.ops), loaded);
    end(&f);
}

static void strength_zero_is_the_model_itself(void **state) {
    (void)state;
    fixture f;
    tt_adapters_options options;
    tt_adapters_options_defaults(&options);
    begin(&f, TT_BACKEND_CPU, TT_F32, &options);
    uint64_t pointers = hash_pointers(&f);
    set(&f, &(tt_adapter_use){f.adapters[0], tt_adapter_strength_all(0)}, 1);
    assert_int_equal(tt_adapters_get_info(f.switchboard).n_uses, 0);
    assert_true(hash_pointers(&f) == pointers);
    end(&f);
}

/* ---- failures --------------------------------------------------------------------------------------- */

/* A file that is cut short after it was opened, second in a set. */
static void a_failure_in_the_middle_leaves_the_set_that_was_there(void **state) {
    (void)state;
    fixture f;
    tt_err err;
    char path[64];
    tt_buf bytes;
    tt_adapters_options options;
    tt_adapters_options_defaults(&options);
    begin(&f, TT_BACKEND_CPU, TT_F32, &options);
    snprintf(path, sizeof path, "/tmp/tt-adapters-%ld.safetensors", (long)getpid());
    tt_buf_init(&bytes, 1 << 20);
    TT_GOLDEN_OK(tt_file_read(tt_golden_data_path("adapters/kohya-ldm.safetensors"), &bytes, &err),
                 err);
    TT_GOLDEN_OK(tt_file_write(path, bytes.data, bytes.size, &err), err);
    tt_adapter *cut;
    TT_GOLDEN_OK(tt_adapter_open(path, f.network.checkpoint, &cut, &err), err);
    assert_int_equal(truncate(path, (off_t)bytes.size / 2), 0);
    set(&f, &(tt_adapter_use){f.adapters[2], tt_adapter_strength_all(1)}, 1);
    uint64_t before = hash_pointers(&f);
    tt_adapter_use uses[] = {{f.adapters[1], tt_adapter_strength_all(1)},
                             {cut, tt_adapter_strength_all(1)}};
    assert_int_equal(tt_adapters_set(f.switchboard, uses, 2, &err), TT_E_IO);
    assert_non_null(strstr(err.message, path));
    assert_true(hash_pointers(&f) == before);
    assert_int_equal(tt_adapters_get_info(f.switchboard).n_uses, 1);
    unlink(path);
    tt_adapter_close(cut);
    tt_buf_release(&bytes);
    end(&f);
}

/* On one processor, because failing allocations are counted without locks. */
static void any_allocation_may_fail(void **state) {
    (void)state;
    fixture f;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    tt_err err;
    tt_adapters_options options = {.max_sets = 0, .max_bytes = 0};
    begin(&f, TT_BACKEND_REF, TT_F32, &options);
    tt_adapter_use uses[] = {{f.adapters[3], tt_adapter_strength_all(1)},
                             {f.adapters[4], tt_adapter_strength_all(1)}};
    uint64_t pointers = hash_pointers(&f);
    size_t loaded = tt_ops_weight_bytes(f.network.ops);
    tt_status status = TT_E_NOMEM;
    int64_t n = 0;
    for (; status != TT_OK; n++) {
        tt_alloc_fail_after(n);
        status = tt_adapters_set(f.switchboard, uses, 2, &err);
        tt_alloc_fail_after(-1);
        if (status == TT_OK) break;
        assert_int_equal(status, TT_E_NOMEM);
        assert_true(hash_pointers(&f) == pointers);
        assert_int_equal(tt_ops_weight_bytes(f.network.ops), loaded);
    }
    assert_true(n > 10);
    end(&f);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

static void nonsense_is_refused(void **state) {
    (void)state;
    fixture f;
    tt_err err;
    tt_adapters_options options;
    tt_adapters_options_defaults(&options);
    begin(&f, TT_BACKEND_CPU, TT_F32, &options);
    tt_adapter_use uses[TT_MAX_ADAPTER_USES + 1] = {{f.adapters[0], tt_adapter_strength_all(1)}};
    assert_int_equal(tt_adapters_set(f.switchboard, uses, TT_MAX_ADAPTER_USES + 1, &err),
                     TT_E_INVALID);
    assert_non_null(strstr(err.message, "17 LoRAs at once, the limit is 16"));
    uses[0].strength.te1 = 1e30f;
    assert_int_equal(tt_adapters_set(f.switchboard, uses, 1, &err), TT_E_INVALID);
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stacked_and_halved_weights_hold_what_each_part_became),
        cmocka_unit_test(a_layer_without_bias_gets_the_adapter_s),
        cmocka_unit_test(a_thousand_switches_leave_the_model_bit_for_bit),
        cmocka_unit_test(sets_are_kept_least_recently_used_go_first),
        cmocka_unit_test(bytes_of_kept_sets_are_bounded),
        cmocka_unit_test(strength_zero_is_the_model_itself),
        cmocka_unit_test(a_failure_in_the_middle_leaves_the_set_that_was_there),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
