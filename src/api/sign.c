/* See sign.h. */
#include "api/sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

static const char prefix[] = "whsec_";

static bool is_base64(const char *text, size_t size) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strspn(text, alphabet), padding = size - n;
    return size % 4 == 0 && padding <= 2 && strspn(text + n, "=") == padding;
}

tt_status tt__secret_parse(const char *text, tt__secret *out, tt_err *err) {
    enum { MAX_TEXT_BYTES = (TT__MAX_SECRET_BYTES + 2) / 3 * 4 };
    unsigned char decoded[MAX_TEXT_BYTES];
    *out = (tt__secret){.size = 0};
    if (!text) return TT_OK;
    if (strncmp(text, prefix, sizeof prefix - 1) != 0)
        return tt_fail(err, TT_E_INVALID, "webhook secret: expected whsec_<base64>");
    text += sizeof prefix - 1;
    size_t size = strlen(text), padding = 0;
    if (size == 0 || size > MAX_TEXT_BYTES || !is_base64(text, size))
        return tt_fail(err, TT_E_INVALID,
                       "webhook secret: expected whsec_ and %d to %d bytes in base64",
                       TT__MIN_SECRET_BYTES, TT__MAX_SECRET_BYTES);
    while (text[size - 1 - padding] == '=') padding++;
    int n = EVP_DecodeBlock(decoded, (const unsigned char *)text, (int)size);
    out->size = n < 0 ? 0 : (size_t)n - padding; /* it counts padding as bytes */
    if (out->size >= TT__MIN_SECRET_BYTES && out->size <= TT__MAX_SECRET_BYTES)
        memcpy(out->key, decoded, out->size);
    OPENSSL_cleanse(decoded, sizeof decoded);
    if (out->size >= TT__MIN_SECRET_BYTES && out->size <= TT__MAX_SECRET_BYTES) return TT_OK;
    size_t found = out->size;
    out->size = 0;
    return tt_fail(err, TT_E_INVALID, "webhook secret: expected %d to %d bytes, found %zu",
                   TT__MIN_SECRET_BYTES, TT__MAX_SECRET_BYTES, found);
}

void tt__secret_release(tt__secret *secret) {
    OPENSSL_cleanse(secret, sizeof *secret);
}

/* ---- HMAC -------------------------------------------------------------------------------------------------------- */

static bool mac_text(EVP_MAC_CTX *mac, const char *text) {
    return EVP_MAC_update(mac, (const unsigned char *)text, strlen(text)) == 1;
}

static bool mac_all(EVP_MAC_CTX *mac, const tt__secret *secret, const char *id,
                    const char *timestamp, tt_blob *const *pieces, int n_pieces) {
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                     OSSL_PARAM_construct_end()};
    if (EVP_MAC_init(mac, secret->key, secret->size, parameters) != 1) return false;
    if (!mac_text(mac, id) || !mac_text(mac, ".") || !mac_text(mac, timestamp) ||
        !mac_text(mac, "."))
        return false;
    for (int i = 0; i < n_pieces; i++)
        if (EVP_MAC_update(mac, (const unsigned char *)pieces[i]->data, pieces[i]->size) != 1)
            return false;
    return true;
}

tt_status tt__sign(const tt__secret *secret, const char *id, const char *timestamp,
                   tt_blob *const *pieces, int n_pieces, char out[TT__SIGNATURE_BYTES],
                   tt_err *err) {
    unsigned char digest[TT__DIGEST_BYTES];
    size_t size = 0;
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = algorithm ? EVP_MAC_CTX_new(algorithm) : NULL;
    bool is_made = mac && mac_all(mac, secret, id, timestamp, pieces, n_pieces) &&
                   EVP_MAC_final(mac, digest, &size, sizeof digest) == 1 && size == sizeof digest;
    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(algorithm);
    if (!is_made) return tt_fail(err, TT_E_INTERNAL, "OpenSSL cannot make an HMAC-SHA256");
    memcpy(out, "v1,", 3);
    EVP_EncodeBlock((unsigned char *)out + 3, digest, sizeof digest); /* ends with a NUL */
    return TT_OK;
}

/* ---- digests ----------------------------------------------------------------------------------------------------- */

tt_status tt__sha256(const void *bytes, size_t size, unsigned char out[TT__DIGEST_BYTES],
                     tt_err *err) {
    if (EVP_Digest(bytes, size, out, NULL, EVP_sha256(), NULL) == 1) return TT_OK;
    return tt_fail(err, TT_E_INTERNAL, "OpenSSL cannot make a SHA-256");
}

bool tt__digests_equal(const unsigned char *a, const unsigned char *b) {
    return CRYPTO_memcmp(a, b, TT__DIGEST_BYTES) == 0;
}
