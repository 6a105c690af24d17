/*
 * w4a16_few.cuh - what the kernels for few tokens share: products of strips of W with X, sums, Y.
 *
 * The product is taken transposed: 16 output channels are the rows of an mma's A tile and 8 tokens
 * its columns.  Codes enter it as they are, as halves too small to be normal (dequant.h), and a
 * group's products are added up apart, then scaled in float, which costs tokens/16 of what scaling
 * the weights would and rounds nothing to half.  What the zero takes away is the same for all codes
 * of a group and channel: zero times the sum of X, which one more product gives for all strips of a
 * warp.
 */
#ifndef KERNELS_GEMM_W4A16_FEW_CUH
#define KERNELS_GEMM_W4A16_FEW_CUH

#include "mma.cuh"
#include "w4a16_dequant.cuh"
#include "w4a16_shapes.h"

/* Arrives at the barrier when the thread's copies so far have come. */
static __device__ __forceinline__ void copy_arrive(uint32_t barrier)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

/* ---- products ---- */

/* 2^-24 sum of X over the steps, for the lane's tokens. */
template <int Tiles, int Steps>
static __device__ __forceinline__ void add_x(const uint32_t (&x)[Tiles][Steps / 2][4],
                                             float (&sum)[Tiles][4])
{
    const uint32_t ones[4] = { 0x00010001, 0x00010001, 0x00010001, 0x00010001 };
    float part[2][Tiles][4] = {};
#pragma unroll
    for (int step = 0; step < Steps; step++)
#pragma unroll
        for (int tile = 0; tile < Tiles; tile++) {
            const uint32_t *b = x[tile][step / 2] + step % 2 * 2;
            mma(part[step % 2][tile], ones, b[0], b[1]);
        }
#pragma unroll
    for (int tile = 0; tile < Tiles; tile++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            sum[tile][e] = part[0][tile][e] + part[1][tile][e];
}

/* Words of a strip to A fragments of 2^-24 code, and 2^-20 code for channels r+8. */
static __device__ __forceinline__ void least_weights(uint32_t word, uint32_t (&a)[4])
{
#pragma unroll
    for (int t = 0; t < 4; t++)
        a[t] = dequant_u4_least(word, t);
}

/* sum += scale * (codes - zeros) * X for Count strips, two or one, over one group, or half of
 * one; x as ldmatrix gives it, four words for each two steps.  Least: codes become
 * the least halves, and zeros * X, from the sum of X, is subtracted in float. */
template <int Tiles, int Steps, bool Least, bool Symmetric, class Stages, int Count = W4_PAIR>
static __device__ __forceinline__ void multiply_pair(const unsigned char *pair, int lane, int half,
                                                     const uint32_t (&x)[Tiles][Steps / 2][4],
                                                     const float (&x_sum)[Tiles][4],
                                                     float (*sum)[Tiles][4])
{
    constexpr int STRIP = W4_CODES + W4_SCALES + (Symmetric ? 0 : W4_ZEROS);
    /* products that do not wait for each other: four */
    constexpr int CHAINS = Tiles == 1 ? 2 : 1, TOGETHER = Tiles > 2 ? 1 : Count;
#pragma unroll
    for (int first = 0; first < Count; first += TOGETHER) {
        uint32_t word[TOGETHER][Steps];
        half2 scale[TOGETHER];
        W4Zeros zeros[TOGETHER];
        float part[TOGETHER][CHAINS][Tiles][4] = {};
#pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
            const unsigned char *strip = pair + (first + i) * STRIP;
#pragma unroll
            for (int j = 0; j < Steps / 4; j++) {
                const uint4 v = ((const uint4 *)strip)[(half + j) * 32 + lane];
                word[i][j * 4] = v.x, word[i][j * 4 + 1] = v.y;
                word[i][j * 4 + 2] = v.z, word[i][j * 4 + 3] = v.w;
            }
            scale[i] = *(const half2 *)(strip + W4_CODES + lane / 4 * 4);
            if constexpr (Least) {
                const uint32_t z =
                    Symmetric ? 0x8008
                              : *(const uint16_t *)(strip + W4_CODES + W4_SCALES + lane / 4 * 2);
                zeros[i] = { z & 0xff, z >> 8 };
            } else {
                zeros[i] = load_zeros<Symmetric>(strip, lane / 4);
            }
            if constexpr (!Stages::DEQUANT)
                word[i][0] ^= zeros[i].even ^ zeros[i].odd; /* or nothing would load them */
        }
#pragma unroll
        for (int step = 0; step < Steps; step++)
#pragma unroll
            for (int i = 0; i < TOGETHER; i++) {
                uint32_t a[4];
                if constexpr (Least && Stages::DEQUANT)
                    least_weights(word[i][step], a);
                else
                    weights<Stages>(word[i][step], zeros[i], a);
#pragma unroll
                for (int tile = 0; tile < Tiles; tile++) {
                    const uint32_t *b = x[tile][step / 2] + step % 2 * 2;
                    if constexpr (Stages::MMA)
                        mma(part[i][step % CHAINS][tile], a, b[0], b[1]);
                    else
                        fold(part[i][0][tile][0], b[0] ^ b[1]);
                }
                if constexpr (!Stages::MMA)
                    fold(part[i][0][0], a);
            }
#pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
            float2 s = __half22float2(scale[i]);
            if constexpr (Least)
                s.x *= 1 << 24, s.y *= 1 << 20;
#pragma unroll
            for (int tile = 0; tile < Tiles; tile++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    float v = part[i][0][tile][e];
                    if constexpr (CHAINS == 2)
                        v += part[i][1][tile][e];
                    if constexpr (Least)
                        v = fmaf(-(float)(e < 2 ? zeros[i].even : zeros[i].odd), x_sum[tile][e],
                                 v);
                    sum[first + i][tile][e] = fmaf(e < 2 ? s.x : s.y, v, sum[first + i][tile][e]);
                }
        }
    }
}

/* X fragments of Steps steps, from the lane's row on. */
template <int Tiles, int Steps>
static __device__ __forceinline__ void load_x(const unsigned char *row,
                                              uint32_t (&f)[Tiles][Steps / 2][4])
{
#pragma unroll
    for (int tile = 0; tile < Tiles; tile++)
#pragma unroll
        for (int i = 0; i < Steps / 2; i++)
            ldmatrix(f[tile][i], row + tile * 8 * W4_X_STRIDE + i * 64);
}

/* ---- sums and Y ---- */

static __device__ __forceinline__ float4 plus(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

/* Of an 8x8 matrix of halves, lane l has elements (l/4, l%4*2 ..+1), and gets
 * those of the transposed one. */
static __device__ __forceinline__ uint32_t transpose(half2 v)
{
    uint32_t t;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(t) : "r"(bits_of(v)));
    return t;
}

/* A fragment of 16 channels by 8 tokens to Y, from its first channel and token on. */
static __device__ __forceinline__ void store_fragment(half *y, int n, int channel, int token,
                                                      int tokens, int lane, float4 v)
{
    const uint32_t low = transpose(__floats2half2_rn(v.x, v.y)); /* channels .. + 7 */
    const uint32_t high = transpose(__floats2half2_rn(v.z, v.w));
    half *to = y + (size_t)(token + lane / 4) * n + channel + lane % 4 * 2;
    if (token + lane / 4 >= tokens)
        return;
    if (channel < n) /* n is a multiple of 8 */
        *(uint32_t *)to = low;
    if (channel + 8 < n)
        *(uint32_t *)(to + 8) = high;
}

#endif
