/* Expected results in tests/golden/data, for test programs: whatever is missing or broken fails the running test. */
#ifndef TT_SUPPORT_GOLDEN_DATA_H
#define TT_SUPPORT_GOLDEN_DATA_H

#include <json-c/json.h>

#include "support/npy.h"

/* The JSON array at data/<relative>; json_object_put it. */
json_object *tt_golden_cases(const char *relative);
/* Those of its members whose "model" this is: at least one. */
json_object *tt_golden_cases_of(const char *relative, const char *model);

/* The array at data/<printf(format)>; tt_npy_release it. */
tt_npy tt_golden_array(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* data/<relative> as a path; valid until the next call. */
const char *tt_golden_data_path(const char *relative);

const char *tt_golden_string(json_object *c, const char *name); /* NULL for null or absent */
double tt_golden_number(json_object *c, const char *name);
int tt_golden_int(json_object *c, const char *name);

#endif
