/*
 * heads.h - which heads of a token a warp of heads.cuh takes, and what its lanes compute: plain
 * C, the same bits on host and device.
 *
 * A group of lanes takes a head, so a warp several at a time, which are a unit: 32 / lanes heads
 * that follow one another, queries first, then keys, then values.  A warp takes `each` units of
 * one token, as far apart as the token has warps, and asks for all of them at once; so none has
 * two of keys and values, which take longest, as long as there are as many queries.
 *
 *   heads 32, kv_heads 8, head_dim 128, each 2
 *
 *   unit    0  1  2  3  4  5  6  7 | 8  9 | 10 11
 *           queries                | keys | values
 *   warp    0  1  2  3  4  5  0  1   2  3    4  5
 */
#ifndef KERNELS_QUANT_HEADS_H
#define KERNELS_QUANT_HEADS_H

#include "../attn/page.h"
#include "quant.h"
#include "quotient.h"
#include "shape.h"

/* ---- which units ---- */

enum { HEADS_EACH_MAX = 2, HEADS_WARPS_MAX = 8 };

/* Lanes of a head: each has 8 channels and the 8 that turn with them. */
HD int heads_lanes(int head_dim)
{
    return head_dim <= 64 ? 4 : head_dim <= 128 ? 8 : 16;
}

/* Queries, keys and values. */
HD int heads_all(const struct quant_problem *p)
{
    return p->heads + 2 * p->kv_heads;
}

/* Warps of so many heads of a token; the last unit may have fewer. */
HD int heads_warps(const struct quant_problem *p, int heads, int each)
{
    const int of_warp = 32 / heads_lanes(p->head_dim) * each;
    return (heads + of_warp - 1) / of_warp;
}

/* Of blocks of up to `most` warps, as even as they come. */
static inline struct quant_shape heads_shape(const struct quant_problem *p, int heads, int each,
                                             int most)
{
    struct quant_shape s = { each, 0, 0, QUANT_HEADS };
    if (each < 1 || each > HEADS_EACH_MAX || most < 1 || most > HEADS_WARPS_MAX)
        return s;
    const int warps = heads_warps(p, heads, each);
    s.blocks = (warps + most - 1) / most;
    s.threads = (warps + s.blocks - 1) / s.blocks * 32;
    return s;
}

/* The shape of so many tokens, by the tokens of quant_tokens: units a warp and warps a block, 28
 * for 2 and 8; chosen as those of rows are, by 8 and 32 heads of keys together. */
static inline struct quant_shape heads_shape_of(const struct quant_problem *p, int heads)
{
    static const int choice[QUANT_TOKENS] = { 12, 12, 14, 28, 14, 14 };
    const int c = choice[quant_tokens_at(p->m)];
    return heads_shape(p, heads, c / 10, c % 10);
}

/* ---- quotients of numbers below 2^31 by one that is known before ---- */

struct heads_divisor {
    uint32_t factor; /* 2^shift / divisor, rounded up: an error below 2^(shift - 31) */
    int shift;
};

static inline struct heads_divisor heads_divisor_of(int divisor)
{
    struct heads_divisor d = { 0, 31 };
    while (divisor > 1 && d.shift < 62 && (int64_t)1 << (d.shift - 31) < divisor)
        d.shift++;
    d.factor = (uint32_t)(((uint64_t)1 << d.shift) / (uint64_t)divisor + 1);
    return d;
}

HD int heads_divide(int n, struct heads_divisor d)
{
    return (int)((uint64_t)(uint32_t)n * d.factor >> d.shift);
}

/* ---- smallest and largest of halves, two a word ---- */

#ifdef __CUDA_ARCH__
static __device__ __forceinline__ uint32_t heads_least(uint32_t a, uint32_t b)
{
    uint32_t least;
    asm("min.f16x2 %0, %1, %2;" : "=r"(least) : "r"(a), "r"(b));
    return least;
}
static __device__ __forceinline__ uint32_t heads_most(uint32_t a, uint32_t b)
{
    uint32_t most;
    asm("max.f16x2 %0, %1, %2;" : "=r"(most) : "r"(a), "r"(b));
    return most;
}
#else
static inline uint32_t heads_choose(uint32_t a, uint32_t b, int most)
{
    uint32_t to = 0;
    for (int i = 0; i < 32; i += 16) {
        const half_bits x = (half_bits)(a >> i), y = (half_bits)(b >> i);
        to |= (uint32_t)((half_to_float(x) < half_to_float(y)) == most ? y : x) << i;
    }
    return to;
}
static inline uint32_t heads_least(uint32_t a, uint32_t b)
{
    return heads_choose(a, b, 0);
}
static inline uint32_t heads_most(uint32_t a, uint32_t b)
{
    return heads_choose(a, b, 1);
}
#endif

/* What a lane without values has for ends: infinite, in both halves. */
#define HEADS_NO_ENDS 0x7C007C00u

/* Ends of 16 halves: the smallest below, the largest with its sign changed above, so that of two
 * lanes' ends the smaller of each are the ends of both. */
HD uint32_t heads_ends(const uint32_t w[8])
{
    uint32_t low = w[0], high = w[0];
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
    for (int i = 1; i < 8; i++) {
        low = heads_least(low, w[i]);
        high = heads_most(high, w[i]);
    }
    high ^= 0x80008000u;
    return heads_least((low & 0xffffu) | high << 16, low >> 16 | (high & 0xffff0000u));
}

/* ---- the row of a head ---- */

HD half_bits heads_half(float f)
{
#ifdef __CUDA_ARCH__
    half_bits h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
#else
    return half_from_float(f);
#endif
}

HD float heads_float(half_bits h)
{
#ifdef __CUDA_ARCH__
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
#else
    return half_to_float(h);
#endif
}

/* attn_row_of, to the bit; one: 1 / levels. */
HD struct attn_row heads_row_of(float low, float high, float levels, float one)
{
    const float size = fmaxf(fabsf(low), fabsf(high));
    const float least = fmaxf(size * 0x1p-15f, 0x1p-14f);
    const float range = fmaxf(high - low, levels * least);
    struct attn_row row;
    row.inverse = quant_quotient(levels, range, quant_reciprocal(range));
    row.scale = heads_half(quant_quotient(range, levels, one));
    row.zero = heads_half(fmaf(-low, row.inverse, 0));
    row.shift = heads_float(row.zero);
    return row;
}

/* ---- codes ---- */

/*
 * The code of x in the low bits, not yet kept below the next power of two: inverse and shift are
 * those of the row over `top`, 16 or 256, so that clamping to 0 .. 1, which costs nothing, is
 * clamping to 0 .. top; multiplying by a power of two rounds nothing, and adding 1.5 2^23 leaves
 * the integer in the low bits, rounded to nearest even.
 */
HD uint32_t heads_code(float x, float inverse, float shift, float top)
{
    const float part = fmaf(x, inverse, shift);
#ifdef __CUDA_ARCH__
    return __float_as_uint(fmaf(__saturatef(part), top, 12582912.0f));
#else
    return half_float_bits(fmaf(fminf(fmaxf(part, 0), 1), top, 12582912.0f));
#endif
}

/* Two codes in the halves of a word, none above the largest. */
HD uint32_t heads_pair(uint32_t a, uint32_t b, uint32_t largest)
{
#ifdef __CUDA_ARCH__
    return __vminu2(__byte_perm(a, b, 0x5410), largest * 0x10001);
#else
    a &= 0xffff, b &= 0xffff;
    return (a < largest ? a : largest) | (b < largest ? b : largest) << 16;
#endif
}

/* 8 codes of 4 bits: the first in the lowest.  c as heads_code has them. */
HD uint32_t heads_nibbles(const uint32_t c[8])
{
    return heads_pair(c[0], c[4], 15) + (heads_pair(c[1], c[5], 15) << 4) +
           (heads_pair(c[2], c[6], 15) << 8) + (heads_pair(c[3], c[7], 15) << 12);
}

/* 4 codes of 8 bits. */
HD uint32_t heads_bytes(const uint32_t c[4])
{
    const uint32_t low = heads_pair(c[0], c[1], 255), high = heads_pair(c[2], c[3], 255);
#ifdef __CUDA_ARCH__
    return __byte_perm(low, high, 0x6420);
#else
    return (low & 0xff) | (low >> 16) << 8 | (high & 0xff) << 16 | (high >> 16) << 24;
#endif
}

#endif
