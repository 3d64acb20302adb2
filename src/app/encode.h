/* One picture as the bytes of a file, with what made it inside. */
#ifndef TT_APP_ENCODE_H
#define TT_APP_ENCODE_H

#include "app/metadata.h"

tt_status tt__encode_picture(const tt_app_facts *facts, int picture, tt_buf *out, tt_err *err);

#endif
