/*
 * own_tiles.cuh - a tile of a plan, by a block of SPCONV_TILE threads: its rows, their partners tap
 * by tap, and which taps each half has.
 *
 * A warp reads whole rows of the table, 32 neighbouring numbers at a time, and turns them in shared
 * memory: a thread a row would touch 32 lines of the cache for every tap.
 */
#ifndef KERNELS_SPCONV_OWN_TILES_CUH
#define KERNELS_SPCONV_OWN_TILES_CUH

#include "own_source.cuh"
#include "plan.h"

/* row: of this thread, -1: padding; taps of the source from `first` on. */
static __device__ __forceinline__ void own_tile(const own_source &t, const own_plan &plan, int tile,
                                                int row, int first, int taps)
{
    __shared__ int32_t stage[SPCONV_TILE * (SPCONV_TAPS_MAX + 1)]; /* rows of an odd length */
    __shared__ uint32_t part[SPCONV_TILE / 32];
    const int thread = threadIdx.x, lane = thread % 32, length = taps | 1;
    const uint32_t inverse = taps > 0 ? (65535 + taps) / taps : 0; /* n / taps for n < 1024 */
    int32_t *of_warp = stage + (thread - lane) * length, *mine = stage + thread * length;
#pragma unroll 8
    for (int i = 0; i < taps; i++) {
        const int number = i * 32 + lane, of = (int)(number * inverse >> 16);
        const int d = number - of * taps, from = __shfl_sync(~0u, row, of);
        of_warp[of * length + d] =
            from < 0 ? -1 : __ldg(t.partner + (size_t)from * t.taps + first + d);
    }
    __syncwarp();
    uint32_t mask = 0;
    for (int d = 0; d < taps; d++)
        mask |= (uint32_t)(mine[d] >= 0) << d;
    const uint32_t all = __reduce_or_sync(~0u, mask);
    if (lane == 0)
        part[thread / 32] = all;
    __syncthreads();
    const uint32_t lower = part[0] | part[1], upper = part[2] | part[3];
    plan.row[(size_t)tile * SPCONV_TILE + thread] = row;
    if (thread == 0) {
        plan.mask[2 * tile] = lower;
        plan.mask[2 * tile + 1] = upper;
    }
    for (uint32_t left = lower | upper; left; left &= left - 1) {
        const int d = __ffs(left) - 1;
        plan.index[((size_t)tile * plan.taps + d) * SPCONV_TILE + thread] = mine[d];
    }
}

#endif
