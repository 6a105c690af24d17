/*
 * own_source.cuh - what plans are made from, for kernels that make one or many: rows that exist,
 * their masks, how often a tap occurs and its rank by that.
 */
#ifndef KERNELS_SPCONV_OWN_SOURCE_CUH
#define KERNELS_SPCONV_OWN_SOURCE_CUH

#include "own_plan.h"

static __device__ __forceinline__ int rows_of(const own_source &t)
{
    return t.count ? min(__ldg(t.count), t.rows) : t.rows;
}

static __device__ __forceinline__ uint32_t mask_of(const own_source &t, int row)
{
    if (t.mask)
        return __ldg(t.mask + row);
    uint32_t mask = 0;
    for (int d = 0; d < t.taps; d++)
        mask |= (uint32_t)(__ldg(t.partner + (size_t)row * t.taps + d) >= 0) << d;
    return mask;
}

/* Blocks of Threads add the rows that have each tap to count; lane d of a warp counts tap d.
 * sums [SPCONV_TAPS_MAX] in shared memory. */
template <int Threads>
static __device__ __forceinline__ void count_source(const own_source &t, int n, int *sums,
                                                    int32_t *count)
{
    const int lane = threadIdx.x % 32;
    if (threadIdx.x < SPCONV_TAPS_MAX)
        sums[threadIdx.x] = 0;
    __syncthreads();
    int mine = 0;
    for (int first = (blockIdx.x * Threads + threadIdx.x) / 32 * 32; first < n;
         first += gridDim.x * Threads) {
        const uint32_t mask = first + lane < n ? mask_of(t, first + lane) : 0;
        for (int d = 0; d < t.taps; d++) {
            const int rows = __popc(__ballot_sync(~0u, mask >> d & 1));
            mine += lane == d ? rows : 0;
        }
    }
    atomicAdd(sums + lane, mine);
    __syncthreads();
    if (threadIdx.x < t.taps)
        atomicAdd(count + threadIdx.x, sums[threadIdx.x]);
}

/* Of tap d among taps of a range by its count, the rarest highest. */
static __device__ __forceinline__ int rank_of(const int32_t *count, int d, int taps)
{
    const int mine = __ldg(count + d);
    int more = 0;
    for (int e = 0; e < taps; e++) {
        const int other = __ldg(count + e);
        more += other > mine || (other == mine && e < d);
    }
    return more;
}

#endif
