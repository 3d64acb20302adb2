/* GET /stream/{id}: the chunks since the last call. */
#ifndef TT_API_STREAM_H
#define TT_API_STREAM_H

#include "api/parts.h"

/* Takes the chunks and ends the exchange. `view` was read before: its state is never newer than the chunks, so a final state
 * with an empty list really is the end. */
void tt__reply_stream(const tt__call *call, const tt_job_view *view);

#endif
