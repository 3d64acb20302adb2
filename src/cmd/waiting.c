/* libgomp's threads spin for milliseconds where they wait, which is a little faster on cores of one's own and ruinous on shared
 * ones: with another process on the same two cores a step of the shipped model takes 1.1 s instead of 0.07 s (SPEED.md). Workers
 * live on shared cores, so waiting threads sleep here. libgomp reads its policy from the environment before main runs, and
 * has no call for it: hence the second start, which costs 3 ms. */
#include "cmd/waiting.h"

#include <stdlib.h>
#include <unistd.h>

void tt__wait_passively(char **argv) {
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (setenv("OMP_WAIT_POLICY", "passive", 1) != 0) return;
    execv("/proc/self/exe", argv);
}
