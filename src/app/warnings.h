/* What was asked for and had no effect, in sentences: for the job's answer, and for people. */
#ifndef TT_APP_WARNINGS_H
#define TT_APP_WARNINGS_H

#include "app/metadata.h"

/* A failure ends the list and is passed on. */
typedef tt_status (*tt_app_warning_fn)(void *context, const char *sentence, tt_err *err);

tt_status tt_app_warnings(const tt_app_facts *facts, tt_app_warning_fn each, void *context,
                          tt_err *err);

#endif
