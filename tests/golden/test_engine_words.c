/* Whole pictures with adapters, and with prompts as A1111 reads them, against diffusers: tools/golden/words.py. Measured: above
 * 73 dB; without the adapter, the weights or the change on the way below 25. */
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
#include "support/golden_data.h"
#include "support/golden_engine.h"
#include "support/golden_network.h"
#include "support/psnr.h"
#include "support/safetensors_writer.h"
#include "text/tokenizer.h"
#include "weights/checkpoint.h"

#define SMALLEST_PSNR 60.0
#define LARGEST_WRONG 30.0 /* what leaves the point of a case out is farther away than this */

enum { MAX_ADAPTERS = 4, PATH_BYTES = 512 };

static tt_engine *engine; /* the model "kernel", f32 */

static int open_engine(void **state) {
    (void)state;
    engine = tt_golden_engine(
        &(tt_golden_engine_options){.model = "kernel", .precision = TT_PRECISION_F32});
    return 0;
}

static int close_engine(void **state) {
    (void)state;
    tt_engine_close(engine);
    return 0;
}

typedef struct listed { /* a row's adapters */
    tt_request_adapter items[MAX_ADAPTERS];
    char paths[MAX_ADAPTERS][PATH_BYTES];
    int n;
} listed;

static void list_adapters(json_object *row, listed *l) {
    json_object *all = NULL;
    l->n = 0;
    if (!json_object_object_get_ex(row, "adapters", &all)) return;
    for (; l->n < (int)json_object_array_length(all); l->n++) {
        json_object *one = json_object_array_get_idx(all, (size_t)l->n);
        char relative[PATH_BYTES / 2];
        assert_true(l->n < MAX_ADAPTERS);
        snprintf(relative, sizeof relative, "adapters/%s.safetensors",
                 json_object_get_string(json_object_array_get_idx(one, 0)));
        snprintf(l->paths[l->n], PATH_BYTES, "%s", tt_golden_data_path(relative));
        l->items[l->n] = (tt_request_adapter){
            .path = l->paths[l->n],
            .scale = (float)json_object_get_double(json_object_array_get_idx(one, 1))};
    }
}

static tt_request request_of(json_object *row, const listed *l) {
    tt_request r = tt_golden_request(row);
    r.prompt_syntax = tt_golden_string(row, "syntax");
    r.adapters = l->items;
    r.n_adapters = l->n;
    return r;
}

static double psnr_of(json_object *row, const tt_request *r, tt_result *result) {
    tt_npy expected = tt_golden_array("expected/words/%s.npy", tt_golden_string(row, "id"));
    *result = tt_golden_generate(engine, r);
    double psnr = tt_psnr_u8(result->pictures[0].rgb, expected.data, expected.count);
    tt_npy_release(&expected);
    return psnr;
}

static void check_row(json_object *row) {
    listed l;
    tt_result result;
    list_adapters(row, &l);
    tt_request r = request_of(row, &l);
    double psnr = psnr_of(row, &r, &result);
    if (strcmp(r.prompt_syntax, "a1111") == 0)
        assert_int_equal(result.prompt_chunks, tt_golden_int(row, "chunks"));
    assert_int_equal(result.n_adapters, l.n);
    for (int i = 0; i < result.n_adapters; i++) assert_int_equal(result.adapters[i].n_unmatched, 0);
    tt_result_release(&result);
    r.n_adapters = 0;
    r.prompt_syntax = "plain"; /* without what the case is about */
    double wrong = psnr_of(row, &r, &result);
    tt_result_release(&result);
    print_message("%-16s %5.1f dB, without %4.1f\n", tt_golden_string(row, "id"), psnr, wrong);
    if (!(psnr > SMALLEST_PSNR)) fail_msg("%s: %.1f dB", tt_golden_string(row, "id"), psnr);
    if (!(wrong < LARGEST_WRONG)) fail_msg("%s shows nothing", tt_golden_string(row, "id"));
}

static void pictures_agree_with_diffusers_and_peft(void **state) {
    (void)state;
    json_object *rows = tt_golden_cases("expected/words.json");
    assert_int_equal(json_object_array_length(rows), 6);
    for (size_t i = 0; i < json_object_array_length(rows); i++)
        check_row(json_object_array_get_idx(rows, i));
    json_object_put(rows);
}

/* ---- textual inversions ------------------------------------------------------------------------------ */

static tt_request cat_request(const char *prompt) {
    tt_request r;
    tt_request_defaults(NULL, &r);
    r.prompt = prompt;
    r.width = r.height = 64;
    r.steps = 4;
    r.sampler = "euler";
    return r;
}

/* The file whose vectors are the vocabulary's own for "black cat". */
static void write_embedding(const char *path) {
    static const char *const names[] = {"te1.text_model.embeddings.token_embedding.weight",
                                        "te2.text_model.embeddings.token_embedding.weight"};
    static const char *const keys[] = {"clip_l", "clip_g"};
    static const char words[] = "black cat";
    tt_golden_path model;
    tt_checkpoint *checkpoint;
    tt_tokenizer *tokenizer;
    tt_tokens tokens = {0};
    st_writer file;
    tt_err err;
    TT_GOLDEN_OK(tt_golden_model("kernel", TT_GOLDEN_LDM, &model, &err), err);
    TT_GOLDEN_OK(tt_checkpoint_open(model.text, &checkpoint, &err), err);
    TT_GOLDEN_OK(tt_tokenizer_open(&tokenizer, &err), err);
    TT_GOLDEN_OK(tt_tokenizer_encode(tokenizer, words, strlen(words), 0, &tokens, &err), err);
    st_begin(&file);
    for (int i = 0; i < 2; i++) {
        tt_tensor_info info;
        TT_GOLDEN_OK(tt_checkpoint_info(checkpoint, names[i], &info, &err), err);
        size_t width = (size_t)info.shape[1], count = (size_t)info.shape[0] * width;
        float *table = tt_alloc(count * sizeof *table), *rows = tt_alloc(tokens.n * width * 4);
        TT_GOLDEN_OK(tt_checkpoint_read(checkpoint, names[i], TT_F32, -1, NULL, table, &err), err);
        for (size_t t = 0; t < tokens.n; t++)
            memcpy(rows + t * width, table + (size_t)tokens.ids[t] * width, width * sizeof *rows);
        st_add_f32(&file, keys[i], TT_F32, 2, (int64_t[]){(int64_t)tokens.n, (int64_t)width}, rows);
        tt_free(table);
        tt_free(rows);
    }
    st_save(&file, path);
    tt_tokens_release(&tokens);
    tt_tokenizer_close(tokenizer);
    tt_checkpoint_close(checkpoint);
}

static void an_embedding_stands_for_its_vectors(void **state) {
    (void)state;
    char folder[] = "/tmp/tt-words-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/myBeast.safetensors", folder);
    write_embedding(path);
    const char *const paths[] = {"/nonexistent/never-named.safetensors", path};
    tt_request words = cat_request("a black cat on a hill");
    tt_result expected = tt_golden_generate(engine, &words);
    tt_request named = cat_request("a mybeast on a hill");
    named.embeddings = paths;
    named.n_embeddings = 2; /* the other is not opened: nobody names it */
    tt_result found = tt_golden_generate(engine, &named);
    assert_int_equal(found.n_embeddings, 1);
    tt_golden_same_picture(&found.pictures[0], &expected.pictures[0], "an embedding");
    tt_result_release(&found);
    named.prompt = "a embedding:myBeast on a hill";
    named.prompt_syntax = "comfyui";
    named.negative_policy = "zeros"; /* as without compat */
    found = tt_golden_generate(engine, &named);
    tt_golden_same_picture(&found.pictures[0], &expected.pictures[0], "ComfyUI's spelling");
    tt_result_release(&found);
    unlink(path); /* words that are kept do not hide that the file is gone */
    tt_err err;
    assert_int_equal(tt_engine_generate(engine, &named, &found, &err), TT_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "myBeast"));
    tt_result_release(&expected);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_agree_with_diffusers_and_peft),
        cmocka_unit_test(an_embedding_stands_for_its_vectors),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
