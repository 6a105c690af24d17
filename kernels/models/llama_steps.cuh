/* llama_steps.cuh - what the two files of steps share: launch shapes and sums over a block. */
#ifndef KERNELS_MODELS_LLAMA_STEPS_CUH
#define KERNELS_MODELS_LLAMA_STEPS_CUH

#include "../common/warp.cuh"
#include "llama_steps.h"

constexpr int THREADS = 256, WARPS = THREADS / WARP;

static inline enum op_status launched(void)
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

/* Enough to fill any GPU; loops take the rest. */
static inline unsigned blocks_for(size_t count)
{
    const size_t blocks = (count + THREADS - 1) / THREADS;
    return (unsigned)(blocks < 1 ? 1 : blocks < 16384 ? blocks : 16384);
}

static __device__ __forceinline__ size_t first_element(void)
{
    return (size_t)blockIdx.x * THREADS + threadIdx.x;
}

static __device__ __forceinline__ size_t all_threads(void)
{
    return (size_t)gridDim.x * THREADS;
}

/* Of all threads of the block, each of which gets the result: warps first, whose results wait
 * in shared memory for every thread to combine them in the same order. */
template <class T, class Combine>
static __device__ __forceinline__ T over_block(T mine, Combine combine)
{
    __shared__ T part[WARPS];
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2)
        mine = combine(mine, __shfl_xor_sync(ALL_LANES, mine, d));
    __syncthreads(); /* the last use of part is over */
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = mine;
    __syncthreads();
    mine = part[0];
#pragma unroll
    for (int w = 1; w < WARPS; w++)
        mine = combine(mine, part[w]);
    return mine;
}

template <class T> static __device__ __forceinline__ T block_sum(T mine)
{
    return over_block(mine, [](T a, T b) { return a + b; });
}

static __device__ __forceinline__ float block_max(float mine)
{
    return over_block(mine, [](float a, float b) { return fmaxf(a, b); });
}

#endif
