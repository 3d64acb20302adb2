/* A sampler that can be made, or the running test fails. */
#ifndef TESTS_UNIT_SAMPLE_NEW_SAMPLER_H
#define TESTS_UNIT_SAMPLE_NEW_SAMPLER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sample/sampler.h"

static inline tt_sampler *new_sampler(const tt_sampler_options *options) {
    tt_sampler *s;
    tt_err err;
    if (tt_sampler_new(options, &s, &err) != TT_OK) fail_msg("%s", err.message);
    return s;
}

#endif
