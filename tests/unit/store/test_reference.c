/* References: what each spelling means, that two spellings of one thing are the same, and that nothing odd gets in. The rules
 * are CivitAI's AIR grammar and id ranges, Hugging Face's URL forms and RFC 3986. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "store/reference.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF"
#define LOW "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static tt_reference r;
static tt_err err;

static const struct {
    const char *text, *identity;
    tt_reference_type type;
} good[] = {
    /* CivitAI's numbers */
    {"128078", "civitai:128078", TT_REF_CIVITAI},
    {"civitai:128078", "civitai:128078", TT_REF_CIVITAI},
    {"  civitai:128078\n", "civitai:128078", TT_REF_CIVITAI},
    {"CivitAI:128078", "civitai:128078", TT_REF_CIVITAI},
    {"civitai:128078+98765", "civitai:128078+98765", TT_REF_CIVITAI},
    {"civitai:128078+999999999999", "civitai:128078+999999999999", TT_REF_CIVITAI},
    {"civitai:2147483647", "civitai:2147483647", TT_REF_CIVITAI},
    {"civitai:101055@128078", "civitai:128078", TT_REF_CIVITAI},
    {"civitai:101055@128078+98765", "civitai:128078+98765", TT_REF_CIVITAI},
    {"civitai:101055@128078.safetensors", "civitai:128078", TT_REF_CIVITAI},
    {"civitai:101055@128078+98765.safetensor", "civitai:128078+98765", TT_REF_CIVITAI},
    {"civitai:1?fp=fp16&size=full", "civitai:1?fp=fp16&size=full", TT_REF_CIVITAI},
    {"civitai:1?size=full&fp=fp16", "civitai:1?fp=fp16&size=full", TT_REF_CIVITAI},
    /* AIR */
    {"urn:air:sdxl:lora:civitai:101055@128078", "civitai:128078", TT_REF_CIVITAI},
    {"air:sdxl:lora:civitai:101055@128078", "civitai:128078", TT_REF_CIVITAI},
    {"sdxl:lora:civitai:101055@128078", "civitai:128078", TT_REF_CIVITAI},
    {"lora:civitai:101055@128078", "civitai:128078", TT_REF_CIVITAI},
    {"URN:AIR:pony:checkpoint:CivitAI:7@9+11.safetensors", "civitai:9+11", TT_REF_CIVITAI},
    {"urn:air:civitai:101055@128078", "civitai:128078", TT_REF_CIVITAI},
    {"urn:air:sdxl:lora:civitai:101055", "urn:air:civitai:101055", TT_REF_CIVITAI},
    {"air:civitai:101055", "urn:air:civitai:101055", TT_REF_CIVITAI},
    {"urn:air:sdxl:vae:civitai:5+6", "urn:air:civitai:5+6", TT_REF_CIVITAI},
    {"urn:air:model:huggingface:stabilityai/sdxl-vae", "hf://stabilityai/sdxl-vae", TT_REF_HF},
    {"huggingface:stabilityai/sdxl-vae@main", "hf://stabilityai/sdxl-vae", TT_REF_HF},
    {"urn:air:sdxl:checkpoint:huggingface:a/b@v1.0", "hf://a/b@v1.0", TT_REF_HF},
    /* CivitAI's URLs */
    {"https://civitai.com/models/101055", "urn:air:civitai:101055", TT_REF_CIVITAI},
    {"https://civitai.com/models/101055/sd-xl", "urn:air:civitai:101055", TT_REF_CIVITAI},
    {"https://civitai.com/models/101055/sd-xl?modelVersionId=128078", "civitai:128078",
     TT_REF_CIVITAI},
    {"http://www.civitai.com/models/101055?modelVersionId=128078#reviews", "civitai:128078",
     TT_REF_CIVITAI},
    {"https://civitai.red/models/1?modelVersionId=2", "civitai:2", TT_REF_CIVITAI},
    {"https://civitai.green/model-versions/2", "civitai:2", TT_REF_CIVITAI},
    {"https://CIVITAI.com./models/1?modelVersionId=2", "civitai:2", TT_REF_CIVITAI},
    {"https://civitai.com:443/models/1?modelVersionId=2", "civitai:2", TT_REF_CIVITAI},
    {"https://civitai.com/api/download/models/2", "civitai:2", TT_REF_CIVITAI},
    {"https://civitai.com/api/download/models/2?token=SECRETSECRET", "civitai:2", TT_REF_CIVITAI},
    {"https://civitai.com/api/download/models/2?type=Model&format=SafeTensor&size=pruned&fp=fp16",
     "civitai:2?fp=fp16&size=pruned&type=Model", TT_REF_CIVITAI},
    {"https://civitai.com/api/download/models/2?type=Text%20Encoder", "civitai:2?type=Text+Encoder",
     TT_REF_CIVITAI},
    {"https://civitai.com/api/download/models/2?fileId=3&fp=fp16", "civitai:2+3", TT_REF_CIVITAI},
    {"https://api.civitai.com/api/v1/model-versions/2", "civitai:2", TT_REF_CIVITAI},
    {"https://civitai.com/api/v1/models/2", "urn:air:civitai:2", TT_REF_CIVITAI},
    /* Hugging Face */
    {"hf://org/repo/a.safetensors", "hf://org/repo/a.safetensors", TT_REF_HF},
    {"hf://org/repo@main/a.safetensors", "hf://org/repo/a.safetensors", TT_REF_HF},
    {"hf://org/repo@v1/unet/a.safetensors", "hf://org/repo@v1/unet/a.safetensors", TT_REF_HF},
    {"hf://org/repo@refs%2Fpr%2F7/a.safetensors", "hf://org/repo@refs%2Fpr%2F7/a.safetensors",
     TT_REF_HF},
    {"hf://org/repo/with%20space.safetensors", "hf://org/repo/with%20space.safetensors", TT_REF_HF},
    {"hf://org/repo/with space.safetensors", "hf://org/repo/with%20space.safetensors", TT_REF_HF},
    {"hf://org/repo/caf\xc3\xa9.safetensors", "hf://org/repo/caf%C3%A9.safetensors", TT_REF_HF},
    {"hf://Org/Re.po_1-x", "hf://Org/Re.po_1-x", TT_REF_HF},
    {"hf://org/repo/", "hf://org/repo", TT_REF_HF},
    {"HF://org/repo", "hf://org/repo", TT_REF_HF},
    {"https://huggingface.co/org/repo", "hf://org/repo", TT_REF_HF},
    {"https://huggingface.co/org/repo/", "hf://org/repo", TT_REF_HF},
    {"https://huggingface.co/org/repo/tree/main", "hf://org/repo", TT_REF_HF},
    {"https://huggingface.co/org/repo/tree/v2", "hf://org/repo@v2", TT_REF_HF},
    {"https://huggingface.co/org/repo/resolve/main/a.safetensors", "hf://org/repo/a.safetensors",
     TT_REF_HF},
    {"https://huggingface.co/org/repo/resolve/main/a.safetensors?download=true&token=hf_x",
     "hf://org/repo/a.safetensors", TT_REF_HF},
    {"https://huggingface.co/org/repo/blob/refs%2Fpr%2F7/d/a.safetensors",
     "hf://org/repo@refs%2Fpr%2F7/d/a.safetensors", TT_REF_HF},
    {"https://hf.co/org/repo/raw/0123abc/a.safetensors", "hf://org/repo@0123abc/a.safetensors",
     TT_REF_HF},
    /* other URLs */
    {"https://example.org/a.safetensors", "https://example.org/a.safetensors", TT_REF_URL},
    {"HTTPS://Example.ORG:443/A.safetensors", "https://example.org/A.safetensors", TT_REF_URL},
    {"http://example.org:8080/a", "http://example.org:8080/a", TT_REF_URL},
    {"http://example.org:80/a", "http://example.org/a", TT_REF_URL},
    {"https://example.org./a", "https://example.org/a", TT_REF_URL},
    {"https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443/a", TT_REF_URL},
    {"https://127.0.0.1/a", "https://127.0.0.1/a", TT_REF_URL},
    {"https://example.org/a?v=2", "https://example.org/a?v=2", TT_REF_URL},
    {"https://example.org/a?token=SECRETSECRET&v=2&Signature=SECRETSECRET",
     "https://example.org/a?v=2", TT_REF_URL},
    {"https://e.org/a?X-Amz-Signature=SECRETSECRET&X-Amz-Date=1", "https://e.org/a", TT_REF_URL},
    {"https://example.org/a#sha256=" HEX, "https://example.org/a#sha256=" LOW, TT_REF_URL},
    {"https://example.org/a?v=1#SHA256=" HEX, "https://example.org/a?v=1#sha256=" LOW, TT_REF_URL},
    {"https://example.org/a#", "https://example.org/a", TT_REF_URL},
    {"https://example.org/a%20b", "https://example.org/a%20b", TT_REF_URL},
    {"https://civitai.com.evil.example/models/1", "https://civitai.com.evil.example/models/1",
     TT_REF_URL},
    {"https://evil.example/civitai.com/models/1", "https://evil.example/civitai.com/models/1",
     TT_REF_URL},
    {"https://evilcivitai.com/models/1", "https://evilcivitai.com/models/1", TT_REF_URL},
    {"https://huggingface.co.evil.example/a/b", "https://huggingface.co.evil.example/a/b",
     TT_REF_URL},
    {"https://xhuggingface.co/a/b", "https://xhuggingface.co/a/b", TT_REF_URL},
    /* S3, digests, files, names */
    {"s3://bucket/key.safetensors", "s3://bucket/key.safetensors", TT_REF_S3},
    {"S3://my.bucket-1/a/b c%20d.safetensors", "s3://my.bucket-1/a/b c%20d.safetensors", TT_REF_S3},
    {"sha256:" HEX, "sha256:" LOW, TT_REF_DIGEST},
    {"SHA256:" LOW, "sha256:" LOW, TT_REF_DIGEST},
    {"/models/a.safetensors", "/models/a.safetensors", TT_REF_PATH},
    {"./a", "./a", TT_REF_PATH},
    {"../a/b", "../a/b", TT_REF_PATH},
    {"~/a.safetensors", "~/a.safetensors", TT_REF_PATH},
    {"a.safetensors", "a.safetensors", TT_REF_PATH},
    {"A.SafeTensors", "A.SafeTensors", TT_REF_PATH},
    {"loras/a", "loras/a", TT_REF_PATH},
    {"/with:colon/a", "/with:colon/a", TT_REF_PATH},
    {"detail", "detail", TT_REF_NAME},
    {"my style v2", "my style v2", TT_REF_NAME},
    {"caf\xc3\xa9", "caf\xc3\xa9", TT_REF_NAME},
    {"0", "0", TT_REF_NAME},
    {"99999999999", "99999999999", TT_REF_NAME},
};

static void each_spelling_means_what_it_should(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        tt_status status = tt_reference_parse(good[i].text, &r, &err);
        if (status != TT_OK) fail_msg("%s: %s", good[i].text, err.message);
        assert_string_equal(r.identity, good[i].identity);
        assert_int_equal(r.type, good[i].type);
    }
}

static void an_identity_is_a_spelling_of_itself(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        tt_reference again;
        assert_int_equal(tt_reference_parse(good[i].text, &r, &err), TT_OK);
        if (tt_reference_parse(r.identity, &again, &err) != TT_OK)
            fail_msg("%s: %s", r.identity, err.message);
        assert_string_equal(again.identity, r.identity);
        assert_int_equal(again.type, r.type);
    }
}

static const struct {
    const char *text, *sentence; /* a part of it */
} bad[] = {
    {"", "empty"},
    {"  \n", "empty"},
    {"a\nb", "control character at byte 1"},
    {"civitai:1\x7f", "control character"},
    {"\xff\xfe", "not UTF-8"},
    {"caf\xe9", "not UTF-8"},
    {"civitai:", "expected numbers"},
    {"civitai:0", "expected numbers"},
    {"civitai:-1", "expected numbers"},
    {"civitai:01", "expected numbers"},
    {"civitai:1e3", "expected numbers"},
    {"civitai:0x10", "expected numbers"},
    {"civitai:2147483648", "up to 2147483647"},
    {"civitai:99999999999999999999999", "expected numbers"},
    {"civitai:1@", "expected numbers"},
    {"civitai:@2", "expected numbers"},
    {"civitai:1@2147483648", "expected numbers"},
    {"civitai:1@2@3", "expected numbers"},
    {"civitai:1@2+", "expected numbers"},
    {"civitai:1@2+x", "expected numbers"},
    {"civitai:1@2+1000000000000", "expected numbers"},
    {"civitai:1 2", "expected numbers"},
    {"civitai:1@2.ckpt", "format .ckpt is not read here"},
    {"civitai:1@2.pt", "only safetensors"},
    {"civitai:1/../2", "format"},
    {"civitai:1?format=PickleTensor", "format=PickleTensor is not read here"},
    {"civitai:1?fp=a/b", "fp= has a value"},
    {"civitai:1?fp=%0a", "fp= has a value"},
    {"civitai:1?fileId=x", "expected numbers"},
    {"urn:air:sdxl:lora:orchestrator:1@2", "expected civitai or huggingface"},
    {"urn:air:sdxl:lora:civitai-r2:1@2", "expected civitai or huggingface"},
    {"urn:air:a:b:c:civitai:1", "expected urn:air:"},
    {"urn:air:civitai", "expected urn:air:"},
    {"urn:isbn:1234", "expected civitai or huggingface"},
    {"urn:", "expected urn:air:"},
    {"urn:air:sdxl:lora:civitai:", "expected numbers"},
    {"urn:air:sdxl:lora:civitai:x@2", "expected numbers"},
    {"urn:air:sdxl:lora:civitai:1@2:3", "expected urn:air:"},
    {"https://civitai.com/", "names no model"},
    {"https://civitai.com", "names no model"},
    {"https://civitai.com/user/x", "names no model"},
    {"https://civitai.com/models/", "names no model"},
    {"https://civitai.com/models/x", "names no model"},
    {"https://civitai.com/models/2147483648", "names no model"},
    {"https://civitai.com/images/5", "names no model"},
    {"https://civitai.com/models/1?modelVersionId=x", "names no model"},
    {"https://civitai.com/api/download/models/2?format=PickleTensor", "not read here"},
    {"https://civitai.com/models/1/../2", "a part that is . or .."},
    {"https://civitai.com/models/1/%2e%2e/2", "a part that is . or .."},
    {"https://user:SECRETSECRET@civitai.com/models/1", "user names and passwords"},
    {"https://SECRETSECRET@example.org/a", "user names and passwords"},
    {"https://civitai.com\\@evil.example/models/1", "must be percent-encoded"},
    {"https://example.org/a\\b", "must be percent-encoded"},
    {"https://example.org/a b", "must be percent-encoded"},
    {"https://example.org/caf\xc3\xa9", "must be percent-encoded"},
    {"https://b\xc3\xbc"
     "cher.example/a",
     "xn-- form"},
    {"https://exa%6dple.org/a", "the host may have"},
    {"https://\xef\xbd\x83ivitai.com/models/1", "the host may have"},
    {"https:///a", "the host may have"},
    {"https://./a", "the host may have"},
    {"https://a..b/c", "the host may have"},
    {"https://example.org:0/a", "expected a port"},
    {"https://example.org:65536/a", "expected a port"},
    {"https://example.org:/a", "expected a port"},
    {"https://example.org:x/a", "the host has a :"},
    {"https://a:b:1/c", "the host has a :"},
    {"https://example.org", "a path to a file is missing"},
    {"https://example.org/", "a path to a file is missing"},
    {"https://example.org/?a=b", "a path to a file is missing"},
    {"https://example.org/a%", "percent-encoding"},
    {"https://example.org/a%4", "percent-encoding"},
    {"https://example.org/a%zz", "percent-encoding"},
    {"https://example.org/a%00b", "percent-encoding"},
    {"https://example.org/a%0ab", "percent-encoding"},
    {"https://example.org/a?x=%0d%0a", "percent-encoding"},
    {"https://example.org/../a", "a part that is . or .."},
    {"https://example.org/./a", "a part that is . or .."},
    {"https://example.org/a/%2E%2E", "a part that is . or .."},
    {"https://example.org/a%2f..%2fb", "a part that is . or .."},
    {"https://example.org/a%5c..%5cb", "a part that is . or .."},
    {"https://example.org/a#section", "only sha256="},
    {"https://example.org/a#sha256=12", "only sha256="},
    {"https://example.org/a#md5=" LOW, "only sha256="},
    {"ftp://example.org/a", "expected https://, hf:// or s3://"},
    {"file:///etc/passwd", "expected https://"},
    {"gopher://example.org/a", "expected https://"},
    {"javascript://x", "expected https://"},
    {"hf://", "expected hf://ORG/REPOSITORY"},
    {"hf://org", "expected hf://ORG/REPOSITORY"},
    {"hf://org/", "expected hf://ORG/REPOSITORY"},
    {"hf:///repo", "expected hf://ORG/REPOSITORY"},
    {"hf://../repo", "expected hf://ORG/REPOSITORY"},
    {"hf://org/..", "expected hf://ORG/REPOSITORY"},
    {"hf://org/re..po", "expected hf://ORG/REPOSITORY"},
    {"hf://o rg/repo", "expected hf://ORG/REPOSITORY"},
    {"hf://org/re%2fpo/a", "expected hf://ORG/REPOSITORY"},
    {"hf://-org/repo", "expected hf://ORG/REPOSITORY"},
    {"hf://org/repo@/a", "the revision is no branch"},
    {"hf://org/repo@../a", "the revision is no branch"},
    {"hf://org/repo@a%2f..%2fb/c", "the revision is no branch"},
    {"hf://org/repo@%00/c", "not percent-encoded"},
    {"hf://org/repo/../a", "an empty part"},
    {"hf://org/repo/a/../../b", "an empty part"},
    {"hf://org/repo/a%2f%2e%2e%2fb", "an empty part"},
    {"hf://org/repo//a", "an empty part"},
    {"hf://org/repo/a/", "an empty part"},
    {"hf://org/repo/a\\b", "an empty part"},
    {"hf://org/repo/a%5cb", "an empty part"},
    {"hf://org/repo/a%", "not percent-encoded"},
    {"hf://org/repo/a%0a", "not percent-encoded"},
    {"https://huggingface.co/org", "expected hf://ORG/REPOSITORY"},
    {"https://huggingface.co/datasets/org/repo/resolve/main/a", "names no model file"},
    {"https://huggingface.co/spaces/org/repo", "names no model file"},
    {"https://huggingface.co/org/repo/discussions/1", "names no model file"},
    {"https://huggingface.co/org/repo/resolve/main", "the path behind the revision is missing"},
    {"https://huggingface.co/org/repo/tree/main/unet", "a folder's"},
    {"https://huggingface.co/org/repo/resolve/main/%2e%2e/a", "a part that is . or .."},
    {"s3://", "the bucket's name"},
    {"s3://ab/key", "the bucket's name"},
    {"s3://UPPER/key", "the bucket's name"},
    {"s3://a_b_c/key", "the bucket's name"},
    {"s3://a..b/key", "the bucket's name"},
    {"s3://-abc/key", "the bucket's name"},
    {"s3://bucket", "the object's key is missing"},
    {"s3://bucket/", "the object's key is missing"},
    {"s3://bucket/a/../b", "a part that is . or .."},
    {"s3://bucket/..", "a part that is . or .."},
    {"sha256:", "expected 64 hexadecimal digits, found 0"},
    {"sha256:12", "expected 64 hexadecimal digits, found 2"},
    {"sha256:" LOW "0", "expected 64 hexadecimal digits, found 65"},
    {"sha256:zz23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
     "expected 64 hexadecimal digits"},
    {"~root/a", "only ~/ is understood"},
    {"-rf", "neither a file, a name nor a reference"},
    {"C:\\models\\a", "neither a file, a name nor a reference"},
    {"name:with:colons", "neither a file, a name nor a reference"},
    {"what?", "neither a file, a name nor a reference"},
};

static void what_makes_no_sense_is_refused_with_a_reason(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (tt_reference_parse(bad[i].text, &r, &err) == TT_OK)
            fail_msg("%s was taken as %s", bad[i].text, r.identity);
        if (!strstr(err.message, bad[i].sentence))
            fail_msg("%s: expected \"%s\" in \"%s\"", bad[i].text, bad[i].sentence, err.message);
        assert_int_equal(err.code, TT_E_INVALID);
    }
}

static void secrets_are_never_repeated(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(tt_reference_parse(good[i].text, &r, &err), TT_OK);
        assert_null(strstr(r.identity, "SECRETSECRET"));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(tt_reference_parse(bad[i].text, &r, &err), TT_OK);
        assert_null(strstr(err.message, "SECRETSECRET"));
    }
}

static void overlong_parts_are_refused(void **state) {
    (void)state;
    static char text[3 * TT_REFERENCE_BYTES];
    static const char *const begins[] = {"/",
                                         "",
                                         "https://example.org/",
                                         "https://",
                                         "hf://",
                                         "hf://org/",
                                         "hf://org/repo/",
                                         "hf://org/repo@",
                                         "s3://",
                                         "s3://bucket/",
                                         "civitai:",
                                         "sha256:",
                                         "urn:air:",
                                         "a/"};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        for (size_t size = TT_REFERENCE_BYTES - 2; size < TT_REFERENCE_BYTES + 3; size++) {
            memset(text, 'a', size);
            text[size] = '\0';
            memcpy(text, begins[i], strlen(begins[i]));
            if (tt_reference_parse(text, &r, &err) != TT_OK) continue;
            assert_true(size < TT_REFERENCE_BYTES);
            tt_reference again;
            assert_int_equal(tt_reference_parse(r.identity, &again, &err), TT_OK);
        }
    snprintf(text, sizeof text, "hf://org/repo/");
    for (int i = 0; i < 900; i++) memcpy(text + 14 + 2 * i, "\xc3\xa9", 3);
    assert_int_equal(tt_reference_parse(text, &r, &err), TT_E_INVALID);
    assert_non_null(strstr(err.message, "the path is too long"));
}

static void kinds_come_from_the_reference(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool has_kind;
        tt_model_kind kind;
    } cases[] = {
        {"urn:air:sdxl:lora:civitai:1@2", true, TT_MODEL_LORA},
        {"urn:air:sdxl:lycoris:civitai:1@2", true, TT_MODEL_LORA},
        {"urn:air:sdxl:checkpoint:civitai:1@2", true, TT_MODEL_CHECKPOINT},
        {"urn:air:vae:huggingface:a/b", true, TT_MODEL_VAE},
        {"urn:air:sdxl:embedding:civitai:1@2", true, TT_MODEL_EMBEDDING},
        {"urn:air:sdxl:unknown:civitai:1@2", false, 0},
        {"civitai:2", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(tt_reference_parse(cases[i].text, &r, &err), TT_OK);
        assert_int_equal(r.has_kind, cases[i].has_kind);
        if (r.has_kind) assert_int_equal(r.kind, cases[i].kind);
    }
}

static void the_parts_are_there_for_whoever_asks(void **state) {
    (void)state;
    assert_int_equal(tt_reference_parse("civitai:101055@128078+7", &r, &err), TT_OK);
    assert_int_equal(r.model_id, 101055);
    assert_int_equal(r.version_id, 128078);
    assert_int_equal(r.file_id, 7);
    assert_int_equal(
        tt_reference_parse("https://huggingface.co/o/r/blob/refs%2Fpr%2F7/d/a%20b", &r, &err),
        TT_OK);
    assert_string_equal(r.repo, "o/r");
    assert_string_equal(r.revision, "refs/pr/7");
    assert_string_equal(r.path, "d/a b");
    assert_int_equal(tt_reference_parse("https://E.org/a?token=t&v=2#sha256=" HEX, &r, &err),
                     TT_OK);
    assert_string_equal(r.path, "https://e.org/a?token=t&v=2");
    assert_string_equal(r.digest, LOW);
    assert_int_equal(tt_reference_parse("s3://bucket/a/b", &r, &err), TT_OK);
    assert_string_equal(r.bucket, "bucket");
    assert_string_equal(r.path, "a/b");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_spelling_means_what_it_should),
        cmocka_unit_test(an_identity_is_a_spelling_of_itself),
        cmocka_unit_test(what_makes_no_sense_is_refused_with_a_reason),
        cmocka_unit_test(secrets_are_never_repeated),
        cmocka_unit_test(overlong_parts_are_refused),
        cmocka_unit_test(kinds_come_from_the_reference),
        cmocka_unit_test(the_parts_are_there_for_whoever_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
