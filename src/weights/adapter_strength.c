/* How strong an adapter is, part by part. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "weights/adapter_parts.h"

tt_adapter_strength tt_adapter_strength_all(float strength) {
    tt_adapter_strength s = {.unet = strength, .te1 = strength, .te2 = strength};
    for (int i = 0; i < TT_ADAPTER_BLOCKS; i++) s.blocks[i] = 1.0f;
    return s;
}

static void set_blocks(tt_adapter_strength *s, int first, int n, float value) {
    for (int i = first; i < first + n; i++) s->blocks[i] = value;
}

/* "in04" with "in": 4. -1: not such a name, or no such block. */
static int numbered(const char *part, const char *side) {
    size_t n = strlen(side);
    if (strncasecmp(part, side, n) != 0) return -1;
    int value = 0, digits = 0;
    for (const char *p = part + n; *p; p++, digits++) {
        if (*p < '0' || *p > '9' || digits == 2) return -1;
        value = value * 10 + (*p - '0');
    }
    return digits > 0 && value < TT_ADAPTER_SIDE_BLOCKS ? value : -1;
}

static bool set_network(tt_adapter_strength *s, const char *part, float value) {
    bool both = strcasecmp(part, "te") == 0 || strcasecmp(part, "base") == 0;
    bool is_unet = strcasecmp(part, "unet") == 0;
    bool is_te1 = both || strcasecmp(part, "te1") == 0;
    bool is_te2 = both || strcasecmp(part, "te2") == 0;
    if (is_unet) s->unet = value;
    if (is_te1) s->te1 = value;
    if (is_te2) s->te2 = value;
    return is_unet || is_te1 || is_te2;
}

static bool set_block(tt_adapter_strength *s, const char *part, float value) {
    const int middle = TT_ADAPTER_SIDE_BLOCKS, out = middle + 1;
    int i;
    if (strcasecmp(part, "in") == 0)
        set_blocks(s, 0, TT_ADAPTER_SIDE_BLOCKS, value);
    else if (strcasecmp(part, "out") == 0)
        set_blocks(s, out, TT_ADAPTER_SIDE_BLOCKS, value);
    else if (strcasecmp(part, "mid") == 0 || numbered(part, "m") == 0)
        s->blocks[middle] = value;
    else if ((i = numbered(part, "in")) >= 0)
        s->blocks[i] = value;
    else if ((i = numbered(part, "out")) >= 0)
        s->blocks[out + i] = value;
    else
        return false;
    return true;
}

static tt_status check_value(const char *part, float value, tt_err *err) {
    if (isfinite(value) && fabsf(value) <= TT_ADAPTER_MAX_STRENGTH) return TT_OK;
    return tt_fail(err, TT_E_INVALID, "lora strength %s: %g, expected %g to %g", part,
                   (double)value, (double)-TT_ADAPTER_MAX_STRENGTH,
                   (double)TT_ADAPTER_MAX_STRENGTH);
}

tt_status tt_adapter_strength_set(tt_adapter_strength *s, const char *part, float value,
                                  tt_err *err) {
    TT_TRY(check_value(part, value, err));
    if (set_network(s, part, value) || set_block(s, part, value)) return TT_OK;
    return tt_fail(err, TT_E_INVALID,
                   "lora strength \"%s\": expected unet, te, te1, te2, in, mid, out, in00 to in11, "
                   "m00 or out00 to out11",
                   part);
}

tt_status tt_adapter_strength_check(const tt_adapter_strength *s, tt_err *err) {
    TT_TRY(check_value("unet", s->unet, err));
    TT_TRY(check_value("te1", s->te1, err));
    TT_TRY(check_value("te2", s->te2, err));
    for (int i = 0; i < TT_ADAPTER_BLOCKS; i++)
        TT_TRY(check_value("of a block", s->blocks[i], err));
    return TT_OK;
}
