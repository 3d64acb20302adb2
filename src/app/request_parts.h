/* Inside the room: the stages of reading a request, one file each. */
#ifndef TT_APP_REQUEST_PARTS_H
#define TT_APP_REQUEST_PARTS_H

#include "app/request.h"

/* request_draw.c: numbers and names that say how to draw. */
void tt__request_read_drawing(const tt_settings *s, tt_app_request *out, tt_problems *problems);

/* request_loras.c: the list, into out->loras. Fails only for memory. */
tt_status tt__request_read_loras(const tt_settings *s, tt_app_request *out, tt_problems *problems,
                                 tt_err *err);

/* request_image.c: the picture, its mask and its size. Other failures than problems: see tt_app_request_load. */
tt_status tt__request_load_image(const tt_settings *s, const tt_app_models *models,
                                 tt_app_request *r, tt_problems *problems, tt_err *err);

/* request_load.c */
void tt__request_unused(tt_app_request *r, const char *field, const char *why);
/* A failure that somebody's words caused becomes a problem, "<where>: <sentence>", and TT_OK; others stay what they are. */
tt_status tt__request_fault(tt_problems *problems, const char *where, tt_err *err);

#endif
