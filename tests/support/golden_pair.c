/* See golden_pair.h. */
#include "support/golden_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { STEPS = 24, SEEDS = 2 };

tt_golden_pair tt_golden_pair_open(const char *model, tt_precision exact, tt_precision rounded) {
    tt_golden_engine_options options = {.model = model, .precision = exact};
    tt_golden_pair p = {.name = model ? model : "shipped", .exact = tt_golden_engine(&options)};
    options.precision = rounded;
    p.rounded = tt_golden_engine(&options);
    return p;
}

void tt_golden_pair_close(tt_golden_pair *p) {
    tt_engine_close(p->exact);
    tt_engine_close(p->rounded);
}

tt_request tt_golden_pair_request(const char *sampler, uint64_t seed, int size) {
    tt_request r;
    tt_request_defaults(NULL, &r);
    r.prompt = "a lighthouse on the sea at sunset";
    r.sampler = sampler;
    r.schedule = NULL;
    r.steps = STEPS;
    r.guidance = 4.5f;
    r.seed = seed;
    r.count = 1;
    r.width = r.height = size;
    return r;
}

static double psnr_of(const tt_golden_pair *p, const tt_request *request) {
    tt_result exact = tt_golden_generate(p->exact, request),
              rounded = tt_golden_generate(p->rounded, request);
    double psnr = tt_golden_picture_psnr(&exact.pictures[0], &rounded.pictures[0]);
    tt_result_release(&exact);
    tt_result_release(&rounded);
    return psnr;
}

void tt_golden_pair_compare(tt_golden_pair *p, int size, double smallest_psnr) {
    static const char *const samplers[] = {"euler", "DPM++ 2M Karras"};
    int bad = 0;
    for (int i = 0; i < 2; i++)
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            const tt_request request = tt_golden_pair_request(samplers[i], seed, size);
            double psnr = psnr_of(p, &request);
            print_message("%s, %s, seed %d: %.1f dB\n", p->name, samplers[i], (int)seed, psnr);
            bad += !(psnr >= smallest_psnr);
        }
    tt_golden_pair_close(p);
    if (bad) fail_msg("%d pictures are below %.0f dB", bad, smallest_psnr);
}
