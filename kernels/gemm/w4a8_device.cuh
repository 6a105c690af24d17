/*
 * w4a8_device.cuh - what our W4A8 kernels share on the device: operands, weights
 * from words, Y from sums.
 */
#ifndef KERNELS_GEMM_W4A8_DEVICE_CUH
#define KERNELS_GEMM_W4A8_DEVICE_CUH

#include <cuda_fp16.h>

#include "gemm.h"
#include "w4a8_layout.h"

struct W4A8Operands {
    const unsigned char *packed; /* codes, behind code_bytes scales */
    size_t code_bytes;
    const half *w_scale, *w_zero; /* [n]; w_zero: scaled, per channel only */
    const half *x_scale, *x_sum;  /* [m]; x_sum: per channel only */
    const int *code_sum;          /* [m]; per group only */
    half *y;
    int m, n, groups;
};

/* Host: of a problem, but for packed. */
static inline W4A8Operands w4a8_operands(const struct gemm_problem *p, const struct gemm_args *a,
                                         bool grouped)
{
    W4A8Operands o = {};
    o.w_scale = (const half *)(grouped ? a->w4_progressive.channel_scale : a->w4_channel.scale);
    o.w_zero = grouped ? NULL : (const half *)a->w4_channel.scaled_zero;
    o.x_scale = (const half *)a->int_x.scale;
    o.x_sum = (const half *)a->int_x.sum;
    o.code_sum = a->int_x.code_sum;
    o.y = (half *)a->y;
    o.m = p->m;
    o.n = p->n;
    o.groups = w4a8_div_up(p->k, W4A8_GROUP);
    o.code_bytes = w4a8_strips(p->n, p->k) * W4A8_CODES;
    return o;
}

/* Host: of the current device; 0: not known. */
static inline int w4a8_multiprocessors(void)
{
    int device, sms;
    return cudaGetDevice(&device) ||
                   cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device)
               ? 0
               : sms;
}

/* Which stages of the work a kernel does, for ablations. */
template <bool Load, bool Dequant, bool Mma> struct W4A8Stages {
    static constexpr bool LOAD = Load, DEQUANT = Dequant, MMA = Mma;
};
using W4A8Full = W4A8Stages<true, true, true>;
using W4A8NoDeq = W4A8Stages<true, false, true>;
using W4A8LoadOnly = W4A8Stages<true, false, false>;
using W4A8MmaOnly = W4A8Stages<false, false, true>;
using W4A8DeqOnly = W4A8Stages<false, true, false>;

/* ---- weights ---- */

/* What a lane needs to make weights of a group: of its strips' rows r and r+8. */
struct W4A8Scales {
    uint32_t scale[2], shift[2];
};

static __device__ __forceinline__ W4A8Scales scales_of(uint32_t word)
{
    return { { word & 0xff, word >> 16 & 0xff },
             { __byte_perm(word, 0, 0x1111), __byte_perm(word, 0, 0x3333) } };
}

/* Four bytes of row r, or high: r+8. */
template <bool Grouped>
static __device__ __forceinline__ uint32_t weights(uint32_t word, int high, const W4A8Scales &s)
{
    if constexpr (Grouped)
        return w4a8_shifted(high ? w4a8_high(word) : w4a8_low(word), s.scale[high], s.shift[high]);
    else
        return high ? w4a8_high_16(word) : w4a8_low(word);
}

/* ---- output ---- */

/* Of a token: scale, and per channel the sum of X, per group 128 times that of its codes. */
struct W4A8Token {
    float scale;
    uint32_t sum;
};

/* A token beyond the last is not written. */
template <bool Grouped>
static __device__ __forceinline__ W4A8Token load_token(const W4A8Operands &p, int token)
{
    W4A8Token t = { 0, 0 };
    if (token < p.m) {
        t.scale = __half2float(p.x_scale[token]);
        if constexpr (Grouped)
            t.sum = (uint32_t)p.code_sum[token] * 128;
        else
            t.sum = __float_as_uint(__half2float(p.x_sum[token]));
    }
    return t;
}

/* Of a channel: scale; per channel also what the sum of X is multiplied by. */
struct W4A8Channel {
    float scale, zero;
};

/* Its halves as they are in memory, zero in the upper one. */
template <bool Grouped>
static __device__ __forceinline__ uint32_t fetch_channel(const W4A8Operands &p, int channel)
{
    if (channel >= p.n)
        return 0;
    const uint32_t scale = ((const unsigned short *)p.w_scale)[channel];
    return Grouped ? scale
                   : scale | (uint32_t)((const unsigned short *)p.w_zero)[channel] << 16;
}

/* row8: of rows r+8, whose sums are 16 times too large per channel */
template <bool Grouped>
static __device__ __forceinline__ W4A8Channel channel_of(uint32_t halves, bool row8)
{
    W4A8Channel c = { __half2float(__ushort_as_half((unsigned short)halves)), 0 };
    if constexpr (!Grouped) {
        c.scale *= row8 ? 0.0625f : 1.0f;
        c.zero = __half2float(__ushort_as_half((unsigned short)(halves >> 16)));
    }
    return c;
}

/* Products of two halves are exact in float: one rounding, then that to half. */
template <bool Grouped>
static __device__ __forceinline__ float output_of(int sum, W4A8Channel c, W4A8Token t)
{
    if constexpr (Grouped)
        return (float)(sum - (int)t.sum) * (c.scale * t.scale);
    else
        return fmaf((float)sum, c.scale * t.scale, -c.zero * __uint_as_float(t.sum));
}

static __device__ __forceinline__ uint32_t half_pair(float a, float b)
{
    const half2 v = __floats2half2_rn(a, b);
    return *(const uint32_t *)&v;
}

/* Of an 8x8 matrix of halves, lane l has elements (l/4, l%4*2 ..+1), and gets those of
 * the transposed one. */
static __device__ __forceinline__ uint32_t transpose(uint32_t v)
{
    uint32_t t;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(t) : "r"(v));
    return t;
}

/* Sums of mma m16n8 of a strip by 8 tokens.  low, high: of channels lane/4 and lane/4 + 8;
 * t: of tokens lane%4*2 and the next. */
template <bool Grouped>
static __device__ __forceinline__ void store_strip(const W4A8Operands &p, int channel, int token,
                                                   int lane, int4 v, W4A8Channel low,
                                                   W4A8Channel high, const W4A8Token (&t)[2])
{
    const int row = token + lane / 4;
    const uint32_t pair[2] = { transpose(half_pair(output_of<Grouped>(v.x, low, t[0]),
                                                   output_of<Grouped>(v.y, low, t[1]))),
                               transpose(half_pair(output_of<Grouped>(v.z, high, t[0]),
                                                   output_of<Grouped>(v.w, high, t[1]))) };
    half *to = p.y + (size_t)row * p.n + channel + lane % 4 * 2;
    for (int i = 0; i < 2; i++)
        if (row < p.m && channel + 8 * i < p.n) /* n is a multiple of 8 */
            *(uint32_t *)(to + 8 * i) = pair[i];
}

#endif
