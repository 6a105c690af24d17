/*
 * own_finish.cuh - what own.cuh works on, and what it does with the sums of a tile: parts of it
 * joined, ranges of taps passed on, the rest of the layer, stores.
 */
#ifndef KERNELS_SPCONV_OWN_FINISH_CUH
#define KERNELS_SPCONV_OWN_FINISH_CUH

#include <cuda_fp16.h>

#include "own_layer.h"
#include "own_ring.cuh"

struct OwnWork {
    struct own_plan plan;
    struct own_layer_io io;
    float *partial;   /* [rows][columns], splits > 1 */
    int *counters;    /* next unit, stored tiles of all ranges, blocks that have ended; all 0 */
    int channels;     /* of x */
    int columns;      /* of y */
    int blocks;       /* of columns */
    uint32_t inverse; /* of channels: k / channels is the upper half of k times it */
};

/* ---- results ---- */

/* Lane c of four has in v[b] what lane b had in v[c]. */
static __device__ __forceinline__ void transpose_quad(uint32_t (&v)[4])
{
    const bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
    const uint32_t a = __shfl_xor_sync(~0u, odd ? v[0] : v[1], 1);
    const uint32_t b = __shfl_xor_sync(~0u, odd ? v[2] : v[3], 1);
    (odd ? v[0] : v[1]) = a;
    (odd ? v[2] : v[3]) = b;
    const uint32_t c = __shfl_xor_sync(~0u, high ? v[0] : v[2], 2);
    const uint32_t d = __shfl_xor_sync(~0u, high ? v[1] : v[3], 2);
    (high ? v[0] : v[2]) = c;
    (high ? v[1] : v[3]) = d;
}

static __device__ __forceinline__ uint32_t half_pair(float a, float b)
{
    const half2 pair = __floats2half2_rn(a, b);
    return *(const uint32_t *)&pair;
}

/* Bias, residual and ReLU on one of the two rows of a lane: sum[4 j + 2 Upper], [+ 1] are
 * columns 8 j + lane % 4 * 2 of the block. */
template <int Columns, int Upper>
static __device__ __forceinline__ void finish_row(const OwnWork &p, float (&sum)[Columns / 2],
                                                  int row, int first_column)
{
    const int column = first_column + threadIdx.x % 4 * 2;
    const half2 *residual = (const half2 *)((const half *)p.io.residual +
                                             (size_t)row * p.io.residual_step + column);
#pragma unroll
    for (int j = 0; j < Columns / 8; j++) {
        float *v = &sum[4 * j + 2 * Upper];
        if (p.io.bias) {
            v[0] += __ldg(p.io.bias + column + 8 * j);
            v[1] += __ldg(p.io.bias + column + 8 * j + 1);
        }
        if (p.io.residual && row >= 0) {
            const float2 r = __half22float2(residual[4 * j]);
            v[0] += r.x;
            v[1] += r.y;
        }
        if (p.io.relu) {
            v[0] = fmaxf(v[0], 0);
            v[1] = fmaxf(v[1], 0);
        }
    }
}

/* Halves of v where those of y are above 0, else 0. */
static __device__ __forceinline__ uint32_t where_positive(uint32_t v, uint32_t y)
{
    return v & __hgt2_mask(*(const half2 *)&y, __floats2half2_rn(0, 0));
}

/* What is masked is read just before it is stored, in the places that are written. */
template <int Columns, int Upper, bool Masked>
static __device__ __forceinline__ void store_row(const OwnWork &p, const float (&sum)[Columns / 2],
                                                 int row, int first_column)
{
    constexpr int TOGETHER = Columns % 32 ? 2 : 4; /* blocks of eight columns */
    const int lane = threadIdx.x % 32, column = first_column + lane % 4 * (TOGETHER == 4 ? 8 : 2);
    const size_t at = (size_t)row * p.io.y_step + column;
    half *y = (half *)p.io.y + at;
    const half *mask = (const half *)p.io.mask + at;
#pragma unroll
    for (int j = 0; j < Columns / 8; j += TOGETHER) {
        uint32_t v[4];
#pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
            const float *two = &sum[4 * (j + i) + 2 * Upper];
            v[i] = half_pair(two[0], two[1]);
        }
        if constexpr (TOGETHER == 4)
            transpose_quad(v);
        if (row < 0)
            continue;
        if constexpr (Masked && TOGETHER == 4) {
            const uint4 kept = __ldg((const uint4 *)(mask + j * 8));
            v[0] = where_positive(v[0], kept.x);
            v[1] = where_positive(v[1], kept.y);
            v[2] = where_positive(v[2], kept.z);
            v[3] = where_positive(v[3], kept.w);
        } else if constexpr (Masked) {
            v[0] = where_positive(v[0], __ldg((const uint32_t *)(mask + j * 8)));
            v[1] = where_positive(v[1], __ldg((const uint32_t *)(mask + j * 8 + 8)));
        }
        if constexpr (TOGETHER == 4) {
            *(uint4 *)(y + j * 8) = make_uint4(v[0], v[1], v[2], v[3]);
        } else {
            *(uint32_t *)(y + j * 8) = v[0];
            *(uint32_t *)(y + j * 8 + 8) = v[1];
        }
    }
}

/* Adds what earlier ranges stored, or stores for later ones. */
template <int Columns, int Upper, bool Store>
static __device__ __forceinline__ void pass_row(const OwnWork &p, float (&sum)[Columns / 2],
                                                int row, int first_column)
{
    if (row < 0)
        return;
    float2 *at = (float2 *)(p.partial + (size_t)row * p.columns + first_column +
                            threadIdx.x % 4 * 2);
#pragma unroll
    for (int j = 0; j < Columns / 8; j++) {
        float *v = &sum[4 * j + 2 * Upper];
        if (Store) {
            __stcg(at + 4 * j, make_float2(v[0], v[1]));
        } else {
            const float2 before = __ldcg(at + 4 * j);
            v[0] += before.x;
            v[1] += before.y;
        }
    }
}

template <int Columns, bool Masked>
static __device__ __forceinline__ void finish_tile(const OwnWork &p, float (&sum)[Columns / 2],
                                                   int tile, int block, int row0, int row1,
                                                   int warpgroup)
{
    const int split = p.plan.splits == 1 ? 0 : tile / p.plan.tiles, first_column = block * Columns;
    int *stored = p.counters + 1;
    if (split) {
        if (threadIdx.x % 128 == 0)
            while (flag_get(stored) < split * __ldg(p.plan.count + 1) * p.blocks * 2)
                ;
        own_sync<128>(1 + warpgroup);
        pass_row<Columns, 0, false>(p, sum, row0, first_column);
        pass_row<Columns, 1, false>(p, sum, row1, first_column);
    }
    if (split + 1 < p.plan.splits) {
        pass_row<Columns, 0, true>(p, sum, row0, first_column);
        pass_row<Columns, 1, true>(p, sum, row1, first_column);
        __threadfence();
        own_sync<128>(1 + warpgroup);
        if (threadIdx.x % 128 == 0)
            atomicAdd(stored, 1);
    } else {
        if (p.io.bias || p.io.residual || p.io.relu) {
            finish_row<Columns, 0>(p, sum, row0, first_column);
            finish_row<Columns, 1>(p, sum, row1, first_column);
        }
        store_row<Columns, 0, Masked>(p, sum, row0, first_column);
        store_row<Columns, 1, Masked>(p, sum, row1, first_column);
    }
}

/* ---- parts of a tile ---- */

/* Where a thread's sums of a tile's parts are: those of columns 8 j ... at [j * 128], of the next
 * part `step` further; and how many have come. */
struct OwnSums {
    float4 *first;
    size_t step;
    int *arrived;
    int mine, parts;
};

template <int Columns>
static __device__ __forceinline__ OwnSums own_sums(const OwnWork &p, int number, int block,
                                                   int warpgroup)
{
    OwnSums s;
    const int slot = number >> OWN_SLOT, part = block * 2 + warpgroup;
    s.mine = number & ((1 << OWN_PARTS) - 1);
    s.parts = number >> OWN_PARTS & ((1 << (OWN_SLOT - OWN_PARTS)) - 1);
    s.step = (size_t)p.blocks * 2 * (Columns / 8) * 128;
    s.first = (float4 *)p.plan.sums + slot * s.step + (size_t)part * (Columns / 8) * 128 +
              threadIdx.x % 128;
    s.arrived = p.plan.arrived + slot * p.blocks * 2 + part;
    return s;
}

template <int Columns>
static __device__ __forceinline__ void store_sums(const OwnSums &s,
                                                  const float (&sum)[Columns / 2], int warpgroup)
{
    float4 *slot = s.first + s.mine * s.step;
#pragma unroll
    for (int j = 0; j < Columns / 8; j++)
        __stcg(slot + j * 128, make_float4(sum[4 * j], sum[4 * j + 1], sum[4 * j + 2],
                                           sum[4 * j + 3]));
    __threadfence();
    own_sync<128>(1 + warpgroup);
    if (threadIdx.x % 128 == 0)
        atomicAdd(s.arrived, 1);
}

static __device__ __forceinline__ void await_sums(const OwnSums &s, int count, int warpgroup)
{
    if (threadIdx.x % 128 == 0)
        while (flag_get(s.arrived) < count)
            ;
    own_sync<128>(1 + warpgroup);
}

/* Parts in turns: all but the last store their sums, the last waits for them and adds them.  They
 * are taken in order, so it waits only for what blocks that are running have.  true: sum is that
 * of the tile. */
template <int Columns>
static __device__ __forceinline__ bool own_join(const OwnWork &p, float (&sum)[Columns / 2],
                                                int number, int block, int warpgroup)
{
    const OwnSums s = own_sums<Columns>(p, number, block, warpgroup);
    if (s.parts == 1)
        return true;
    if (s.mine + 1 < s.parts) {
        store_sums<Columns>(s, sum, warpgroup);
        return false;
    }
    await_sums(s, s.parts - 1, warpgroup);
    if (threadIdx.x % 128 == 0)
        *s.arrived = 0; /* for the next launch */
    for (int k = s.parts - 2; k >= 0; k--)
#pragma unroll
        for (int j = 0; j < Columns / 8; j++) {
            const float4 v = __ldcg(s.first + k * s.step + j * 128);
            sum[4 * j] += v.x;
            sum[4 * j + 1] += v.y;
            sum[4 * j + 2] += v.z;
            sum[4 * j + 3] += v.w;
        }
    return true;
}

/* Two columns of a row to their place. */
template <bool Masked>
static __device__ __forceinline__ void finish_pair(const OwnWork &p, float x, float y, int row,
                                                   int column)
{
    if (row < 0)
        return;
    if (p.io.bias) {
        x += __ldg(p.io.bias + column);
        y += __ldg(p.io.bias + column + 1);
    }
    if (p.io.residual) {
        const float2 r = __half22float2(*(const half2 *)(
            (const half *)p.io.residual + (size_t)row * p.io.residual_step + column));
        x += r.x;
        y += r.y;
    }
    if (p.io.relu) {
        x = fmaxf(x, 0);
        y = fmaxf(y, 0);
    }
    uint32_t v = half_pair(x, y);
    const size_t at = (size_t)row * p.io.y_step + column;
    if constexpr (Masked)
        v = where_positive(v, __ldg((const uint32_t *)((const half *)p.io.mask + at)));
    *(uint32_t *)((half *)p.io.y + at) = v;
}

/* All parts at once: each stores its sums, waits for all others and joins a share of the columns,
 * in the order of own_join. */
template <int Columns, bool Masked>
static __device__ __forceinline__ void own_share(const OwnWork &p, float (&sum)[Columns / 2],
                                                 int number, int block, int row0, int row1,
                                                 int warpgroup)
{
    const OwnSums s = own_sums<Columns>(p, number, block, warpgroup);
    store_sums<Columns>(s, sum, warpgroup);
    await_sums(s, s.parts, warpgroup);
    const int from = s.mine * (Columns / 8) / s.parts, to = (s.mine + 1) * (Columns / 8) / s.parts;
    for (int j = from; j < to; j++) {
        const float4 *at = s.first + (s.parts - 1) * s.step + j * 128;
        float4 v = __ldcg(at);
#pragma unroll 4
        for (int k = s.parts - 2; k >= 0; k--) {
            const float4 more = __ldcg(at -= s.step);
            v.x += more.x;
            v.y += more.y;
            v.z += more.z;
            v.w += more.w;
        }
        const int column = block * Columns + j * 8 + threadIdx.x % 4 * 2;
        finish_pair<Masked>(p, v.x, v.y, row0, column);
        finish_pair<Masked>(p, v.z, v.w, row1, column);
    }
    /* the last to leave clears the count for the next launch */
    if (threadIdx.x % 128 == 0 && atomicAdd(s.arrived, 1) == 2 * s.parts - 1)
        *s.arrived = 0;
}

#endif
