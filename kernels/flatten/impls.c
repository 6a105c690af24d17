/* impls.c - the ways to flatten, and which problems each covers. */
#include <stdlib.h>

#include "kernels.h"
#include "place.h"

static void teardown(void *state)
{
    free(state); /* device memory belongs to whoever gave it */
}

static enum op_status no(const char **why, const char *text)
{
    *why = text;
    return OP_EUNSUPPORTED;
}

static enum op_status any(const struct flatten_problem *p, const char **why)
{
    if (flatten_check(p) != OP_OK)
        return no(why, "meaningless sizes");
    return flatten_grid_fits(p) ? OP_OK : no(why, "grid or window too large");
}

static enum op_status in_shared(const struct flatten_problem *p, const char **why)
{
    if (any(p, why) != OP_OK)
        return OP_EUNSUPPORTED;
    const struct flatten_grid g = flatten_grid_of(p);
    if (g.words * 4 * FLATTEN_CLUSTER_BITMAPS > FLATTEN_CLUSTER_SHARED)
        return no(why, "a bitmap does not fit into shared memory");
    return OP_OK;
}

#ifdef WITH_CUDA
static enum op_status nothing(const struct flatten_problem *p, const struct op_memory *m,
                              void **state)
{
    (void)p, (void)m;
    *state = NULL;
    return OP_OK;
}
#endif

const struct flatten_impl flatten_impls[] = {
    { .base = { .name = "sort64", .title = "four sorts of 64-bit keys", .role = OP_PAPER,
                .origin = "FlatFormer, arXiv 2301.08739, published code; its waits for the host "
                          "left out",
                .sm_min = 80, .sm_max = 999 },
      .supports = any, .setup = OP_CUDA(flatten_sort64_setup), .teardown = teardown,
      .run = OP_CUDA(flatten_sort64) },
    { .base = { .name = "sort32", .title = "four sorts of the bits needed", .role = OP_BASELINE,
                .origin = "CUB radix sort, 32-bit places", .sm_min = 80, .sm_max = 999 },
      .supports = any, .setup = OP_CUDA(flatten_sort32_setup), .teardown = teardown,
      .run = OP_CUDA(flatten_sort32) },
    { .base = { .name = "sort_once", .title = "one sort of all orders", .role = OP_BASELINE,
                .origin = "CUB radix sort, order number above the place", .sm_min = 80,
                .sm_max = 999 },
      .supports = any, .setup = OP_CUDA(flatten_sort_once_setup), .teardown = teardown,
      .run = OP_CUDA(flatten_sort_once) },
    { .base = { .name = "rank", .title = "rank in a bitmap", .role = OP_OWN,
                .origin = "a bit a place, ranks by counting bits; a memset and three kernels", .sm_min = 80,
                .sm_max = 999, .symbol = "rank_write" },
      .supports = any, .setup = OP_CUDA(flatten_rank_setup), .teardown = teardown,
      .run = OP_CUDA(flatten_rank) },
    { .base = { .name = "rank_cluster", .title = "rank in a bitmap, one kernel", .role = OP_OWN,
                .origin = "bitmaps in the shared memory of a cluster for each order", .sm_min = 90,
                .sm_max = 90, .symbol = "rank_cluster" },
      .supports = in_shared, .setup = OP_CUDA(nothing), .teardown = teardown,
      .run = OP_CUDA(flatten_rank_cluster) },
    { .base = { .name = NULL } },
};
