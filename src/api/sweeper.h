/* Keeps the queue's clock running: calls its sweep when something is due, so that jobs time out and are forgotten. */
#ifndef TT_API_SWEEPER_H
#define TT_API_SWEEPER_H

#include "api/parts.h"

tt_status tt__sweeper_new(tt_api *api, tt__sweeper **out, tt_err *err);
void tt__sweeper_free(tt__sweeper *s); /* when the loop's thread has ended; NULL is fine */
tt_status tt__sweeper_start(tt__sweeper *s, tt_err *err); /* before the loop runs */
/* Any thread: a job got a new deadline, the next sweep may have to come sooner. */
void tt__sweeper_hurry(tt__sweeper *s);

#endif
