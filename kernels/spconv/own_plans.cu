/*
 * own_plans.cu - see own_plans.h.
 *
 *   count      rows of each plan that have each tap              -> ranks, the rarest highest
 *   keys       a block a tile of a range
 *   sort       descending, equal ones by row (kmap's radix sort)
 *   tiles      a block a tile: rows, partners tap by tap, masks of the halves
 *   parts      a block a plan: how long they are, then by length
 *
 * Plans are parameters of the kernels: 4.3 KB of constant memory, more than 4 KB since CUDA 12.1.
 */
#include "../kmap/device.h"
#include "own_parts.cuh"
#include "own_plans.h"
#include "own_tiles.cuh"
#include "upload.cuh"

constexpr int THREADS = 256, COUNT_BLOCKS = 132;

/* What a kernel gets; first[i] is the first tile of plan i, base[i] that of its last range. */
struct Plans {
    own_plans list;
    int first[OWN_PLANS_MAX];
    uint32_t base[OWN_PLANS_MAX];
};
static_assert(sizeof(Plans) <= (CUDART_VERSION < 12010 ? 4096 : 32764), "parameters of a kernel");

static __host__ __device__ __forceinline__ own_segment segment_of(const Plans &p, int tile)
{
    int i = 0;
    while (i + 1 < p.list.count && p.first[i + 1] <= tile)
        i++;
    const own_plan &plan = p.list.plan[i];
    const int split = (tile - p.first[i]) / plan.tiles;
    return { i, split, p.first[i] + split * plan.tiles,
             p.base[i] + ((uint32_t)(plan.splits - 1 - split) << plan.taps) };
}

/* blockIdx.y is the plan. */
static __global__ __launch_bounds__(THREADS) void count_all(const __grid_constant__ Plans p,
                                                            int32_t *count)
{
    __shared__ int sums[SPCONV_TAPS_MAX];
    const own_source &t = p.list.source[blockIdx.y];
    const int n = rows_of(t);
    if (blockIdx.x * THREADS >= (unsigned)n)
        return;
    count_source<THREADS>(t, n, sums, count + blockIdx.y * SPCONV_TAPS_MAX);
}

/* A block a tile of a range, before sorting. */
static __global__ __launch_bounds__(SPCONV_TILE) void key_all(const __grid_constant__ Plans p,
                                                              const int32_t *count, uint32_t *key,
                                                              int32_t *row)
{
    __shared__ int rank[SPCONV_TAPS_MAX];
    const own_segment g = segment_of(p, blockIdx.x);
    const own_source &t = p.list.source[g.plan];
    const int first = g.split * p.list.plan[g.plan].taps;
    const int taps = max(min(p.list.plan[g.plan].taps, t.taps - first), 0);
    const int i = (blockIdx.x - g.first) * SPCONV_TILE + threadIdx.x;
    count += g.plan * SPCONV_TAPS_MAX + first;
    if (threadIdx.x < taps)
        rank[threadIdx.x] = rank_of(count, threadIdx.x, taps);
    __syncthreads();
    const bool exists = i < rows_of(t);
    uint32_t word = 0;
    if (exists) {
        const uint32_t mask = mask_of(t, i) >> first;
        for (int d = 0; d < taps; d++)
            word |= (mask >> d & 1) << rank[d];
    }
    const size_t at = (size_t)blockIdx.x * SPCONV_TILE + threadIdx.x;
    key[at] = g.base + spconv_gray_rank(word);
    row[at] = exists ? i : -1;
}

static __global__ __launch_bounds__(SPCONV_TILE) void tile_all(const __grid_constant__ Plans p,
                                                               const int32_t *sorted)
{
    const own_segment g = segment_of(p, blockIdx.x);
    const own_source &t = p.list.source[g.plan];
    const own_plan &plan = p.list.plan[g.plan];
    const int first = g.split * plan.taps;
    /* the last range has no taps at all where taps do not fill so many ranges */
    own_tile(t, plan, blockIdx.x - p.first[g.plan],
             sorted[(size_t)blockIdx.x * SPCONV_TILE + threadIdx.x], first,
             max(min(plan.taps, t.taps - first), 0));
}

/* A block a plan. */
static __global__ __launch_bounds__(OWN_PARTS_THREADS)
void parts_all(const __grid_constant__ Plans p)
{
    own_parts(p.list.plan[blockIdx.x]);
}

/* ---- C functions ---- */

static Plans plans_of(const own_plans *list)
{
    Plans p = { *list, { 0 }, { 0 } };
    int first = 0;
    uint32_t base = 0;
    for (int i = 0; i < list->count; i++) {
        p.first[i] = first;
        first += list->plan[i].splits * list->plan[i].tiles;
    }
    for (int i = list->count - 1; i >= 0; i--) {
        p.base[i] = base;
        base += (uint32_t)list->plan[i].splits << list->plan[i].taps;
    }
    return p;
}

OP_BEGIN
int own_plans_tiles(const struct own_plans *p)
{
    int tiles = 0;
    for (int i = 0; i < p->count; i++)
        tiles += p->plan[i].splits * p->plan[i].tiles;
    return tiles;
}

struct own_segment own_plans_segment(const struct own_plans *p, int tile)
{
    return segment_of(plans_of(p), tile);
}

int own_plans_bits(const struct own_plans *p)
{
    double keys = 0;
    for (int i = 0; i < p->count; i++)
        keys += (double)p->plan[i].splits * (double)(1ull << p->plan[i].taps);
    return kmap_bits(keys);
}

enum op_status own_plans_open(int tiles, const struct op_memory *memory,
                              struct own_plan_work *work)
{
    const size_t all = (size_t)tiles * SPCONV_TILE;
    enum op_status status = OP_OK;
    if (tiles < 1)
        return OP_EINVAL;
    work->key = scratch<uint32_t>(memory, 2 * all, &status);
    work->row = scratch<int32_t>(memory, 2 * all, &status);
    work->count = scratch<int32_t>(memory, OWN_PLANS_MAX * SPCONV_TAPS_MAX, &status);
    work->temp_bytes = kmap_sort_bytes((int)all);
    work->temp = scratch<char>(memory, work->temp_bytes, &status);
    return status;
}

enum op_status own_plans_make(const struct own_plans *list, const struct own_plan_work *work,
                              op_stream s)
{
    const int tiles = own_plans_tiles(list), all = tiles * SPCONV_TILE;
    const int bits = own_plans_bits(list);
    int most_rows = 0;
    if (list->count < 1 || list->count > OWN_PLANS_MAX)
        return OP_EINVAL;
    if (bits > 32)
        return OP_EUNSUPPORTED;
    for (int i = 0; i < list->count; i++)
        most_rows = max(most_rows, list->source[i].rows);
    const int blocks = min((most_rows + THREADS - 1) / THREADS, COUNT_BLOCKS);
    const Plans p = plans_of(list);
    if (cudaMemsetAsync(work->count, 0, list->count * SPCONV_TAPS_MAX * sizeof *work->count, s))
        return OP_EDEVICE;
    count_all<<<dim3(blocks, list->count), THREADS, 0, s>>>(p, work->count);
    key_all<<<tiles, SPCONV_TILE, 0, s>>>(p, work->count, work->key, work->row);
    const enum op_status status =
        kmap_sort_masks(work->temp, work->temp_bytes, work->key, work->key + all, work->row,
                        work->row + all, all, bits, s);
    if (status != OP_OK)
        return status;
    tile_all<<<tiles, SPCONV_TILE, 0, s>>>(p, work->row + all);
    parts_all<<<list->count, OWN_PARTS_THREADS, 0, s>>>(p);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}
OP_END
