/*
 * own_finish.cuh - what own.cuh works on, and what it does with the sums of a tile: parts of it
 * joined, ranges of taps passed on, the rest of the layer, stores.
 */
#ifndef KERNELS_SPCONV_OWN_FINISH_CUH
#define KERNELS_SPCONV_OWN_FINISH_CUH

#include <cuda_fp16.h>

#include "own_layer.h"
#include "own_parts.h"
#include "own_ring.cuh"

struct OwnWork {
    struct own_plan plan;
    struct own_layer_io io;
    float *partial;  /* [rows][columns], splits > 1 */
    int *counters;   /* next unit, stored units of all ranges, blocks that have ended; all 0 */
    int channels;    /* of x */
    int columns;     /* of y */
    int blocks;      /* of columns */
    struct own_parts parts; /* of Tune::PARTS only */
    float *slots;    /* sums of parts, in the registers' order */
    int *arrived;    /* [slots][blocks][2] parts whose sums are there; all 0 */
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

template <int Columns, int Upper>
static __device__ __forceinline__ void store_row(const OwnWork &p, const float (&sum)[Columns / 2],
                                                 int row, int first_column)
{
    constexpr int TOGETHER = Columns % 32 ? 2 : 4; /* blocks of eight columns */
    const int lane = threadIdx.x % 32;
    half *y = (half *)p.io.y + (size_t)row * p.io.y_step + first_column + lane % 4 * (TOGETHER == 4 ? 8 : 2);
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

template <int Columns>
static __device__ __forceinline__ void finish_unit(const OwnWork &p, float (&sum)[Columns / 2],
                                                   int unit, int row0, int row1, int warpgroup)
{
    const int split = unit / p.blocks / p.plan.tiles, first_column = unit % p.blocks * Columns;
    int *stored = p.counters + 1;
    if (split) {
        if (threadIdx.x % 128 == 0)
            while (flag_get(stored) < split * p.plan.tiles * p.blocks * 2)
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
        store_row<Columns, 0>(p, sum, row0, first_column);
        store_row<Columns, 1>(p, sum, row1, first_column);
    }
}

/* Sums of a tile's parts: all but the last store theirs, the last waits for them and adds them in
 * order.  Parts are taken in order, so it waits only for blocks that are running.  true: sum is
 * that of the tile. */
template <int Columns>
static __device__ __forceinline__ bool own_join(const OwnWork &p, float (&sum)[Columns / 2],
                                                int4 part, int block, int warpgroup)
{
    const int mine = part.z & 0xff, parts = part.z >> 8;
    if (parts == 1)
        return true;
    const size_t step = (size_t)p.blocks * 2 * (Columns / 8) * 128;
    float4 *slot = (float4 *)p.slots + part.w * step +
                   (size_t)(block * 2 + warpgroup) * (Columns / 8) * 128 + threadIdx.x % 128;
    int *arrived = p.arrived + (part.w * p.blocks + block) * 2 + warpgroup;
    if (mine + 1 < parts) {
        slot += mine * step;
#pragma unroll
        for (int j = 0; j < Columns / 8; j++)
            __stcg(slot + j * 128, make_float4(sum[4 * j], sum[4 * j + 1], sum[4 * j + 2],
                                               sum[4 * j + 3]));
        __threadfence();
        own_sync<128>(1 + warpgroup);
        if (threadIdx.x % 128 == 0)
            atomicAdd(arrived, 1);
        return false;
    }
    if (threadIdx.x % 128 == 0) {
        while (flag_get(arrived) < parts - 1)
            ;
        *arrived = 0; /* for the next launch */
    }
    own_sync<128>(1 + warpgroup);
    for (int k = parts - 2; k >= 0; k--)
#pragma unroll
        for (int j = 0; j < Columns / 8; j++) {
            const float4 v = __ldcg(slot + k * step + j * 128);
            sum[4 * j] += v.x;
            sum[4 * j + 1] += v.y;
            sum[4 * j + 2] += v.z;
            sum[4 * j + 3] += v.w;
        }
    return true;
}

#endif
