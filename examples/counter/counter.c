/* A streaming worker: counts from 1 to n, slowly, and stops when nobody listens any more. See README.md. */
#include <stdio.h>

#include <tintype/worker.h>

static void count(const tt_job *job, tt_reply *reply, void *context) {
    (void)context;
    int64_t n = tt_job_integer(job, "n", 5), delay_ms = tt_job_integer(job, "delay_ms", 500);
    for (int64_t i = 1; i <= n; i++) {
        char text[32];
        int size = snprintf(text, sizeof text, "%lld", (long long)i);
        if (!tt_reply_stream(reply, text, (size_t)size)) return;
        if (i < n && !tt_job_sleep_ms(job, delay_ms)) return;
    }
}

int main(int argc, char **argv) {
    return tt_worker_main(argc, argv,
                          &(tt_worker_config){.handler = count,
                                              .concurrency = 4,
                                              .is_streaming = true,
                                              .return_aggregate_stream = true});
}
