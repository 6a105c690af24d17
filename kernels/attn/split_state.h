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

struct SplitState {
    SplitWork work;
    SplitKernel kernel;
    int threads, shared; /* of a block; bytes */
    int step;            /* tokens that a block takes at a time; stream.cuh: of a tile */
    int stream;          /* kernel is that of stream.cuh */
    dim3 grid;
};

/* The plan, and the workspace, which sets share with the first: kernel, threads, shared and
 * step are set. */
enum op_status split_room(const struct attn_problem *p, const SplitState *first,
                          const struct op_memory *memory, op_stream s, SplitState *v);

#endif
