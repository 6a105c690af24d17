/* impls.c - the ways to get boxes of a map. */
#include <stdlib.h>

#include "kernels.h"

static void teardown(void *state)
{
    free(state); /* device memory belongs to whoever gave it */
}

const struct boxes_impl boxes_impls[] = {
    { .base = { .name = "boxes_sort", .title = "sort, pairs, scan", .role = OP_PAPER,
                .origin = "published detectors' code: all scores sorted, overlaps of all pairs as "
                          "bits, one by one through them; its copies to the host left out",
                .sm_min = 80, .sm_max = 999 },
      .setup = OP_CUDA(boxes_sort_setup), .teardown = teardown, .run = OP_CUDA(boxes_sort) },
    { .base = { .name = "boxes_rank", .title = "candidates, ranks, chunks", .role = OP_OWN,
                .origin = "scores above the threshold only, placed by counting; 64 boxes decided "
                          "at a time, until there are enough; a memset and four kernels",
                .sm_min = 80, .sm_max = 999, .symbol = "boxes_overlap" },
      .setup = OP_CUDA(boxes_rank_setup), .teardown = teardown, .run = OP_CUDA(boxes_rank) },
    { .base = { .name = NULL } },
};
