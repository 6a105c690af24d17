/* split_state.h - what set-up of split.cuh leaves for its launches (C++, split_*.cu only). */
#ifndef KERNELS_ATTN_SPLIT_STATE_H
#define KERNELS_ATTN_SPLIT_STATE_H

#include <cuda_runtime.h>

#include "split_plan.h"

struct SplitWork {
    struct attn_problem p;
    struct attn_args a;
    struct split_plan plan;
    float *part;  /* sums [items][splits][columns][head_dim]; NULL with one split */
    float2 *stat; /* maximum, sum of weights [items][splits][columns] */
    int *count;   /* [items] blocks that are through, 0 between launches */
};

typedef void (*SplitKernel)(SplitWork);

/* A kernel of one shape of block: warps, tile and most of plan are set. */
struct SplitKind {
    SplitKernel kernel;
    int shared, blocks; /* bytes of a block; blocks of a multiprocessor that it is made for */
    struct split_shape plan;
};

struct SplitState {
    SplitWork work;
    SplitKernel kernel;
    int threads, shared; /* of a block; bytes */
    dim3 grid;
};

/* The plan for the device with one of these kernels, and the workspace, which sets share with
 * the first one. */
enum op_status split_room(const struct attn_problem *p, enum attn_scheme scheme,
                          const SplitKind (&kind)[SPLIT_SHAPES], const struct split_choice *given,
                          const SplitState *first, const struct op_memory *memory, op_stream s,
                          SplitState *v);

#endif
