/* URL text: RFC 3986 escapes, and which URLs a request may be sent to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "net/url.h"

static tt_buf b;

static int set_up(void **state) {
    (void)state;
    tt_buf_init(&b, TT_MIB);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tt_buf_release(&b);
    return 0;
}

static void only_unreserved_characters_stay(void **state) {
    (void)state;
    assert_int_equal(tt_url_append_encoded(&b, "AZaz09-._~", NULL), TT_OK);
    assert_string_equal(b.data, "AZaz09-._~");
    b.size = 0;
    assert_int_equal(tt_url_append_encoded(&b, "a b/c+d?e=f&g%\xc3\xa9:@!$'()*,;[]#", NULL), TT_OK);
    assert_string_equal(
        b.data, "a%20b%2Fc%2Bd%3Fe%3Df%26g%25%C3%A9%3A%40%21%24%27%28%29%2A%2C%3B%5B%5D%23");
}

static void what_was_encoded_decodes_to_itself(void **state) {
    (void)state;
    char text[256];
    tt_buf encoded;
    for (int i = 1; i < 256; i++) text[i - 1] = (char)i;
    text[255] = '\0';
    tt_buf_init(&encoded, TT_MIB);
    assert_int_equal(tt_url_append_encoded(&encoded, text, NULL), TT_OK);
    assert_int_equal(tt_url_append_decoded(&b, encoded.data, encoded.size, NULL), TT_OK);
    assert_string_equal(b.data, text);
    tt_buf_release(&encoded);
}

static void decoding_appends_and_keeps_plus(void **state) {
    (void)state;
    assert_int_equal(tt_buf_puts(&b, "x=", NULL), TT_OK);
    assert_int_equal(tt_url_append_decoded(&b, "a+b%2b%2F%7eREST", 12, NULL), TT_OK);
    assert_string_equal(b.data, "x=a+b+/~");
}

static void broken_escapes_are_refused_with_their_offset(void **state) {
    (void)state;
    static const char *const CASES[] = {"ab%", "ab%4", "ab%4g", "ab%g4", "ab%%41", "ab%00"};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        tt_err err;
        b.size = 0;
        assert_int_equal(tt_url_append_decoded(&b, CASES[i], strlen(CASES[i]), &err), TT_E_FORMAT);
        assert_int_equal(err.position, 2);
    }
    assert_int_equal(tt_url_append_decoded(&b, "a\0b", 3, NULL), TT_E_FORMAT);
}

static void plain_urls_pass(void **state) {
    (void)state;
    static const char *const CASES[] = {
        "http://a",
        "https://example.com/x?y=z#f",
        "HTTPS://Example.COM:443",
        "http://127.0.0.1:65535/",
        "http://[::1]:8080/a",
        "http://[fe80::1]",
        "http://host?q=a@b",
        "http://host/a@b:c",
        "http://xn\xc3\xb6.example/",
        "http://under_score.example-x/",
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_int_equal(tt_url_check(CASES[i], NULL), TT_OK);
}

static void other_urls_are_refused_in_one_sentence(void **state) {
    (void)state;
    static const struct {
        const char *url, *part;
    } CASES[] = {
        {"", "http:// or https://"},
        {"example.com/secret", "http:// or https://"},
        {"ftp://secret", "http:// or https://"},
        {"http:/secret", "http:// or https://"},
        {" http://secret", "http:// or https://"},
        {"http://", "host name"},
        {"http:///secret", "host name"},
        {"http://?secret", "host name"},
        {"http://:80/secret", "host name"},
        {"http://[]/secret", "host name"},
        {"http://[::1/secret", "host name"},
        {"http://[::g]/secret", "host name"},
        {"http://a%41/secret", "host name"},
        {"http://a,b/secret", "host name"},
        {"http://user:secret@host/", "user:password@"},
        {"http://user@host/secret", "user:password@"},
        {"http://host:0/secret", "port"},
        {"http://host:65536/secret", "port"},
        {"http://host:/secret", "port"},
        {"http://host:8o/secret", "port"},
        {"http://host:000080/secret", "port"},
        {"http://[::1]x/secret", "host name"},
        {"http://ho st/secret", "space"},
        {"http://host/secret\r\nX: y", "space"},
        {"http://host/secret\x7f", "space"},
        {"http://host\\@evil/secret", "backslash"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        tt_err err;
        assert_int_equal(tt_url_check(CASES[i].url, &err), TT_E_INVALID);
        if (!strstr(err.message, CASES[i].part)) fail_msg("%s: %s", CASES[i].url, err.message);
        assert_null(strstr(err.message, "secret"));
    }
}

static void the_longest_url_passes_and_one_more_byte_does_not(void **state) {
    (void)state;
    static char url[TT_MAX_URL_BYTES + 2];
    memset(url, 'a', sizeof url - 1);
    memcpy(url, "http://h/", 9);
    assert_int_equal(tt_url_check(url, NULL), TT_E_INVALID);
    url[TT_MAX_URL_BYTES] = '\0';
    assert_int_equal(tt_url_check(url, NULL), TT_OK);
}

static void memory_that_is_refused_is_told(void **state) {
    (void)state;
    tt_alloc_fail_after(0);
    assert_int_equal(tt_url_append_encoded(&b, "x", NULL), TT_E_NOMEM);
    tt_alloc_fail_after(0);
    assert_int_equal(tt_url_append_decoded(&b, "x", 1, NULL), TT_E_NOMEM);
    tt_alloc_fail_after(-1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(only_unreserved_characters_stay),
        TEST(what_was_encoded_decodes_to_itself),
        TEST(decoding_appends_and_keeps_plus),
        TEST(broken_escapes_are_refused_with_their_offset),
        TEST(plain_urls_pass),
        TEST(other_urls_are_refused_in_one_sentence),
        TEST(the_longest_url_passes_and_one_more_byte_does_not),
        TEST(memory_that_is_refused_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
