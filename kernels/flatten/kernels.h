/* kernels.h - set-up functions and launchers of the rows in impls.c. */
#ifndef KERNELS_FLATTEN_KERNELS_H
#define KERNELS_FLATTEN_KERNELS_H

#include "flatten.h"

OP_BEGIN

/* sort.cu: the state is device memory for keys, rows and CUB, freed by flatten_teardown. */
extern flatten_run_fn flatten_sort64, flatten_sort32, flatten_sort_once;
enum op_status flatten_sort64_setup(const struct flatten_problem *, const struct op_memory *, void **);
enum op_status flatten_sort32_setup(const struct flatten_problem *, const struct op_memory *, void **);
enum op_status flatten_sort_once_setup(const struct flatten_problem *, const struct op_memory *,
                                       void **);
/* rank.cu */
extern flatten_run_fn flatten_rank;
enum op_status flatten_rank_setup(const struct flatten_problem *, const struct op_memory *, void **);
/* rank_sm90.cu: keeps nothing between runs. */
extern flatten_run_fn flatten_rank_cluster;

enum {
    FLATTEN_CLUSTER_BITMAPS = 3,          /* in shared memory: a block's own, all, counts */
    FLATTEN_CLUSTER_SHARED = 227 * 1024 - 1024 /* bytes for them; the rest is for sums */
};

OP_END
#endif
