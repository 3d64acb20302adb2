/* A small f32 matrix product for low-rank factors: k is a rank, 4 to 256, n a width. The panel of b that one tile needs is
 * copied once, some panels at a time, so that c is walked in long pieces of rows; a tile of c lives in registers while k runs.
 *
 * The same source is compiled for three vector widths and chosen at run time. Multiplication and addition stay apart (no
 * fused multiply-add) and each sum runs over k in order, so the bits do not depend on the processor, the number of
 * threads, or how a matrix was cut: a merged weight is the same everywhere. The price is half of the peak rate, where memory is not the limit first. */
#include <string.h>

#include "weights/adapter_parts.h"

enum {
    TILE_VECTORS = 2,
    PANEL_DEPTH = 64,
    GROUP_PANELS = 8, /* x 64 x 32 columns: 64 KiB, in the second-level cache, for 1 KiB of a row */
};

/* c's rows and columns inside the tile only: edges are computed with padding and cut here. */
static void add_tile(const tt__product *p, const float *tile, int64_t row, int64_t column,
                     int64_t tile_rows, int64_t tile_columns) {
    int64_t rows = p->m - row < tile_rows ? p->m - row : tile_rows;
    int64_t columns = p->n - column < tile_columns ? p->n - column : tile_columns;
    for (int64_t i = 0; i < rows; i++) {
        float *c = p->c + (row + i) * p->ldc + column;
        for (int64_t j = 0; j < columns; j++) c[j] += p->scale * tile[i * tile_columns + j];
    }
}

static void copy_panel(const tt__product *p, int64_t first_k, int64_t depth, int64_t column,
                       int64_t tile_columns, float *panel) {
    int64_t columns = p->n - column < tile_columns ? p->n - column : tile_columns;
    for (int64_t k = 0; k < depth; k++) {
        float *to = panel + k * tile_columns;
        memcpy(to, p->b + (first_k + k) * p->ldb + column, (size_t)columns * sizeof *to);
        memset(to + columns, 0, (size_t)(tile_columns - columns) * sizeof *to);
    }
}

/* Sums of one tile over `depth` steps of k, in order, times the scale, added to c. Past the last row the last row is used
 * again; a tile that c does not fill goes through `tile`. */
#define DEFINE_RUN(NAME, TARGET, WIDTH, ROWS)                                                  \
    typedef float NAME##_vector __attribute__((vector_size(WIDTH * 4)));                       \
    enum { NAME##_COLUMNS = TILE_VECTORS * WIDTH };                                            \
    TARGET static void NAME##_add(const tt__product *p, NAME##_vector(*sums)[TILE_VECTORS],    \
                                  int64_t row, int64_t column) {                               \
        for (int64_t i = 0; i < ROWS; i++) {                                                   \
            NAME##_vector c[TILE_VECTORS];                                                     \
            float *to = p->c + (row + i) * p->ldc + column;                                    \
            memcpy(c, to, sizeof c);                                                           \
            for (int j = 0; j < TILE_VECTORS; j++) c[j] += p->scale * sums[i][j];              \
            memcpy(to, c, sizeof c);                                                           \
        }                                                                                      \
    }                                                                                          \
    TARGET static void NAME##_tile(const tt__product *p, int64_t row, int64_t column,          \
                                   int64_t first_k, int64_t depth, const float *panel) {       \
        NAME##_vector sums[ROWS][TILE_VECTORS] = {0};                                          \
        const float *a[ROWS];                                                                  \
        for (int64_t i = 0; i < ROWS; i++)                                                     \
            a[i] = p->a + (row + i < p->m ? row + i : p->m - 1) * p->lda + first_k;            \
        for (int64_t k = 0; k < depth; k++) {                                                  \
            NAME##_vector b[TILE_VECTORS];                                                     \
            memcpy(b, panel + k * NAME##_COLUMNS, sizeof b);                                   \
            for (int i = 0; i < ROWS; i++)                                                     \
                for (int j = 0; j < TILE_VECTORS; j++) sums[i][j] += a[i][k] * b[j];           \
        }                                                                                      \
        if (row + ROWS <= p->m && column + NAME##_COLUMNS <= p->n) {                           \
            NAME##_add(p, sums, row, column);                                                  \
        } else {                                                                               \
            float tile[ROWS * NAME##_COLUMNS];                                                 \
            memcpy(tile, sums, sizeof tile);                                                   \
            add_tile(p, tile, row, column, ROWS, NAME##_COLUMNS);                              \
        }                                                                                      \
    }                                                                                          \
    TARGET static void NAME##_group(const tt__product *p, int64_t first, int64_t k,            \
                                    int64_t depth) {                                           \
        enum { PANEL = PANEL_DEPTH * NAME##_COLUMNS };                                         \
        float panels[GROUP_PANELS * PANEL];                                                    \
        int64_t n = (p->n - first + NAME##_COLUMNS - 1) / NAME##_COLUMNS;                      \
        if (n > GROUP_PANELS) n = GROUP_PANELS;                                                \
        for (int64_t i = 0; i < n; i++)                                                        \
            copy_panel(p, k, depth, first + i * NAME##_COLUMNS, NAME##_COLUMNS,                \
                       panels + i * PANEL);                                                    \
        for (int64_t row = 0; row < p->m; row += ROWS)                                         \
            for (int64_t i = 0; i < n; i++)                                                    \
                NAME##_tile(p, row, first + i * NAME##_COLUMNS, k, depth, panels + i * PANEL); \
    }                                                                                          \
    static void NAME(const tt__product *p) {                                                   \
        for (int64_t k = 0; k < p->k; k += PANEL_DEPTH) {                                      \
            int64_t depth = p->k - k < PANEL_DEPTH ? p->k - k : PANEL_DEPTH;                   \
            for (int64_t first = 0; first < p->n; first += GROUP_PANELS * NAME##_COLUMNS)      \
                NAME##_group(p, first, k, depth);                                              \
        }                                                                                      \
    }

/* Rows: as many as leave registers (16; 32 of AVX-512) for b and a beside two vectors of sums each. */
DEFINE_RUN(run_plain, , 4, 6)

#if defined(__x86_64__)
DEFINE_RUN(run_avx, __attribute__((target("avx2"))), 8, 6)
DEFINE_RUN(run_avx512, __attribute__((target("avx512f"))), 16, 12)
#endif

void tt__product_run(const tt__product *p) {
    if (p->m < 1 || p->n < 1 || p->k < 1) return;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        run_avx512(p);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        run_avx(p);
        return;
    }
#endif
    run_plain(p);
}
