/*
 * own_plan.cu - see own_plan.h.
 *
 *   count      rows that have each tap                           -> ranks, the rarest highest
 *   keys       range, then place of the mask in the Gray sequence, padding last
 *   sort       descending, equal ones by row (kmap's radix sort)
 *   tiles      a block a tile: rows, partners tap by tap, masks of the halves
 *   parts      one block: how long they are, then by length
 */
#include <stdlib.h>

#include "../kmap/device.h"
#include "own_parts.cuh"
#include "own_tiles.cuh"
#include "upload.cuh"

constexpr int THREADS = 256;

static __global__ __launch_bounds__(THREADS) void count_taps(own_source t, int32_t *count)
{
    __shared__ int sums[SPCONV_TAPS_MAX];
    count_source<THREADS>(t, rows_of(t), sums, count);
}

/* Descending, ranges in order; padding has the smallest key of its range. */
static __global__ __launch_bounds__(THREADS) void make_keys(own_source t, own_plan plan,
                                                            const int32_t *count, uint32_t *key,
                                                            int32_t *row)
{
    __shared__ int rank[SPCONV_TAPS_MAX];
    const int padded = plan.tiles * SPCONV_TILE, split = blockIdx.y, first = split * plan.taps;
    const int taps = min(plan.taps, t.taps - first);
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (threadIdx.x < taps)
        rank[threadIdx.x] = rank_of(count + first, threadIdx.x, taps);
    __syncthreads();
    if (i >= padded)
        return;
    const bool exists = i < rows_of(t);
    uint32_t word = 0;
    if (exists) {
        const uint32_t mask = mask_of(t, i) >> first;
        for (int d = 0; d < taps; d++)
            word |= (mask >> d & 1) << rank[d];
    }
    const uint32_t range = (uint32_t)(plan.splits - 1 - split) << (plan.taps + 1);
    key[split * padded + i] = range | (exists ? spconv_gray_rank(word) + 1 : 0);
    row[split * padded + i] = exists ? i : -1;
}

static __global__ __launch_bounds__(SPCONV_TILE) void make_tiles(own_source t, own_plan plan,
                                                                 const int32_t *sorted)
{
    const int tile = blockIdx.x, first = tile / plan.tiles * plan.taps;
    own_tile(t, plan, tile, sorted[(size_t)tile * SPCONV_TILE + threadIdx.x], first,
             max(min(plan.taps, t.taps - first), 0));
}

static __global__ __launch_bounds__(OWN_PARTS_THREADS) void make_parts(own_plan plan)
{
    own_parts(plan);
}

/* ---- C functions ---- */

static int key_bits(const struct own_plan *plan)
{
    return plan->taps + 1 + (plan->splits > 2 ? 2 : plan->splits > 1);
}

OP_BEGIN
enum op_status own_plan_open(int rows, int taps, int splits, const struct own_cut *cut,
                             const struct op_memory *memory, op_stream s, struct own_plan *plan,
                             struct own_plan_work *work)
{
    if (rows < 1 || taps < 1 || taps > SPCONV_TAPS_MAX || splits < 1 || splits > taps ||
        splits > SPCONV_SPLITS_MAX || cut->lanes < 1 || cut->columns < 16 || cut->least < 1 ||
        cut->most < 0)
        return OP_EINVAL;
    plan->splits = splits;
    plan->taps = (taps + splits - 1) / splits;
    plan->tiles = (rows + SPCONV_TILE - 1) / SPCONV_TILE;
    plan->cut = *cut;
    if (key_bits(plan) > 32)
        return OP_EUNSUPPORTED;
    const size_t tiles = (size_t)splits * plan->tiles, all = tiles * SPCONV_TILE;
    const int shortest = cut->most ? cut->most : cut->least;
    const size_t each = (plan->taps + shortest - 1) / shortest, most = 2 * (size_t)cut->lanes;
    plan->parts = (int)(tiles * each);
    plan->slots = (int)(each == 1 ? 0 : tiles * each < most ? tiles * each : most);
    const size_t sums = (size_t)plan->slots * SPCONV_TILE * cut->columns;
    const size_t arrived = (size_t)plan->slots * (cut->columns / 16) * 2;
    enum op_status status = OP_OK;
    plan->row = scratch<int32_t>(memory, all, &status);
    plan->index = scratch<int32_t>(memory, all * plan->taps, &status);
    plan->mask = scratch<uint32_t>(memory, 2 * tiles, &status);
    plan->part = scratch<struct own_part>(memory, tiles * each, &status);
    plan->count = scratch<int32_t>(memory, 2, &status);
    plan->sums = scratch<float>(memory, sums + 4, &status);
    plan->arrived = scratch<int32_t>(memory, arrived + 1, &status);
    if (status == OP_OK && cudaMemsetAsync(plan->arrived, 0, arrived * sizeof *plan->arrived, s))
        status = OP_EDEVICE;
    work->key = scratch<uint32_t>(memory, 2 * all, &status);
    work->row = scratch<int32_t>(memory, 2 * all, &status);
    work->count = scratch<int32_t>(memory, SPCONV_TAPS_MAX, &status);
    work->temp_bytes = kmap_sort_bytes((int)all);
    work->temp = scratch<char>(memory, work->temp_bytes, &status);
    return status;
}

enum op_status own_plan_make(const struct own_source *t, const struct own_plan *plan,
                             const struct own_plan_work *work, op_stream s)
{
    const int tiles = plan->splits * plan->tiles, padded = plan->tiles * SPCONV_TILE;
    const int all = tiles * SPCONV_TILE;
    const unsigned blocks = (padded + THREADS - 1) / THREADS;
    if (cudaMemsetAsync(work->count, 0, SPCONV_TAPS_MAX * sizeof *work->count, s))
        return OP_EDEVICE;
    count_taps<<<blocks < 264 ? blocks : 264, THREADS, 0, s>>>(*t, work->count);
    make_keys<<<dim3(blocks, plan->splits), THREADS, 0, s>>>(*t, *plan, work->count, work->key,
                                                             work->row);
    const enum op_status status =
        kmap_sort_masks(work->temp, work->temp_bytes, work->key, work->key + all, work->row,
                        work->row + all, all, key_bits(plan), s);
    if (status != OP_OK)
        return status;
    make_tiles<<<tiles, SPCONV_TILE, 0, s>>>(*t, *plan, work->row + all);
    make_parts<<<1, OWN_PARTS_THREADS, 0, s>>>(*plan);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

enum op_status own_plan_slots(const struct own_plan *plan, op_stream s, double *slots)
{
    const size_t count = (size_t)2 * plan->splits * plan->tiles;
    uint32_t *mask = (uint32_t *)malloc(count * sizeof *mask);
    if (!mask)
        return OP_ENOMEM;
    const enum op_status status = cudaMemcpyAsync(mask, plan->mask, count * sizeof *mask,
                                                  cudaMemcpyDeviceToHost, s) ||
                                          cudaStreamSynchronize(s)
                                      ? OP_EDEVICE
                                      : OP_OK;
    *slots = 0;
    for (size_t i = 0; status == OP_OK && i < count; i++)
        *slots += SPCONV_TILE / 2 * __builtin_popcount(mask[i]);
    free(mask);
    return status;
}
OP_END
