/* See progress.h. A new preview is made at most every PREVIEW_EVERY_US, and for the last step, which stands while the VAE
 * works. The newest goes with every message: messages that come faster than they can be sent replace each other, and a
 * preview must not be lost with one. */
#include "app/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app/preview.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

enum { PREVIEW_EVERY_US = 150 * 1000 };

void tt_app_progress_init(tt_app_progress *p, const tt_job *job, tt_reply *reply,
                          const tt_request *request) {
    *p = (tt_app_progress){.job = job,
                           .reply = reply,
                           .started_us = tt_clock_us(),
                           .n_pictures = request->count,
                           .n_steps = request->steps};
    tt_buf_init(&p->preview, TT_MAX_JSON_BYTES);
    tt_buf_init(&p->text, TT_MAX_JSON_BYTES);
}

void tt_app_progress_release(tt_app_progress *p) {
    tt_buf_release(&p->preview);
    tt_buf_release(&p->text);
}

/* Milliseconds that denoising and decoding still take; negative: nobody knows yet. `elapsed_ms` is the engine's. */
static double time_left(const tt_app_progress *p, double elapsed_ms) {
    int done = p->picture * p->n_steps + p->step;
    int left = p->n_pictures * p->n_steps - done;
    if (done == 0) return -1;
    double decoded_ms = p->decode_ms * p->picture; /* lies between the steps of several pictures */
    double step_ms = (elapsed_ms - p->first_step_ms - decoded_ms) / done;
    return (step_ms > 0 ? step_ms : 0) * left + p->decode_ms * (p->n_pictures - p->picture);
}

static tt_status write(tt_app_progress *p, const char *stage, double left_ms, tt_err *err) {
    p->text.size = 0;
    TT_TRY(tt_buf_printf(&p->text, err,
                         "{\"stage\": \"%s\", \"step\": %d, \"steps\": %d, \"picture\": %d, "
                         "\"pictures\": %d, \"elapsed_ms\": %" PRId64,
                         stage, p->step, p->n_steps, p->picture, p->n_pictures,
                         (tt_clock_us() - p->started_us) / 1000));
    if (left_ms < 0)
        TT_TRY(tt_buf_puts(&p->text, ", \"eta_ms\": null", err));
    else
        TT_TRY(tt_buf_printf(&p->text, err, ", \"eta_ms\": %.0f", left_ms));
    if (p->preview.size > 0)
        TT_TRY(tt_buf_printf(&p->text, err, ", \"preview\": \"%s\"", p->preview.data));
    return tt_buf_puts(&p->text, "}", err);
}

static void send(tt_app_progress *p, const char *stage, double left_ms) {
    if (write(p, stage, left_ms, NULL) == TT_OK)
        tt_reply_progress(p->reply, p->text.data, p->text.size);
}

void tt_app_progress_text(tt_app_progress *p) {
    send(p, "text", -1);
}

void tt_app_progress_encode(tt_app_progress *p) {
    send(p, "encode", 0);
}

static void renew_preview(tt_app_progress *p, const tt_progress *step) {
    int64_t now_us = tt_clock_us();
    bool is_due = p->previewed_us == 0 || now_us - p->previewed_us >= PREVIEW_EVERY_US ||
                  step->step == step->n_steps;
    if (!step->preview || !is_due) return;
    if (tt__preview_write(step->preview, step->preview_width, step->preview_height, &p->preview,
                          NULL) != TT_OK)
        p->preview.size = 0;
    p->previewed_us = now_us;
}

bool tt_app_progress_step(void *context, const tt_progress *step) {
    tt_app_progress *p = context;
    if (tt_job_is_cancelled(p->job)) return false;
    if (step->picture == 0 && step->step == 0) p->first_step_ms = step->elapsed_ms;
    if (step->step == 0) p->preview.size = 0; /* it shows the picture before */
    p->picture = step->picture;
    p->step = step->step;
    renew_preview(p, step);
    send(p, step->step == step->n_steps ? "vae" : "denoise", time_left(p, step->elapsed_ms));
    return true;
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

enum { WORDS_BYTES = 320 };

/* "downloading boats.safetensors 45 %, 210 MB/s, 12 s left" */
static void describe(const tt_store_progress *p, char out[WORDS_BYTES]) {
    static const char *const verbs[TT_PHASES] = {
        [TT_PHASE_LOOKUP] = "looking for",
        [TT_PHASE_WAIT] = "waiting for another worker's download of",
        [TT_PHASE_RESOLVE] = "asking for",
        [TT_PHASE_DOWNLOAD] = "downloading",
        [TT_PHASE_VERIFY] = "checking",
        [TT_PHASE_COMMIT] = "storing"};
    const tt_download_progress *d = &p->download;
    enum { SHARE_BYTES = 16, TIME_BYTES = 64 };
    char share[SHARE_BYTES] = "", speed[TIME_BYTES] = "", left[TIME_BYTES] = "";
    bool is_moving = p->phase == TT_PHASE_DOWNLOAD && d->bytes_total > 0;
    if (is_moving)
        snprintf(share, sizeof share, " %.0f %%",
                 100.0 * (double)d->bytes_done / (double)d->bytes_total);
    if (is_moving && d->bytes_per_s >= 1)
        snprintf(speed, sizeof speed, ", %.3g MB/s", d->bytes_per_s / 1e6);
    if (is_moving && d->eta_ms >= 0)
        snprintf(left, sizeof left, ", %.0f s left", (double)d->eta_ms / 1000);
    snprintf(out, WORDS_BYTES, "%s %.*s%s%s%s", verbs[p->phase], TT_MODEL_NAME_BYTES,
             p->name[0] ? p->name : "a model", share, speed, left);
}

static tt_status put_words(tt_buf *out, const char *member, const char *text, tt_err *err) {
    tt_err clean; /* a name comes from a service: a message is always UTF-8 */
    tt_fail(&clean, TT_E_INVALID, "%s", text);
    TT_TRY(tt_buf_printf(out, err, ", \"%s\": ", member));
    return tt_json_append_string(out, clean.message, strlen(clean.message), err);
}

static tt_status write_fetching(const tt_app_fetching *f, const tt_store_progress *p, tt_buf *out,
                                tt_err *err) {
    const tt_download_progress *d = &p->download;
    char words[WORDS_BYTES];
    describe(p, words);
    TT_TRY(tt_buf_printf(out, err, "{\"stage\": \"fetch\", \"phase\": \"%s\"",
                         tt_store_phase_name(p->phase)));
    TT_TRY(put_words(out, "model", p->name, err));
    TT_TRY(tt_buf_printf(out, err,
                         ", \"bytes\": %" PRIu64 ", \"total_bytes\": %" PRIu64
                         ", \"bytes_per_s\": %.0f, \"elapsed_ms\": %" PRId64 ", \"eta_ms\": ",
                         d->bytes_done, d->bytes_total, d->bytes_per_s,
                         (tt_clock_us() - f->started_us) / 1000));
    TT_TRY(d->eta_ms < 0 ? tt_buf_puts(out, "null", err)
                         : tt_buf_printf(out, err, "%" PRId64, d->eta_ms));
    TT_TRY(put_words(out, "text", words, err));
    return tt_buf_puts(out, "}", err);
}

bool tt_app_progress_fetching(void *context, const tt_store_progress *progress) {
    tt_app_fetching *f = context;
    tt_buf text;
    if (tt_job_is_cancelled(f->job)) return false;
    if (progress->phase == TT_PHASE_LOOKUP) return true;
    if (f->started_us == 0) f->started_us = tt_clock_us();
    tt_buf_init(&text, TT_MAX_JSON_BYTES);
    if (write_fetching(f, progress, &text, NULL) == TT_OK)
        tt_reply_progress(f->reply, text.data, text.size);
    tt_buf_release(&text);
    return true;
}
