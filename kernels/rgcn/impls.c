/* impls.c - the table of kernels of rgcn. */
#include "host.h"
#include "own.h"
#include "published.h"

#define PUBLISHED "TorchSparse++, arXiv 2311.12862, "
#define FETCH(name_, title_, origin_, setup_)                                                   \
    { .base = { .name = name_, .title = title_, .origin = PUBLISHED origin_, .role = OP_PAPER,  \
                .sm_min = 80, .sm_max = 999, .symbol = "fetch_rgcn" },                          \
      .setup = OP_CUDA(setup_), .teardown = OP_CUDA(rgcn_fetch_teardown),                       \
      .run = OP_CUDA(rgcn_fetch), .counts = OP_CUDA(rgcn_fetch_counts) }
#define IMPLICIT(name_, title_, origin_, setup_)                                                \
    { .base = { .name = name_, .title = title_, .origin = PUBLISHED origin_, .role = OP_PAPER,  \
                .sm_min = 80, .sm_max = 999, .symbol = "implicit_rgcn" },                       \
      .setup = OP_CUDA(setup_), .teardown = OP_CUDA(rgcn_implicit_teardown),                    \
      .run = OP_CUDA(rgcn_implicit), .counts = OP_CUDA(rgcn_implicit_counts) }
#define OWN(name_, title_, origin_, setup_)                                                     \
    { .base = { .name = name_, .title = title_, .origin = origin_, .role = OP_OWN,              \
                .sm_min = 80, .sm_max = 999, .symbol = "own_rgcn" },                            \
      .setup = OP_CUDA(setup_), .teardown = OP_CUDA(rgcn_own_teardown),                         \
      .run = OP_CUDA(rgcn_own), .counts = OP_CUDA(rgcn_own_counts) }

const struct rgcn_impl rgcn_kernels[] = {
    FETCH("fetch", "fetch-on-demand", "fetch-on-demand, relations fused", rgcn_fetch_setup),
    FETCH("fetch_relation", "fetch-on-demand by relation", "fetch-on-demand, a launch a relation",
          rgcn_fetch_relation_setup),
    IMPLICIT("implicit", "implicit GEMM", "implicit GEMM, relations as taps, unsorted",
             rgcn_implicit_setup),
    IMPLICIT("implicit_sorted", "implicit GEMM sorted",
             "implicit GEMM, relations as taps, sorted, ranges of 32 relations",
             rgcn_implicit_sorted_setup),

    OWN("own", "own", "tiles of one relation, sums or products first, atomic sums of products",
        rgcn_own_setup),
    OWN("own_ordered", "own ordered", "the same, products stored and summed in order",
        rgcn_own_ordered_setup),
    { .base = { .name = "host_targets", .title = "host", .role = OP_OWN,
                .origin = "threads take targets, sums or products first" },
      .setup = rgcn_host_setup, .teardown = rgcn_host_teardown, .run = rgcn_host },
    { .base = { .name = NULL } },
};
