/*
 * own_stream.cuh - what the kernels for one to four columns share: a row of B or C
 * in one lane, sums over lanes, and the pieces of rows that chunks share.
 */
#ifndef KERNELS_SPMM_OWN_STREAM_CUH
#define KERNELS_SPMM_OWN_STREAM_CUH

#include "../common/warp.cuh"
#include "own_plan.h"
#include "spmm.h"
#include "view.cuh"

/* Of a row of B and C, N floats. */
template <int N>
static __device__ __forceinline__ void load_row(const float *b, int col, float (&x)[N])
{
    if constexpr (N == 3) {
#pragma unroll
        for (int j = 0; j < N; j++)
            x[j] = __ldg(b + (size_t)(unsigned)col * N + j);
    } else {
        load_floats(b + (size_t)(unsigned)col * N, x);
    }
}

template <int N>
static __device__ __forceinline__ void store_row(float *c, const float (&sum)[N])
{
    if constexpr (N == 4)
        __stcs((float4 *)c, make_float4(sum[0], sum[1], sum[2], sum[3]));
    else if constexpr (N == 2)
        __stcs((float2 *)c, make_float2(sum[0], sum[1]));
    else
#pragma unroll
        for (int j = 0; j < N; j++)
            __stcs(c + j, sum[j]);
}

/* In every lane the sum over all `lanes` of a group. */
template <int N> static __device__ __forceinline__ void sum_group(float (&sum)[N], int lanes)
{
    for (int d = lanes / 2; d; d /= 2)
#pragma unroll
        for (int j = 0; j < N; j++)
            sum[j] += __shfl_xor_sync(ALL_LANES, sum[j], d);
}

/* x becomes the sum of its row's x up to this lane, the row's `nth` in this step. */
template <int N> static __device__ __forceinline__ void scan(float (&x)[N], int nth)
{
#pragma unroll
    for (int d = 1; d < WARP; d *= 2)
#pragma unroll
        for (int j = 0; j < N; j++) {
            const float y = __shfl_up_sync(ALL_LANES, x[j], d);
            if (nth >= d)
                x[j] += y;
        }
}

/* By one thread, when a piece is where all can read it; returns whether all are made now. */
static __device__ __forceinline__ bool arrive(own_cut *of)
{
    return atomicAdd(&of->arrived, 1) == of->pieces - 1;
}

/* By one thread; returns as arrive. */
template <int N>
static __device__ __forceinline__ bool store_piece(const own_plan &plan, int slot, int cut,
                                                   const float (&sum)[N])
{
    store_row(plan.carry + (size_t)slot * N, sum);
    __threadfence();
    return arrive(plan.cut + cut);
}

/* Of `threads` threads, this one's share of the pieces, in the same order each time.  Whoever
 * counted the last one has fenced and met the others since, or each thread fences before. */
template <int N>
static __device__ __forceinline__ void sum_pieces(const own_plan &plan, const own_cut *of,
                                                  int thread, int threads, float (&sum)[N])
{
    const float *carry = plan.carry + (size_t)of->first * N;
#pragma unroll 4
    for (int i = thread; i < of->pieces; i += threads)
#pragma unroll
        for (int j = 0; j < N; j++)
            sum[j] += __ldcg(carry + (size_t)i * N + j);
}

/* ---- rows without entries, and rows that chunks share ---- */

template <int N>
static __device__ __forceinline__ void store_empty(const spmm_args &a, int begin, int end)
{
    const float zero[N] = {};
    for (int i = begin + (int)(threadIdx.x % WARP); i < end; i += WARP)
        if (row_begin(a, i) == row_begin(a, i + 1))
            store_row((float *)a.c + (size_t)i * N, zero);
}

/*
 * By all lanes, when one of them has stored a piece: adds them up if it was the last.
 *
 *   lane i     store the piece | syncwarp
 *   lane 0                       syncwarp, fence, count, fence | syncwarp
 *   all                                                          syncwarp, load all pieces
 *
 * The fences of lane 0 stand next to its count, on both sides: what other lanes stored before it,
 * and load after it, is ordered by them too.  Nobody waits for another warp, so any part of the
 * grid may be resident.
 */
template <int N>
static __device__ __forceinline__ void finish_piece(const spmm_args &a, const own_plan &plan,
                                                    int cut)
{
    own_cut *of = plan.cut + cut;
    float sum[N] = {};
    bool last = false;
    __syncwarp();
    if (threadIdx.x % WARP == 0) {
        __threadfence();
        last = arrive(of);
        __threadfence();
    }
    if (!__any_sync(ALL_LANES, last))
        return;
    __syncwarp();
    sum_pieces(plan, of, threadIdx.x % WARP, WARP, sum);
    sum_group(sum, WARP);
    if (threadIdx.x % WARP)
        return;
    store_row((float *)a.c + (size_t)of->row * N, sum);
    of->arrived = 0; /* for the next launch */
}

#endif
