/*
 * forms.cu - orders for sorted implicit GEMM, pairs for gathering and scattering.
 *
 * Order, a split at a time: masks of the rows in the split's taps, a radix sort of the masks
 * (descending, stable), the table's columns of the split in the new order, tile masks.
 *
 * Pairs: hits of every tap in every block of KMAP_PAD rows are counted, one block adds them up, tap
 * after tap, and every block writes its pairs from there: by ascending output inside a tap, the
 * same in every run.  Lists of several maps are made at the same time.
 */
#include "forms.h"
#include "rows.cuh"
#include "scan.cuh"

constexpr int SCAN = 1024, EACH = 4; /* threads, counts of each at a time */

static __device__ __forceinline__ int rows_of(const kmap_source &m)
{
    return m.count ? min(*m.count, m.n) : m.n;
}

/* ---- orders ---- */

static __global__ void __launch_bounds__(KMAP_PAD)
order_masks(kmap_source m, int first, int taps, uint32_t *mask, int32_t *place)
{
    const int row = blockIdx.x * KMAP_PAD + threadIdx.x;
    uint32_t bits = 0;
    if (row < rows_of(m)) {
        if (m.mask)
            bits = m.mask[row] >> first & (taps < 32 ? (1u << taps) - 1 : ~0u);
        else
            for (int d = 0; d < taps && first + d < m.taps; d++)
                bits |= (uint32_t)(m.table[(size_t)row * m.taps + first + d] >= 0) << d;
    }
    mask[row] = bits;
    place[row] = row;
}

/* Rows behind the last one come last: equal masks keep their order. */
static __global__ void __launch_bounds__(KMAP_PAD)
order_finish(kmap_source m, const uint32_t *mask, int tile, int32_t *row, uint32_t *tile_mask)
{
    __shared__ uint32_t warps[KMAP_PAD / 32];
    const int i = blockIdx.x * KMAP_PAD + threadIdx.x;
    if (row[i] >= rows_of(m))
        row[i] = -1;
    const uint32_t all = __reduce_or_sync(0xffffffffu, mask[i]);
    if (threadIdx.x % 32 == 0)
        warps[threadIdx.x / 32] = all;
    __syncthreads();
    if (threadIdx.x % tile)
        return;
    uint32_t sum = 0;
    for (int w = 0; w < tile / 32; w++)
        sum |= warps[threadIdx.x / 32 + w];
    tile_mask[i / tile] = sum;
}

/* A thread an entry of [rows][taps]. */
static __global__ void order_table(kmap_source m, const int32_t *row, int first, int taps,
                                   int32_t *table)
{
    const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= (long long)m.rows * taps)
        return;
    const int from = row[e / taps], d = first + (int)(e % taps);
    table[e] = from >= 0 && d < m.taps ? m.table[(size_t)from * m.taps + d] : -1;
}

/* ---- pairs: blockIdx.y is the list ---- */

struct Lists {
    kmap_list list[KMAP_LISTS_MAX];
};

/* Partners of a block's rows, -1 from row n on: stage [KMAP_PAD][taps], read as it lies. */
static __device__ __forceinline__ void load_rows(const kmap_source &m, int first, int n, int *stage)
{
    const int4 *from = (const int4 *)(m.table + (size_t)first * m.taps);
    for (int i = threadIdx.x; i < KMAP_PAD * m.taps / 4; i += KMAP_PAD)
        ((int4 *)stage)[i] = from[i];
    __syncthreads();
    if (first + (int)threadIdx.x >= n)
        for (int d = 0; d < m.taps; d++)
            stage[threadIdx.x * m.taps + d] = -1;
}

/* hits [taps][warps]: rows of each warp that have a tap.  All threads call. */
static __device__ __forceinline__ void count_hits(const kmap_source &m, const int *stage,
                                                  int (*hits)[KMAP_PAD / 32])
{
    const int *mine = stage + threadIdx.x * m.taps;
    for (int d = 0; d < m.taps; d++) {
        const unsigned have = __ballot_sync(~0u, mine[d] >= 0);
        if (threadIdx.x % 32 == 0)
            hits[d][threadIdx.x / 32] = __popc(have);
    }
    __syncthreads();
}

/* Counts [taps][blocks]; blocks that have no rows count none. */
static __global__ void __launch_bounds__(KMAP_PAD) pairs_count(const __grid_constant__ Lists lists)
{
    __shared__ __align__(16) int stage[KMAP_PAD * KMAP_TAPS_MAX];
    __shared__ int hits[KMAP_TAPS_MAX][KMAP_PAD / 32];
    const kmap_list &l = lists.list[blockIdx.y];
    const int n = rows_of(l.source), first = blockIdx.x * KMAP_PAD, d = threadIdx.x;
    const int blocks = l.source.rows / KMAP_PAD;
    if (first >= l.source.rows)
        return;
    if (first < n) {
        load_rows(l.source, first, n, stage);
        count_hits(l.source, stage, hits);
    }
    if (d < l.source.taps)
        l.scratch[(size_t)d * blocks + blockIdx.x] =
            first < n ? hits[d][0] + hits[d][1] + hits[d][2] + hits[d][3] : 0;
}

/* Exclusive sums of the counts in place, and where the taps start. */
static __global__ void __launch_bounds__(SCAN) pairs_scan(const __grid_constant__ Lists lists)
{
    __shared__ int shared[SCAN / 32], start[KMAP_TAPS_MAX + 1];
    const kmap_list &l = lists.list[blockIdx.y];
    const int taps = l.source.taps, blocks = l.source.rows / KMAP_PAD, all = taps * blocks;
    int32_t *count = l.scratch;
    int before = 0;
    for (int base = 0; base < all; base += SCAN * EACH) {
        const int first = base + threadIdx.x * EACH;
        int hits[EACH], mine = 0;
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            hits[k] = first + k < all ? count[first + k] : 0;
            mine += hits[k];
        }
        int sum = before + sum_before(mine, shared);
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            const int i = first + k;
            if (i < all) {
                count[i] = sum;
                if (i % blocks == 0)
                    start[i / blocks] = sum;
            }
            sum += hits[k];
            if (i == all - 1)
                start[taps] = sum;
        }
        if (threadIdx.x == SCAN - 1)
            shared[0] = sum;
        __syncthreads();
        before = shared[0];
        __syncthreads(); /* shared is free */
    }
    if (threadIdx.x >= 32)
        return;
    const int d = threadIdx.x, pairs = d < taps ? padded_rows(start[d + 1] - start[d]) : 0;
    int padded = pairs;
    for (int step = 1; step < 32; step *= 2) {
        const int other = __shfl_up_sync(~0u, padded, step);
        padded += d >= step ? other : 0;
    }
    if (d < taps) {
        l.start[d] = start[d];
        l.padded[d] = padded - pairs;
    }
    if (d == taps - 1) {
        l.start[taps] = start[taps];
        l.padded[taps] = padded;
    }
}

static __global__ void __launch_bounds__(KMAP_PAD) pairs_write(const __grid_constant__ Lists lists)
{
    __shared__ __align__(16) int stage[KMAP_PAD * KMAP_TAPS_MAX];
    __shared__ int hits[KMAP_TAPS_MAX][KMAP_PAD / 32];
    const kmap_list &l = lists.list[blockIdx.y];
    const int n = rows_of(l.source), first = blockIdx.x * KMAP_PAD, row = first + threadIdx.x;
    const int taps = l.source.taps, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (first >= n)
        return;
    load_rows(l.source, first, n, stage);
    count_hits(l.source, stage, hits);
    /* lane d: where the warp's pairs of tap d go */
    int begin = 0;
    if (lane < taps) {
        begin = l.scratch[(size_t)lane * (l.source.rows / KMAP_PAD) + blockIdx.x];
        for (int w = 0; w < warp; w++)
            begin += hits[lane][w];
    }
    for (int d = 0; d < taps; d++) {
        const int j = stage[threadIdx.x * taps + d], to = __shfl_sync(~0u, begin, d);
        const unsigned have = __ballot_sync(~0u, j >= 0);
        const int at = to + __popc(have & ((1u << lane) - 1));
        if (j >= 0) {
            l.in[at] = j;
            l.out[at] = row;
        }
    }
}

OP_BEGIN

enum op_status kmap_order_cuda(const struct kmap_source *m, int splits, int tile,
                               const struct kmap_order_memory *to, op_stream s)
{
    if (splits < 1 || splits > KMAP_SPLITS_MAX || (tile != 32 && tile != 64 && tile != 128))
        return OP_EINVAL;
    const int taps = (m->taps + splits - 1) / splits, blocks = m->rows / KMAP_PAD;
    for (int k = 0; k < splits; k++) {
        const size_t base = (size_t)k * m->rows;
        int32_t *row = to->row + base;
        uint32_t *mask = to->mask + base;
        order_masks<<<blocks, KMAP_PAD, 0, s>>>(*m, k * taps, taps, to->unsorted, to->place);
        const enum op_status status = kmap_sort_masks(to->temp, to->temp_bytes, to->unsorted, mask,
                                                      to->place, row, m->rows, taps, s);
        if (status)
            return status;
        order_finish<<<blocks, KMAP_PAD, 0, s>>>(*m, mask, tile, row, to->tile_mask + base / tile);
        const long long entries = (long long)m->rows * taps;
        order_table<<<(unsigned)((entries + 255) / 256), 256, 0, s>>>(*m, row, k * taps, taps,
                                                                      to->table + base * taps);
    }
    return launched();
}

enum op_status kmap_pairs_cuda(const struct kmap_list *list, int count, op_stream s)
{
    Lists lists = {};
    int blocks = 0;
    if (count < 1 || count > KMAP_LISTS_MAX)
        return OP_EINVAL;
    for (int i = 0; i < count; i++) {
        lists.list[i] = list[i];
        blocks = max(blocks, list[i].source.rows / KMAP_PAD);
    }
    pairs_count<<<dim3(blocks, count), KMAP_PAD, 0, s>>>(lists);
    pairs_scan<<<dim3(1, count), SCAN, 0, s>>>(lists);
    pairs_write<<<dim3(blocks, count), KMAP_PAD, 0, s>>>(lists);
    return launched();
}

OP_END
