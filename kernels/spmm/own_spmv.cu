/*
 * own_spmv.cu - C = A B for one to four columns: a block makes a chunk of A.
 *
 * A row of B is one load, so the entries of A are most of the traffic: they are
 * read in order, whatever the rows are.  Neighbouring lanes take neighbouring
 * entries, whose columns lie closest: the fewer lines of B a warp asks for at a
 * time, the faster it gets them.  The products wait in shared memory until
 * lanes, as many to a row as the chunk's rows leave, add them up.
 *
 *   chunk        .xxx xxxx xxxx xxxx xx..      loads begin at a multiple of 32
 *   thread        012 3 ..        255          one entry each, R times
 *   sums         own_stream.cuh
 *
 * Bound by the reading of A, or by the gathering of B.
 */
#include <cuda_runtime.h>

#include <stdlib.h>

#include "own_kernels.h"
#include "own_rules.h"
#include "own_stream.cuh"

/* R, entries a thread: 8 where A is large; else 4, or there are too few blocks for the SMs. */

/* Products of entries base .. end - 1. */
template <int N, int R>
static __device__ __forceinline__ void multiply(const spmm_args &a, unsigned base, unsigned end,
                                                Shared<N, R> &shared)
{
    int col[R];
    float val[R], x[R][N];
#pragma unroll
    for (int r = 0; r < R; r++) {
        const unsigned p = base + r * SPMM_BLOCK + threadIdx.x;
        if (p < end) {
            col[r] = __ldcs(a.a.col + p);
            val[r] = __ldcs((const float *)a.a.val + p);
        }
    }
#pragma unroll
    for (int r = 0; r < R; r++)
        if (base + r * SPMM_BLOCK + threadIdx.x < end)
            load_row((const float *)a.b, col[r], x[r]);
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int at = r * SPMM_BLOCK + threadIdx.x;
        if (base + at < end)
#pragma unroll
            for (int j = 0; j < N; j++)
                shared.product[j][padded(at)] = val[r] * x[r][j];
    }
}

struct Block {
    int t; /* thread of it */

    __device__ __forceinline__ void sync() const { __syncthreads(); }
};

template <int N, int R>
static __global__ __launch_bounds__(SPMM_BLOCK) void own_stream(spmm_args a, own_plan plan)
{
    __shared__ Shared<N, R> shared;
    const int4 from = __ldg((const int4 *)plan.bound + blockIdx.x);
    const int4 to = __ldg((const int4 *)plan.bound + blockIdx.x + 1);
    const int rows = own_chunk_rows(from, to), base = own_aligned(from.y);
    /* of the first row, before the products are waited for */
    int i = threadIdx.x / own_lanes(rows), begin = 0, end = 0;
    if (i < rows)
        begin = row_begin(a, from.x + i), end = row_begin(a, from.x + i + 1);
    if (threadIdx.x == 0)
        shared.rows = shared.last[0] = shared.last[1] = 0;
    multiply(a, base, to.y, shared);
    __syncthreads();
    add_chunk(a.a.row_ptr, (float *)a.c, plan, from, to, base, begin, end, shared,
              Block{ (int)threadIdx.x });
}

/* ---- set-up and launches ---- */

struct Stream {
    own_plan plan;
    int rounds; /* R */
};

template <int N>
static enum op_status launch(const struct spmm_args *a, const Stream *of, op_stream s)
{
    if (of->rounds == 8)
        own_stream<N, 8><<<of->plan.chunks, SPMM_BLOCK, 0, s>>>(*a, of->plan);
    else
        own_stream<N, 4><<<of->plan.chunks, SPMM_BLOCK, 0, s>>>(*a, of->plan);
    return launched();
}

OP_BEGIN
spmm_run_fn spmm_own_spmv;
spmm_setup_fn spmm_own_spmv_setup;

enum op_status spmm_own_spmv_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                   const struct spmm_args *args, const struct op_memory *memory,
                                   op_stream s, void **state)
{
    const int rounds = own_spmv_rounds(p), room = own_room(rounds);
    const int items = own_spmv_rule(p, room);
    Stream *of = (Stream *)calloc(1, sizeof *of);
    *state = NULL;
    if (!of)
        return OP_ENOMEM;
    of->rounds = rounds;
    const enum op_status status =
        own_plan_chunks(p, args, items, room - items, memory, s, &of->plan);
    if (status) {
        free(of);
        return status;
    }
    *state = of;
    return OP_OK;
}

enum op_status spmm_own_spmv(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                             op_stream s)
{
    const Stream *of = (const Stream *)state;
    switch (p->n) {
    case 1: return launch<1>(a, of, s);
    case 2: return launch<2>(a, of, s);
    case 3: return launch<3>(a, of, s);
    case 4: return launch<4>(a, of, s);
    }
    return OP_EUNSUPPORTED;
}

void spmm_own_spmv_teardown(void *state)
{
    free(state);
}
OP_END
