/*
 * forms.cu - orders for sorted implicit GEMM, pairs for gathering and scattering.
 *
 * Order, a split at a time: masks of the rows in the split's taps, a radix sort of the masks
 * (descending, stable), the table's columns of the split in the new order, tile masks.
 *
 * Pairs: hits of every tap in every block of KMAP_PAD rows are counted, one block adds them up, tap
 * after tap, and every block writes its pairs from there: by ascending output inside a tap, the
 * same in every run.
 */
#include "forms.h"
#include "rows.cuh"

constexpr int SCAN = 1024;

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

/* ---- pairs ---- */

static __device__ __forceinline__ bool has(const kmap_source &m, int row, int n, int d)
{
    return row < n && m.table[(size_t)row * m.taps + d] >= 0;
}

static __global__ void __launch_bounds__(KMAP_PAD) pairs_count(kmap_source m, int32_t *count)
{
    const int row = blockIdx.x * KMAP_PAD + threadIdx.x, n = rows_of(m);
    for (int d = 0; d < m.taps; d++) {
        const int hits = __syncthreads_count(has(m, row, n, d));
        if (threadIdx.x == 0)
            count[d * gridDim.x + blockIdx.x] = hits;
    }
}

/* Exclusive sums of count [taps][blocks] in place, and where the taps start. */
static __global__ void __launch_bounds__(SCAN)
pairs_scan(int taps, int blocks, int32_t *count, int32_t *start, int32_t *padded)
{
    __shared__ int warps[SCAN / 32];
    const int all = taps * blocks, each = (all + SCAN - 1) / SCAN, lane = threadIdx.x % 32;
    const int from = min(threadIdx.x * each, all), to = min(from + each, all);
    int sum = 0;
    for (int i = from; i < to; i++)
        sum += count[i];
    const int mine = sum;
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, sum, d);
        sum += lane >= d ? other : 0;
    }
    if (lane == 31)
        warps[threadIdx.x / 32] = sum;
    __syncthreads();
    sum -= mine;
    for (int w = 0; w < (int)threadIdx.x / 32; w++)
        sum += warps[w];
    for (int i = from; i < to; i++) {
        const int hits = count[i];
        count[i] = sum;
        if (i % blocks == 0)
            start[i / blocks] = sum;
        sum += hits;
    }
    if (to == all && from < all)
        start[taps] = sum;
    __syncthreads();
    if (threadIdx.x)
        return;
    padded[0] = 0;
    for (int d = 0; d < taps; d++)
        padded[d + 1] = padded[d] + padded_rows(start[d + 1] - start[d]);
}

static __global__ void __launch_bounds__(KMAP_PAD)
pairs_write(kmap_source m, const int32_t *before, int32_t *in, int32_t *out)
{
    __shared__ int warps[2][KMAP_PAD / 32];
    const int row = blockIdx.x * KMAP_PAD + threadIdx.x, n = rows_of(m), warp = threadIdx.x / 32;
    for (int d = 0; d < m.taps; d++) {
        const int j = row < n ? m.table[(size_t)row * m.taps + d] : -1;
        const unsigned hits = __ballot_sync(0xffffffffu, j >= 0);
        if (threadIdx.x % 32 == 0)
            warps[d & 1][warp] = __popc(hits);
        __syncthreads(); /* the other half of warps is free again: all have passed the last one */
        int at = before[d * gridDim.x + blockIdx.x] + __popc(hits & ((1u << threadIdx.x % 32) - 1));
        for (int w = 0; w < warp; w++)
            at += warps[d & 1][w];
        if (j >= 0) {
            in[at] = j;
            out[at] = row;
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

enum op_status kmap_pairs_cuda(const struct kmap_source *m, int32_t *start, int32_t *padded,
                               int32_t *in, int32_t *out, int32_t *scratch, op_stream s)
{
    const int blocks = m->rows / KMAP_PAD;
    pairs_count<<<blocks, KMAP_PAD, 0, s>>>(*m, scratch);
    pairs_scan<<<1, SCAN, 0, s>>>(m->taps, blocks, scratch, start, padded);
    pairs_write<<<blocks, KMAP_PAD, 0, s>>>(*m, scratch, in, out);
    return launched();
}

OP_END
