/* The one table of routes: who answers, what it takes, what it gives. The server finds its handlers here, and
 * /openapi.json, /docs and the labels of /metrics are written from the same rows. Constant. */
#ifndef TT_API_ROUTES_H
#define TT_API_ROUTES_H

#include "api/parts.h"

typedef enum tt__route_access {
    TT__OPEN,  /* never needs the key */
    TT__KEYED, /* needs the key, when there is one */
} tt__route_access;

enum { TT__TAKES_GET = 1, TT__TAKES_POST = 2 };

struct tt__route {
    unsigned methods;
    const char *path; /* "/status/{id}" */
    bool is_runpod;   /* also below /v2/{endpoint}/ */
    tt__route_access access;
    void (*handle)(const tt__call *call);
    const char *summary;
    const char *more;     /* sentences for the documentation; "" */
    const char *params;   /* names of query parameters, separated by spaces; "" */
    const char *type;     /* content type of the answer */
    const char *schema;   /* its schema's name in the OpenAPI document; "" */
    const char *example;  /* of the answer; "" */
    const char *failures; /* HTTP statuses besides 200 and 401, separated by spaces; "" */
    size_t max_body_bytes;
};

enum { TT__N_ROUTES = 16 };
extern const tt__route tt__routes[TT__N_ROUTES];

/* The row whose path fits; NULL: none. id gets what stands for {id}, "" when the path has none. */
const tt__route *tt__route_find(const char *path, char id[TT_JOB_ID_BYTES]);
bool tt__route_takes(const tt__route *route, tt__method method);
tt__method tt__method_of(const char *name);
const char *tt__method_name(tt__method method); /* "GET"; "other" */
/* "GET, HEAD, POST, OPTIONS": for the Allow header. */
const char *tt__route_allow(const tt__route *route);

/* What a query parameter means: name, text for the documentation. NULL: no such parameter. */
const char *tt__param_text(const char *name, size_t name_size);

#endif
