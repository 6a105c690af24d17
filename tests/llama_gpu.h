/* llama_gpu.h - what the tests of models on a GPU share. */
#ifndef TESTS_LLAMA_GPU_H
#define TESTS_LLAMA_GPU_H

#include <time.h>

#include "../harness/error.h"
#include "test.h"

static inline bool ok(int status)
{
    if (status)
        printf("  %s\n", cb_error_text());
    CHECK(!status);
    return !status;
}

/* Since the first call. */
static inline double seconds(void)
{
    static struct timespec start;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!start.tv_sec)
        start = now;
    return (double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec);
}

/* So that a limit of time loses nothing: what is done, how it went, and when. */
static inline void done(const char *part)
{
    printf("%-10s %d passed, %d failed so far, %.1f s\n", part, test_passed, test_failed,
           seconds());
}

#endif
