/* What the head of an answer says, read strictly: for whoever asks services (ask.c) and for whoever takes the bytes
 * (download_check.c). Pure functions on hostile input. */
#ifndef TT_STORE_ANSWER_H
#define TT_STORE_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "net/http_client.h"

/* "bytes FIRST-LAST/TOTAL" of a 206; TOTAL may be "*". False for anything else. */
typedef struct tt__content_range {
    uint64_t first, last, total;
    bool has_total;
} tt__content_range;
bool tt__content_range_parse(const char *text, tt__content_range *out);

/* Quoted, not weak, and short enough to keep. */
bool tt__etag_is_strong(const char *etag);

/* A body of this type is a page about the model, not the model. */
bool tt__content_type_is_page(const char *content_type);

/* A page of Cloudflare, which many services have in front of them, and not the service's answer: its own statuses, its
 * challenge, or what it says in HTML when it forbids, limits or fails. Errors of a storage behind it come as XML, and what is not there
 * is the service's word: both are answers. */
bool tt__is_edge_page(const tt_http_response *head);

#endif
