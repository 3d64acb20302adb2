/* Signatures against the published example of Standard Webhooks (the test vector of its reference libraries), digests against
 * FIPS 180-2's "abc". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/sign.h"

static const char example_secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

static void the_published_example_is_reproduced(void **state) {
    (void)state;
    static const char body[] = "{\"test\": 2432232314}";
    tt__secret secret;
    tt_blob *pieces[3];
    char signature[TT__SIGNATURE_BYTES];
    assert_int_equal(tt__secret_parse(example_secret, &secret, NULL), TT_OK);
    assert_int_equal(secret.size, 24);
    for (size_t cut = 0; cut < 3; cut++) /* however the body lies in pieces */
        assert_int_equal(
            tt_blob_new(body + cut * 7, cut < 2 ? 7 : strlen(body) - 14, &pieces[cut], NULL),
            TT_OK);
    assert_int_equal(
        tt__sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", pieces, 3, signature, NULL),
        TT_OK);
    assert_string_equal(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    for (int i = 0; i < 3; i++) tt_blob_release(pieces[i]);
    tt__secret_release(&secret);
    assert_int_equal(secret.size, 0);
}

static void malformed_secrets_are_refused_without_repeating_them(void **state) {
    (void)state;
    char too_long[128] = "whsec_"; /* 66 bytes */
    for (int i = 0; i < 88; i++) too_long[6 + i] = 'A';
    const char *const wrong[] = {"",
                                 "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                                 "whsec_",
                                 "whsec_MfKQ",
                                 "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
                                 "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa!!",
                                 "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL===",
                                 "whsec_MfKQ9r8GKYqr=wjUPD8ILPZIo2LaLaSw",
                                 too_long};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tt__secret secret;
        tt_err err;
        if (tt__secret_parse(wrong[i], &secret, &err) != TT_E_INVALID)
            fail_msg("taken: %s", wrong[i]);
        assert_null(strstr(err.message, "MfKQ"));
        assert_int_equal(secret.size, 0);
    }
    tt__secret secret;
    assert_int_equal(tt__secret_parse(NULL, &secret, NULL), TT_OK);
    assert_int_equal(secret.size, 0);
    assert_int_equal(tt__secret_parse("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA==", &secret, NULL),
                     TT_OK);
    assert_int_equal(secret.size, 25);
    assert_int_equal(secret.key[24], 24);
}

static void digests_are_sha256_and_compare(void **state) {
    (void)state;
    static const unsigned char abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
                                        0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                        0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
                                        0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    unsigned char digest[TT__DIGEST_BYTES];
    assert_int_equal(tt__sha256("abc", 3, digest, NULL), TT_OK);
    assert_true(tt__digests_equal(digest, abc));
    digest[31] ^= 1;
    assert_false(tt__digests_equal(digest, abc));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_example_is_reproduced),
        cmocka_unit_test(malformed_secrets_are_refused_without_repeating_them),
        cmocka_unit_test(digests_are_sha256_and_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
