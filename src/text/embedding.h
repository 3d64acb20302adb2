/* Textual inversions: words that somebody trained. A small safetensors file holds n vectors per text encoder, which take the
 * place of n tokens' input embeddings, before positions are added.
 *
 *     clip_l [n, 768], clip_g [n, 1280]     SDXL, as all trainers write it; a single vector may be [768], [1280]
 *     emb_params [n, 2048]                  both side by side, the first encoder's first
 *
 * Everything else (a single emb_params [n, 768] or [n, 1024]: Stable Diffusion 1 or 2) is refused by name.
 *
 * The prompt names an embedding by its file's name, without .safetensors. In A1111's, compel's and plain syntax the name
 * stands as it is: wherever its token ids occur in the prompt. In ComfyUI's it is written embedding:name. See chunks.h.
 *
 * An embedding is immutable once open, but for its name: any number of threads may use one. */
#ifndef TT_TEXT_EMBEDDING_H
#define TT_TEXT_EMBEDDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { TT_EMBEDDING_ENCODERS = 2 };

typedef struct tt_embedding tt_embedding;

/* `widths`: of the encoders' input embeddings (tt_clip_width). All values are finite afterwards. */
tt_status tt_embedding_open(const char *path, const int64_t widths[TT_EMBEDDING_ENCODERS],
                            tt_embedding **out, tt_err *err);
void tt_embedding_close(tt_embedding *e); /* NULL is fine */

const char *tt_embedding_name(const tt_embedding *e);
/* Gives it another name than its file's. Not while somebody uses it. */
tt_status tt_embedding_rename(tt_embedding *e, const char *name, tt_err *err);
int tt_embedding_n_rows(const tt_embedding *e); /* 1 to TT_MAX_EMBEDDING_ROWS */
/* [n_rows, widths[which]], owned by the embedding. */
const float *tt_embedding_rows(const tt_embedding *e, int which);
int64_t tt_embedding_width(const tt_embedding *e, int which);

/* Whether a prompt may mean the embedding of this name: its letters occur, in either case (ASCII). For choosing which files of a
 * folder to open. */
bool tt_embedding_is_mentioned(const char *text, size_t size, const char *name);

#endif
