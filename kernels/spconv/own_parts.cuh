/*
 * own_parts.cuh - a plan's tiles in parts: how long they are, then a counting sort of them, by one
 * block: a plan has hundreds of tiles.
 */
#ifndef KERNELS_SPCONV_OWN_PARTS_CUH
#define KERNELS_SPCONV_OWN_PARTS_CUH

#include "own_plan.h"

constexpr int OWN_PARTS_THREADS = 1024;

/* Whether a tile has rows: padding is sorted behind all others. */
static __device__ __forceinline__ bool has_rows(const own_plan &plan, int tile)
{
    return __ldg(plan.row + (size_t)tile * SPCONV_TILE) >= 0;
}

static __device__ __forceinline__ int taps_of(const own_plan &plan, int tile)
{
    return __popc(__ldg(plan.mask + 2 * tile) | __ldg(plan.mask + 2 * tile + 1));
}

/* Lane m - 1 weighs parts of at most m taps, tiles[n] being how many tiles have n.  All at once
 * where the longest takes no longer than a share of all work, half a part that comes too late and
 * the joining of sums by one block, about three of the shortest parts. */
static __device__ __forceinline__ int choose_most(const own_plan &plan, const int *tiles)
{
    const int m = threadIdx.x + 1;
    int parts = tiles[0], slots = 0, all = 0;
    for (int n = 1, of_tile = 1, last = 0; n <= SPCONV_TAPS_MAX; n++) {
        if (++last > m)
            last = 1, of_tile++;
        parts += tiles[n] * of_tile;
        slots += of_tile > 1 ? tiles[n] * of_tile : 0;
        all += tiles[n] * n;
    }
    const own_cut &cut = plan.cut;
    const int share = all / (2 * cut.lanes) + 1;
    const int fair = cut.most ? cut.most : share > cut.least ? share : cut.least;
    const uint32_t kept = __ballot_sync(~0u, slots <= plan.slots && (cut.most || m >= cut.least));
    const uint32_t once = __ballot_sync(~0u, parts <= cut.lanes) & kept;
    const uint32_t later = fair > SPCONV_TAPS_MAX ? 0 : kept & ~0u << (fair - 1);
    const int in_turns = later ? __ffs(later) : SPCONV_TAPS_MAX, at_once = __ffs(once);
    const bool can = !cut.most && plan.splits == 1 && at_once;
    return can && at_once <= 2 * share + in_turns / 2 + 3 * cut.least ? at_once : in_turns;
}

/* Tile i of a range: taps of its parts are q + 1 for the first `longer` parts, then q. */
struct Cut {
    uint32_t lower, upper;
    int parts, q, longer;
};

static __device__ __forceinline__ Cut cut_of(const own_plan &plan, int tile, int most)
{
    Cut c;
    c.lower = __ldg(plan.mask + 2 * tile);
    c.upper = __ldg(plan.mask + 2 * tile + 1);
    const int all = __popc(c.lower | c.upper);
    c.parts = all > most ? (all + most - 1) / most : 1;
    c.q = all / c.parts;
    c.longer = all % c.parts;
    return c;
}

/* By all of a block: parts by length, range by range. */
static __device__ __forceinline__ void own_parts(const own_plan &plan)
{
    __shared__ int place[SPCONV_TAPS_MAX + 2]; /* by SPCONV_TAPS_MAX - length */
    __shared__ int tiles[SPCONV_TAPS_MAX + 1], chosen, slots, done, kept;
    if (threadIdx.x == 0)
        slots = done = kept = 0;
    if (threadIdx.x <= SPCONV_TAPS_MAX)
        tiles[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < plan.splits * plan.tiles; i += OWN_PARTS_THREADS)
        if (has_rows(plan, i)) {
            atomicAdd(tiles + taps_of(plan, i), 1);
            if (i < plan.tiles)
                atomicAdd(&kept, 1);
        }
    __syncthreads();
    if (threadIdx.x < 32) {
        const int most = choose_most(plan, tiles);
        if (threadIdx.x == 0)
            chosen = most;
    }
    for (int split = 0; split < plan.splits; split++) {
        const int first = split * plan.tiles;
        if (threadIdx.x < SPCONV_TAPS_MAX + 2)
            place[threadIdx.x] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < kept; i += OWN_PARTS_THREADS) {
            const Cut c = cut_of(plan, first + i, chosen);
            if (c.longer)
                atomicAdd(place + SPCONV_TAPS_MAX - c.q - 1, c.longer);
            atomicAdd(place + SPCONV_TAPS_MAX - c.q, c.parts - c.longer);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int k = 0; k <= SPCONV_TAPS_MAX; k++) {
                const int count = place[k];
                place[k] = done;
                done += count;
            }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < kept; i += OWN_PARTS_THREADS) {
            const Cut c = cut_of(plan, first + i, chosen);
            const int longer =
                c.longer ? atomicAdd(place + SPCONV_TAPS_MAX - c.q - 1, c.longer) : 0;
            const int rest = atomicAdd(place + SPCONV_TAPS_MAX - c.q, c.parts - c.longer);
            const int slot = c.parts > 1 ? atomicAdd(&slots, c.parts) : 0;
            uint32_t left = c.lower | c.upper;
            for (int k = 0; k < c.parts; k++) {
                uint32_t taken = 0;
                for (int n = k < c.longer ? c.q + 1 : c.q; n > 0; n--) {
                    taken |= left & -left;
                    left &= left - 1;
                }
                const own_part part = { first + i, c.lower & taken, c.upper & taken,
                                        slot << OWN_SLOT | c.parts << OWN_PARTS | k };
                plan.part[k < c.longer ? longer + k : rest + k - c.longer] = part;
            }
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        plan.count[0] = done;
        plan.count[1] = kept;
    }
}

#endif
