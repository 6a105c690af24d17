/*
 * flash.cu - attention in tiles with a running maximum, parts of any length.
 *
 * What FlashAttention does for short sequences: scores and weights stay in registers, no matrix of
 * them is written.  A block takes an item, up to 32 queries of a part; warp h its head h, so that
 * the eight warps together read whole rows of keys and values, and those of one another from the
 * first-level cache.  Fragments are read from global memory directly: a head of a key is one
 * sector.  Keys go by in tiles of 48; a step of 16 behind the last key is left out.
 *
 *   scores  [32 queries][48 keys]   A queries in registers, B keys
 *   sums    [32 queries][16]        A weights: C of the scores is A of this product;
 *                                   B values, transposed in registers
 */
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "../attn/warp_mma.cuh"
#include "../common/warp.cuh"
#include "passes.h"

constexpr int C = ENCODER_CHANNELS, HEAD = ENCODER_HEAD, WARPS = ENCODER_HEADS;
constexpr int MATRICES = ENCODER_ITEM_ROWS / 16; /* rows of A */
constexpr int STEPS = 3, KEYS = 16 * STEPS;      /* steps of 16 keys of a tile */
static_assert(HEAD == 16, "a head is one step of the product");

/* Two halves of a row. */
static __device__ __forceinline__ uint32_t pair(const half *p)
{
    return __ldg((const uint32_t *)p);
}

static __device__ __forceinline__ uint32_t packed(float a, float b)
{
    const half2 h = __floats2half2_rn(a, b);
    return *(const uint32_t *)&h;
}

struct Rows {
    uint32_t query[MATRICES][4]; /* A */
    float sum[MATRICES][2][4];   /* C of dims 0-7 and 8-15 */
    float most[MATRICES][2], weight[MATRICES][2]; /* of rows r and r + 8 */
};

/* One tile, `left` > 0 keys from k and v on. */
static __device__ __forceinline__ void tile(Rows &a, const half *k, const half *v, int left,
                                            float unit, int r, int q)
{
    float score[MATRICES][2 * STEPS][4];
#pragma unroll
    for (int n = 0; n < 2 * STEPS; n++) {
        if (8 * n >= left) { /* the same for all lanes */
#pragma unroll
            for (int i = 0; i < 4 * MATRICES; i++)
                score[i / 4][n][i % 4] = -INFINITY;
            continue;
        }
        const half *row = k + (size_t)min(8 * n + r, left - 1) * (3 * C) + 2 * q;
        const uint32_t b0 = pair(row), b1 = pair(row + 8);
#pragma unroll
        for (int m = 0; m < MATRICES; m++) {
#pragma unroll
            for (int i = 0; i < 4; i++)
                score[m][n][i] = 0;
            mma(score[m][n], a.query[m], b0, b1);
#pragma unroll
            for (int i = 0; i < 4; i++)
                score[m][n][i] = 8 * n + 2 * q + i % 2 < left ? score[m][n][i] : -INFINITY;
        }
    }
#pragma unroll
    for (int m = 0; m < MATRICES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float high = a.most[m][h];
#pragma unroll
            for (int n = 0; n < 2 * STEPS; n++)
                high = fmaxf(high, fmaxf(score[m][n][2 * h], score[m][n][2 * h + 1]));
            high = fmaxf(high, __shfl_xor_sync(ALL_LANES, high, 1));
            high = fmaxf(high, __shfl_xor_sync(ALL_LANES, high, 2));
            const float by = exp2_approx((a.most[m][h] - high) * unit), shift = high * unit;
            float weight = 0;
#pragma unroll
            for (int n = 0; n < 2 * STEPS; n++)
#pragma unroll
                for (int i = 2 * h; i < 2 * h + 2; i++) {
                    score[m][n][i] = exp2_approx(score[m][n][i] * unit - shift);
                    weight += score[m][n][i];
                }
            a.most[m][h] = high;
            a.weight[m][h] = a.weight[m][h] * by + weight;
#pragma unroll
            for (int i = 2 * h; i < 2 * h + 2; i++) {
                a.sum[m][0][i] *= by;
                a.sum[m][1][i] *= by;
            }
        }
#pragma unroll
    for (int t = 0; t < STEPS; t++) {
        if (16 * t >= left)
            continue;
        const half *low = v + (size_t)min(16 * t + r, left - 1) * (3 * C) + 2 * q;
        const half *high = v + (size_t)min(16 * t + 8 + r, left - 1) * (3 * C) + 2 * q;
        uint32_t b[2][2]; /* [dims 0-7, 8-15][keys 0-7, 8-15] */
#pragma unroll
        for (int d = 0; d < 2; d++) {
            b[d][0] = transpose(pair(low + 8 * d));
            b[d][1] = transpose(pair(high + 8 * d));
        }
#pragma unroll
        for (int m = 0; m < MATRICES; m++) {
            const float *const s0 = score[m][2 * t], *const s1 = score[m][2 * t + 1];
            const uint32_t p[4] = { packed(s0[0], s0[1]), packed(s0[2], s0[3]),
                                    packed(s1[0], s1[1]), packed(s1[2], s1[3]) };
            mma(a.sum[m][0], p, b[0][0], b[0][1]);
            mma(a.sum[m][1], p, b[1][0], b[1][1]);
        }
    }
}

static __global__ void __launch_bounds__(WARPS * WARP)
    flash(const struct encoder_item *items, const half *qkv, half *o)
{
    const struct encoder_item item = items[blockIdx.x];
    const int lane = threadIdx.x % WARP, r = lane / 4, q = lane % 4;
    const half *const head = qkv + threadIdx.x / WARP * HEAD;
    const half *const k = head + (size_t)item.key * (3 * C) + C, *const v = k + C;
    const float unit = 1.4426950408889634f / 4; /* scores over the root of 16, base 2 */
    Rows a;
#pragma unroll
    for (int m = 0; m < MATRICES; m++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = min(16 * m + r + i % 2 * 8, item.queries - 1);
            a.query[m][i] = pair(head + (size_t)(item.query + row) * (3 * C) + 2 * q + i / 2 * 8);
            a.sum[m][0][i] = a.sum[m][1][i] = 0;
        }
        a.most[m][0] = a.most[m][1] = -INFINITY;
        a.weight[m][0] = a.weight[m][1] = 0;
    }
    for (int first = 0; first < item.keys; first += KEYS)
        tile(a, k + (size_t)first * (3 * C), v + (size_t)first * (3 * C), item.keys - first, unit,
             r, q);
#pragma unroll
    for (int m = 0; m < MATRICES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float weight = a.weight[m][h];
            weight += __shfl_xor_sync(ALL_LANES, weight, 1);
            weight += __shfl_xor_sync(ALL_LANES, weight, 2);
            const int row = 16 * m + r + 8 * h;
            if (row >= item.queries)
                continue;
            const float by = 1 / weight;
            half *const to =
                o + (size_t)(item.query + row) * C + threadIdx.x / WARP * HEAD + 2 * q;
            *(uint32_t *)to = packed(a.sum[m][0][2 * h] * by, a.sum[m][0][2 * h + 1] * by);
            *(uint32_t *)(to + 8) = packed(a.sum[m][1][2 * h] * by, a.sum[m][1][2 * h + 1] * by);
        }
}

OP_BEGIN
enum op_status encoder_pass_flash(int items, const struct encoder_item *item, const void *qkv,
                                  void *o, op_stream s)
{
    flash<<<items, WARPS * WARP, 0, s>>>(item, (const half *)qkv, (half *)o);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}
OP_END
