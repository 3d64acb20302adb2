/* Hugging Face: hf://org/repo@revision/path and the URLs of its pages (models.md 2.1). */
#include <stdio.h>
#include <string.h>

#include "store/reference_parts.h"

static const char MAIN[] = "main";

static bool is_name_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

static bool is_name(const char *name, size_t n) {
    enum { MOST = 96 }; /* the service's own */
    if (n == 0 || n > MOST || name[0] == '.' || name[0] == '-') return false;
    for (size_t i = 0; i < n; i++)
        if (!is_name_letter(name[i]) || (i > 0 && name[i] == '.' && name[i - 1] == '.'))
            return false;
    return true;
}

static bool is_repo(const char *repo) {
    const char *slash = strchr(repo, '/');
    return slash && is_name(repo, (size_t)(slash - repo)) && is_name(slash + 1, strlen(slash + 1));
}

/* Parts of a path or of a branch's name. */
static bool is_path(const char *path) {
    tt__span rest = tt__span_of(path, strlen(path));
    if (strpbrk(path, "\\?#:*\"<>|")) return false;
    while (rest.at) {
        tt__span part = tt__span_cut(rest, '/', &rest);
        if (part.n == 0 || tt__span_is(part, ".") || tt__span_is(part, "..")) return false;
    }
    return true;
}

/* Appends with everything that means something in a reference percent-encoded. */
static bool append_encoded(const char *text, bool keeps_slash, char *out, size_t size) {
    size_t used = strlen(out);
    for (; *text && used + 4 < size; text++) {
        bool is_plain = is_name_letter(*text) || (*text == '/' && keeps_slash);
        used += (size_t)snprintf(out + used, size - used, is_plain ? "%c" : "%%%02X",
                                 is_plain ? *text : (unsigned char)*text);
    }
    return *text == '\0';
}

static tt_status set_identity(tt_reference *out, tt_err *err) {
    char *identity = out->identity;
    size_t size = sizeof out->identity;
    snprintf(identity, size, "hf://%s", out->repo);
    bool fits = true;
    if (strcmp(out->revision, MAIN) != 0) {
        snprintf(identity + strlen(identity), size - strlen(identity), "@");
        fits = append_encoded(out->revision, false, identity, size);
    }
    if (out->path[0]) {
        snprintf(identity + strlen(identity), size - strlen(identity), "/");
        fits = fits && append_encoded(out->path, true, identity, size);
    }
    return fits ? TT_OK : tt_fail(err, TT_E_INVALID, "hf://%s: the path is too long", out->repo);
}

tt_status tt__reference_hf_set(const char *repo, const char *revision, const char *path,
                               tt_reference *out, tt_err *err) {
    out->type = TT_REF_HF;
    if (!is_repo(repo))
        return tt_fail(err, TT_E_INVALID,
                       "hf://%.200s: expected hf://ORG/REPOSITORY or "
                       "hf://ORG/REPOSITORY@REVISION/PATH",
                       repo);
    if (!is_path(revision))
        return tt_fail(err, TT_E_INVALID, "hf://%s: the revision is no branch, tag or commit",
                       repo);
    if (path[0] && !is_path(path))
        return tt_fail(
            err, TT_E_INVALID,
            "hf://%s: the path has an empty part, . or .., or a character that file names "
            "there do not have",
            repo);
    snprintf(out->repo, sizeof out->repo, "%s", repo);
    snprintf(out->revision, sizeof out->revision, "%s", revision);
    snprintf(out->path, sizeof out->path, "%s", path);
    return set_identity(out, err);
}

static tt_status set_encoded(tt__span repo, tt__span revision, tt__span path, tt_reference *out,
                             tt_err *err) {
    char texts[2][256], file[TT_REFERENCE_BYTES];
    if (!tt__span_copy(repo, texts[0], sizeof texts[0]) ||
        !tt__span_decode(revision, texts[1], sizeof texts[1]) ||
        !tt__span_decode(path, file, sizeof file))
        return tt_fail(err, TT_E_INVALID,
                       "hf://: a part that is too long or not percent-encoded as it should be");
    return tt__reference_hf_set(texts[0], texts[1], file, out, err);
}

/* The first n parts of a path; *rest what follows their slash. */
static tt__span cut_parts(tt__span text, int n, tt__span *rest) {
    *rest = text;
    while (n-- > 0 && rest->at) tt__span_cut(*rest, '/', rest);
    size_t used = rest->at ? (size_t)(rest->at - text.at) - 1 : text.n;
    return tt__span_of(text.at, used);
}

tt_status tt__reference_hf(tt__span text, tt_reference *out, tt_err *err) {
    tt__span path, revision, named = cut_parts(text, 2, &path);
    tt__span repo = tt__span_cut(named, '@', &revision);
    if (!revision.at) revision = tt__span_of(MAIN, sizeof MAIN - 1);
    if (!path.at || path.n == 0) path = tt__span_of("", 0);
    return set_encoded(repo, revision, path, out, err);
}

/* /org/repo, /org/repo/tree/REVISION, /org/repo/{resolve,blob,raw}/REVISION/path */
tt_status tt__reference_hf_url(const tt__url *url, tt_reference *out, tt_err *err) {
    tt__span rest, path = url->path.n > 0 ? tt__span_of(url->path.at + 1, url->path.n - 1)
                                          : tt__span_of("", 0);
    if (path.n > 0 && path.at[path.n - 1] == '/') path.n--;
    tt__span repo = cut_parts(path, 2, &rest), revision = tt__span_of(MAIN, sizeof MAIN - 1),
             file = tt__span_of("", 0);
    if (rest.at) {
        tt__span word = tt__span_cut(rest, '/', &rest);
        bool is_file =
            tt__span_is(word, "resolve") || tt__span_is(word, "blob") || tt__span_is(word, "raw");
        if ((!is_file && !tt__span_is(word, "tree")) || !rest.at)
            return tt_fail(err, TT_E_INVALID,
                           "this Hugging Face URL names no model file: expected "
                           "/ORG/REPOSITORY/resolve/REVISION/PATH");
        revision = tt__span_cut(rest, '/', &rest);
        if (rest.at) file = rest;
        if (is_file != (file.n > 0))
            return tt_fail(
                err, TT_E_INVALID,
                "this Hugging Face URL names no model file: the path behind the revision "
                "is %s",
                is_file ? "missing" : "a folder's");
    }
    return set_encoded(repo, revision, file, out, err);
}
