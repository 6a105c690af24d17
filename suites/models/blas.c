/* blas.c - see blas.h. */
#include "blas.h"

#include <cblas.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What the kernels called SkylakeX need; the operating system's part is asked for too. */
static bool has_avx512(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

void blas_prefer_wide(void)
{
    const char *core = openblas_get_corename();
    if (has_avx512() && (!strcmp(core, "Haswell") || !strcmp(core, "Zen")))
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
}
