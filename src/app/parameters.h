/* A picture's settings in the form of A1111's web UI, as galleries and other programs read them. */
#ifndef TT_APP_PARAMETERS_H
#define TT_APP_PARAMETERS_H

#include "app/metadata.h"

tt_status tt__write_parameters(const tt_app_facts *facts, int picture, tt_buf *out, tt_err *err);

#endif
