/* ablation.cuh - what kernels with a stage left out need to stay comparable. */
#ifndef KERNELS_GEMM_ABLATION_CUH
#define KERNELS_GEMM_ABLATION_CUH

#include <stdint.h>

#include "../op.h"

/*
 * What a kernel loads must reach its output, or the assembler drops the load:
 * values that a stage left out would have used are folded into a word.  Where
 * that word is the result it is stored; elsewhere an output depends on it.
 */
constexpr uint32_t FOLD_NEVER = 0x6d2b79f5; /* improbable, which the compiler cannot know */

static __device__ __forceinline__ uint32_t folded(uint4 v)
{
    return v.x ^ v.y ^ v.z ^ v.w;
}

/*
 * *bytes of dynamic shared memory for stage, own or more: so many that a kernel
 * that needs fewer registers than the full one has no more blocks on an SM,
 * which would hide latencies that the full kernel cannot.
 */
template <class Kernel>
static bool same_occupancy(Kernel *full, Kernel *stage, int threads, size_t own, size_t *bytes)
{
    constexpr auto room = cudaFuncAttributeMaxDynamicSharedMemorySize;
    size_t most;
    int blocks;
    *bytes = own;
    if (cudaFuncSetAttribute(full, room, (int)own))
        return false;
    if (full == stage)
        return true;
    if (cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, full, threads, own))
        return false;
    if (cudaOccupancyAvailableDynamicSMemPerBlock(&most, stage, blocks, threads) == cudaSuccess &&
        most > own)
        *bytes = most;
    else
        cudaGetLastError(); /* so many blocks of the stage do not fit: it needs more registers */
    return !cudaFuncSetAttribute(stage, room, (int)*bytes);
}

#endif
