/* Every ceiling that protects us from input, in one place, each with its reason. */
#ifndef TT_BASE_LIMITS_H
#define TT_BASE_LIMITS_H

#define TT_KIB ((size_t)1024)
#define TT_MIB (1024 * TT_KIB)
#define TT_GIB (1024 * TT_MIB)

/* Config and request JSON read whole into memory: a job may carry 10-20 MB (runpod.md 1). */
#define TT_MAX_JSON_BYTES (20 * TT_MIB)
/* json-c recursion: our deepest legal document has 6 levels. */
#define TT_MAX_JSON_DEPTH 32

#endif
