/* Who may call: the API key, and what browsers are told about other origins. */
#ifndef TT_API_ACCESS_H
#define TT_API_ACCESS_H

#include "api/parts.h"

/* Keeps a digest of the key. TT_E_INVALID: an empty key. */
tt_status tt__access_set_key(tt_api *api, const char *key, tt_err *err);

/* CORS headers for every answer, when an origin was named. */
tt_status tt__access_add_cors(const tt__call *call, tt_err *err);
void tt__access_reply_options(const tt__call *call);
/* False: answered with 401 or 403. */
bool tt__access_allows(const tt__call *call);

#endif
