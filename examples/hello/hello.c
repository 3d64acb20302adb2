/* The smallest worker: answers "Hello, NAME!". See README.md. */
#include <tintype/worker.h>

static void hello(const tt_job *job, tt_reply *reply, void *context) {
    (void)context;
    tt_reply_string(reply, "Hello, %s!", tt_job_string(job, "name", "World"));
}

int main(int argc, char **argv) {
    return tt_worker_main(argc, argv, &(tt_worker_config){.handler = hello});
}
