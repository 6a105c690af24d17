/* impls.c - the ways to make pillars of points. */
#include <stdlib.h>

#include "kernels.h"

static void teardown(void *state)
{
    free(state); /* device memory belongs to whoever gave it */
}

#ifndef WITH_CUDA
void pillar_scatter_teardown(void *state)
{
    (void)state; /* no state without CUDA */
}
#endif

const struct pillar_impl pillar_impls[] = {
    { .base = { .name = "pillar_scatter", .title = "sort, scatter, cuBLAS TF32", .role = OP_PAPER,
                .origin = "FlatFormer, arXiv 2301.08739, published code; its waits for the host "
                          "left out, maxima by one atomic",
                .sm_min = 80, .sm_max = 999 },
      .tf32 = 1, .setup = OP_CUDA(pillar_scatter_setup), .teardown = pillar_scatter_teardown,
      .run = OP_CUDA(pillar_scatter) },
    { .base = { .name = "pillar_tiles", .title = "counts, fused tiles", .role = OP_OWN,
                .origin = "points in place by counts; both layers and maxima on tiles in shared "
                          "memory; a memset and five kernels",
                .sm_min = 80, .sm_max = 999, .symbol = "pillar_net" },
      .setup = OP_CUDA(pillar_own_setup), .teardown = teardown, .run = OP_CUDA(pillar_own) },
    { .base = { .name = "pillar_units", .title = "counts of runs, units of 8", .role = OP_OWN,
                .origin = "points in place by counts of runs, eight to a unit; both layers in "
                          "registers; five kernels",
                .sm_min = 80, .sm_max = 999, .symbol = "units_net" },
      .setup = OP_CUDA(pillar_units_setup), .teardown = teardown, .run = OP_CUDA(pillar_units) },
    { .base = { .name = NULL } },
};
