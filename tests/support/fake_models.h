/* The fakes of CivitAI, Hugging Face and S3 (tests/fake/models.py) for tests in C. One at a time; not thread-safe. Failures end the
 * test. */
#ifndef TESTS_SUPPORT_FAKE_MODELS_H
#define TESTS_SUPPORT_FAKE_MODELS_H

#include <stdbool.h>

#include "store/source.h"

/* Fixtures of a group of tests: with the catalogue that comes along. */
int fake_models_start(void **state);
int fake_models_stop(void **state);
/* At the beginning of a test: no faults, no requests so far. */
void fake_models_reset(void);

/* "https://127.0.0.1:PORT" of civitai, civitai_cdn, huggingface, huggingface_cdn, s3, elsewhere. Static until the stop. */
const char *fake_models_url(const char *host);
/* All of them, with their keys, for a program in a hurry. */
tt_source_services fake_models_services(void);
const char *fake_models_ca(void);                 /* a path */
const char *fake_models_token(const char *which); /* civitai, huggingface, access, secret */

/* The control API. The answer's text is static until the next call. */
const char *fake_models_control(const char *method, const char *path, const char *body);
void fake_models_faults(const char *json);  /* after clearing those that were there */
int fake_models_requests(const char *host); /* that came to it so far, finished or not */
/* Fails the test when a credential went where it should not, or the fakes themselves broke. */
void fake_models_check(void);

#endif
