/* See s3_place.h. A table of services says what their host names tell: the region, and whether the bucket is in front of
 * it. Unknown hosts (MinIO, a proxy) tell nothing: us-east-1 and path style, which is what such servers expect.
 *
 *   b.s3.eu-west-1.amazonaws.com    AFTER_S3    region behind the label "s3", bucket before it
 *   b.nyc3.digitaloceanspaces.com   LAST        region is the last label before the suffix, bucket before it
 *   <32 hex>.r2.cloudflarestorage.com, storage.googleapis.com    AUTO
 *   s3api-eu-ro-1.runpod.io         RUNPOD      data centre behind "s3api-" */
#include "net/s3_place.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "net/url.h"

enum { ACCOUNT_DIGITS = 32 }; /* of an R2 account */

typedef enum rule { AFTER_S3, LAST, AUTO, R2, RUNPOD } rule;

static const struct {
    const char *suffix;
    rule rule;
} SERVICES[] = {
    {"amazonaws.com", AFTER_S3},
    {"amazonaws.com.cn", AFTER_S3},
    {"backblazeb2.com", AFTER_S3},
    {"wasabisys.com", AFTER_S3},
    {"scw.cloud", AFTER_S3},
    {"io.cloud.ovh.net", AFTER_S3},
    {"io.cloud.ovh.us", AFTER_S3},
    {"digitaloceanspaces.com", LAST},
    {"linodeobjects.com", LAST},
    {"vultrobjects.com", LAST},
    {"your-objectstorage.com", LAST}, /* Hetzner */
    {"r2.cloudflarestorage.com", R2},
    {"storage.googleapis.com", AUTO},
    {"runpod.io", RUNPOD},
};

typedef struct told { /* by a host's name */
    char region[TT__S3_REGION_BYTES];
    bool has_bucket, is_aws;
} told;

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

/* Keeps what looks like a region and otherwise what was there. */
static void set_region(told *t, const char *text, size_t size) {
    if (size == 0 || size >= sizeof t->region) return;
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-') return;
    memcpy(t->region, text, size);
    t->region[size] = '\0';
}

/* The last label "s3" or "s3-..." of `name`; NULL without one. */
static const char *find_s3(const char *name) {
    const char *found = NULL;
    for (const char *label = name; label; label = strchr(label, '.')) {
        if (*label == '.') label++;
        bool is_s3 = strncmp(label, "s3", 2) == 0 && (!label[2] || strchr(".-", label[2]));
        if (is_s3) found = label;
    }
    return found;
}

/* s3.REGION, s3.dualstack.REGION, s3-fips.REGION; of old also s3-REGION. s3-accelerate and s3-external-1 are no regions. */
static void read_after_s3(const char *name, told *t) {
    static const char DUALSTACK[] = "dualstack.";
    const char *s3 = find_s3(name);
    if (!s3) return;
    t->has_bucket = s3 > name;
    const char *dot = strchr(s3, '.');
    if (dot) {
        const char *region = dot + 1;
        if (strncmp(region, DUALSTACK, sizeof DUALSTACK - 1) == 0) region += sizeof DUALSTACK - 1;
        set_region(t, region, strlen(region));
    } else if (strchr("0123456789", s3[strlen(s3) - 1]) && s3[2] == '-' &&
               strcmp(s3, "s3-external-1") != 0) {
        set_region(t, s3 + 3, strlen(s3 + 3));
    }
}

static void read_last(const char *name, told *t) {
    const char *dot = strrchr(name, '.');
    const char *region = dot ? dot + 1 : name;
    t->has_bucket = dot != NULL;
    set_region(t, region, strlen(region));
}

/* ACCOUNT or ACCOUNT.eu, else BUCKET.ACCOUNT. */
static void read_r2(const char *name, told *t) {
    size_t label = strcspn(name, "."), digits = strspn(name, "0123456789abcdef");
    t->has_bucket = name[0] && !(label == ACCOUNT_DIGITS && digits == ACCOUNT_DIGITS);
    set_region(t, "auto", 4);
}

static void read_runpod(const char *name, told *t) {
    static const char BEGINNING[] = "s3api-";
    if (strncmp(name, BEGINNING, sizeof BEGINNING - 1) != 0) return;
    set_region(t, name + sizeof BEGINNING - 1, strlen(name + sizeof BEGINNING - 1));
    for (char *c = t->region; *c; c++) *c = (char)toupper((unsigned char)*c);
}

static void read_by_rule(rule r, const char *name, told *t) {
    switch (r) {
    case AFTER_S3:
        read_after_s3(name, t);
        return;
    case LAST:
        read_last(name, t);
        return;
    case AUTO:
        t->has_bucket = name[0] != '\0';
        set_region(t, "auto", 4);
        return;
    case R2:
        read_r2(name, t);
        return;
    case RUNPOD:
        read_runpod(name, t);
        return;
    }
}

/* `host` without a port. The name that a rule reads is what stands before the suffix, without the dot between them. */
static void read_host(const char *host, told *t) {
    char name[TT__S3_HOST_BYTES];
    size_t size = strlen(host);
    *t = (told){.region = "us-east-1"};
    for (size_t i = 0; i < sizeof SERVICES / sizeof *SERVICES; i++) {
        size_t suffix = strlen(SERVICES[i].suffix);
        if (size < suffix || strcmp(host + size - suffix, SERVICES[i].suffix) != 0) continue;
        size_t before = size - suffix;
        if (before > 0 && host[before - 1] != '.') continue;
        snprintf(name, sizeof name, "%.*s", (int)(before ? before - 1 : 0), host);
        read_by_rule(SERVICES[i].rule, name, t);
        t->is_aws = strncmp(SERVICES[i].suffix, "amazonaws", 9) == 0;
        return;
    }
}

/* ---- the endpoint ------------------------------------------------------------------------------------------------ */

/* The host in lower case; the scheme's own port is left out, as it is on the wire. */
static tt_status read_authority(const char *text, size_t size, tt__s3_place *p, tt_err *err) {
    const char *port = strcmp(p->scheme, "https") == 0 ? ":443" : ":80";
    if (size >= sizeof p->host)
        return tt_fail(err, TT_E_INVALID, "S3 endpoint: a host name of %zu bytes", size);
    for (size_t i = 0; i < size; i++) p->host[i] = (char)tolower((unsigned char)text[i]);
    p->host[size] = '\0';
    size_t end = strlen(port);
    if (size > end && strcmp(p->host + size - end, port) == 0) p->host[size - end] = '\0';
    return TT_OK;
}

/* A path as it is sent: escapes stay, what should have been one becomes one. */
static tt_status append_path(const char *text, size_t size, tt_buf *out, tt_err *err) {
    for (size_t i = 0; i < size; i++) {
        char one[2] = {text[i], '\0'};
        if (text[i] == '/' || text[i] == '%')
            TT_TRY(tt_buf_puts(out, one, err));
        else
            TT_TRY(tt_url_append_encoded(out, one, err));
    }
    return TT_OK;
}

static tt_status read_endpoint(const char *url, tt__s3_place *p, tt_err *err) {
    if (tt_url_check(url, err) != TT_OK) return tt_fail_prefix(err, TT_E_INVALID, "S3 endpoint");
    p->scheme = strncasecmp(url, "https", 5) == 0 ? "https" : "http";
    const char *authority = strstr(url, "://") + 3;
    size_t size = strcspn(authority, "/?#");
    TT_TRY(read_authority(authority, size, p, err));
    const char *path = authority + size;
    size = strcspn(path, "?#");
    if (path[size])
        return tt_fail(err, TT_E_INVALID, "S3 endpoint: expected a URL without ? and #");
    while (size && path[size - 1] == '/') size--;
    return append_path(path, size, &p->path, err);
}

/* ---- bucket and key ---------------------------------------------------------------------------------------------- */

/* AWS asks for 3 to 63 of fewer characters; its kin and older buckets are not so strict. */
static tt_status check_bucket(const char *bucket, tt_err *err) {
    static const char ALLOWED[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t size = strlen(bucket);
    if (size > TT_MAX_S3_BUCKET_BYTES || strspn(bucket, ALLOWED) != size || bucket[0] == '.')
        return tt_fail(
            err, TT_E_INVALID,
            "S3 bucket: expected up to %d letters, digits, '.', '-' and '_', found \"%.80s\"",
            TT_MAX_S3_BUCKET_BYTES, bucket);
    return TT_OK;
}

/* In front of AWS's host only a name without dots (its certificate has one star) and in lower case. */
static bool fits_host(const char *bucket) {
    enum { MIN_LABEL = 3, MAX_LABEL = 63 };
    size_t size = strlen(bucket);
    return size >= MIN_LABEL && size <= MAX_LABEL &&
           strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-") == size && bucket[0] != '-' &&
           bucket[size - 1] != '-';
}

static tt_status put_before_host(const char *bucket, tt__s3_place *p, tt_err *err) {
    char host[2 * TT__S3_HOST_BYTES];
    int size = snprintf(host, sizeof host, "%s.%s", bucket, p->host);
    if (size >= (int)sizeof p->host)
        return tt_fail(err, TT_E_INVALID, "S3 endpoint: a host name of %d bytes", size);
    memcpy(p->host, host, (size_t)size + 1);
    return TT_OK;
}

/* "/a/b" ends with the segment "b". */
static bool ends_with(const tt_buf *path, const char *bucket) {
    const char *slash = path->size ? strrchr(path->data, '/') : NULL;
    return slash && strcmp(slash + 1, bucket) == 0;
}

static bool host_names(const char *host, const char *bucket) {
    size_t size = strlen(bucket);
    return strncasecmp(host, bucket, size) == 0 && host[size] == '.';
}

static tt_status place_bucket(const told *t, const char *bucket, tt__s3_place *p, tt_err *err) {
    bool has_path = p->path.size > 0;
    if (!bucket || !bucket[0]) {
        if (t->has_bucket || has_path) return TT_OK;
        return tt_fail(err, TT_E_INVALID,
                       "S3: no bucket; neither the endpoint's host nor its path names one");
    }
    TT_TRY(check_bucket(bucket, err));
    if (t->has_bucket && !has_path && host_names(p->host, bucket)) return TT_OK;
    if (ends_with(&p->path, bucket)) return TT_OK;
    if (t->is_aws && !t->has_bucket && !has_path && fits_host(bucket))
        return put_before_host(bucket, p, err);
    return tt_buf_printf(&p->path, err, "/%s", bucket);
}

static tt_status append_key(const char *key, tt_buf *path, tt_err *err) {
    size_t size = strlen(key);
    if (size == 0 || size > TT_MAX_S3_KEY_BYTES)
        return tt_fail(err, TT_E_INVALID, "S3 key: expected 1 to %d bytes, found %zu",
                       TT_MAX_S3_KEY_BYTES, size);
    TT_TRY(tt_buf_puts(path, "/", err));
    for (size_t at = 0; at < size;) {
        char part[TT_MAX_S3_KEY_BYTES + 1];
        size_t n = strcspn(key + at, "/");
        memcpy(part, key + at, n);
        part[n] = '\0';
        TT_TRY(tt_url_append_encoded(path, part, err));
        at += n;
        if (key[at] == '/') TT_TRY(tt_buf_puts(path, "/", err));
        at++;
    }
    return TT_OK;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static tt_status copy_region(const char *region, char out[TT__S3_REGION_BYTES], tt_err *err) {
    size_t size = strlen(region);
    bool is_fine = size < TT__S3_REGION_BYTES;
    for (size_t i = 0; i < size && is_fine; i++)
        is_fine = isalnum((unsigned char)region[i]) || region[i] == '-' || region[i] == '_';
    if (!is_fine)
        return tt_fail(err, TT_E_INVALID,
                       "S3 region: expected letters, digits and '-', found \"%.80s\"", region);
    memcpy(out, region, size + 1);
    return TT_OK;
}

static tt_status find(const tt_s3_account *account, const char *key, tt__s3_place *p, tt_err *err) {
    bool has_region = account->region && account->region[0];
    if (has_region) TT_TRY(copy_region(account->region, p->region, err));
    if (account->endpoint_url && account->endpoint_url[0]) {
        TT_TRY(read_endpoint(account->endpoint_url, p, err));
    } else {
        p->scheme = "https";
        snprintf(p->host, sizeof p->host, "s3.%s.amazonaws.com",
                 has_region ? p->region : "us-east-1");
    }
    told t;
    char host[TT__S3_HOST_BYTES];
    snprintf(host, sizeof host, "%.*s", (int)strcspn(p->host, ":"), p->host);
    read_host(host, &t);
    if (!has_region) TT_TRY(copy_region(t.region, p->region, err));
    TT_TRY(place_bucket(&t, account->bucket, p, err));
    return append_key(key, &p->path, err);
}

tt_status tt__s3_place_init(const tt_s3_account *account, const char *key, tt__s3_place *out,
                            tt_err *err) {
    *out = (tt__s3_place){.host = ""};
    tt_buf_init(&out->path, TT_MAX_URL_BYTES);
    tt_status status = find(account, key, out, err);
    if (status != TT_OK) tt__s3_place_release(out);
    return status;
}

void tt__s3_place_release(tt__s3_place *place) {
    tt_buf_release(&place->path);
}
