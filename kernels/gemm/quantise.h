/*
 * quantise.h - operands of the schemes of gemm, in plain order, from half ones.
 *
 * 4 bits, AWQ's form (arXiv 2306.00978), per group of input channels of one
 * output channel:
 *
 *   scale = half((max(max w - min w, 1e-5)) / 15)
 *   zero  = clamp(-rint(min w / scale), 0, 15)
 *   code  = clamp(rint(w / scale) + zero, 0, 15)
 *
 * with rint to nearest even.  The scale is rounded to half first, so that code
 * and zero fit the scale that is stored.  Symmetric: scale = half(max(|w|, 1e-5)
 * / 7), zero = 8: nothing is cut off, and code 0 stays unused.
 *
 * FP8: scale = max |.| / 448 over the tensor, 1 where all is 0; code = e4m3(x / scale).
 *
 * Functions ending in _cuda take device pointers and enqueue; the others work on
 * the host and give the same bits.
 */
#ifndef KERNELS_GEMM_QUANTISE_H
#define KERNELS_GEMM_QUANTISE_H

#include <math.h>

#include "../common/fp8.h"
#include "gemm.h"

struct w4_group {
    half_bits scale;
    unsigned char zero;
};

/* low and high: smallest and largest weight of the group. */
HD struct w4_group w4_group_of(float low, float high, int symmetric)
{
    const float largest = fabsf(low) > fabsf(high) ? fabsf(low) : fabsf(high);
    const float range = symmetric ? largest : high - low;
    struct w4_group g;
    g.scale = half_from_float((range > 1e-5f ? range : 1e-5f) / (symmetric ? 7.0f : 15.0f));
    g.zero = 8;
    if (!symmetric) {
        const float zero = -rintf(low / half_to_float(g.scale));
        g.zero = (unsigned char)(zero < 0 ? 0 : zero > 15 ? 15 : zero);
    }
    return g;
}

HD unsigned char w4_code(float w, struct w4_group g)
{
    const float code = rintf(w / half_to_float(g.scale)) + (float)g.zero;
    return (unsigned char)(code < 0 ? 0 : code > 15 ? 15 : code);
}

HD float fp8_scale_of(float largest)
{
    return largest > 0 ? largest / E4M3_MAX : 1.0f;
}

/*
 * Operands on which no implementation rounds, for comparison to the bit: X in
 * -1, 0, 1, half of them 0; any code and zero (both ends occur), scales 1/4 and
 * 1/2.  A product has deviation 1.8 or 7.3 steps of 1/4, a sum of K of them 7.3
 * sqrt(K): K to 2000 stays below the 2048 steps that half resolves, whatever the
 * order of the sum, so that those who add up in half must be exact too.
 */
HD uint32_t exact_word(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

HD float exact_x(uint64_t seed, uint64_t index)
{
    const uint32_t word = exact_word(seed, index);
    return word >> 31 ? 0.0f : word >> 30 & 1 ? 1.0f : -1.0f;
}

HD unsigned char exact_code(uint64_t seed, uint64_t index)
{
    return (unsigned char)(exact_word(seed, index) >> 28);
}

HD struct w4_group exact_group(uint64_t seed, uint64_t index, int symmetric)
{
    const uint32_t word = exact_word(~seed, index);
    struct w4_group g;
    g.scale = word & 1 ? 0x3800 : 0x3400;
    g.zero = symmetric ? 8 : (unsigned char)(word >> 28);
    return g;
}

OP_BEGIN

/* The 4-bit form of w, half [n][k], into arrays that the caller owns, sized as
 * gemm.h says.  OP_EINVAL if group does not divide k. */
enum op_status gemm_quantise_w4(const struct gemm_problem *p, const void *w, int symmetric,
                                unsigned char *code, void *scale, unsigned char *zero);
enum op_status gemm_quantise_w4_cuda(const struct gemm_problem *p, const void *w, int symmetric,
                                     unsigned char *code, void *scale, unsigned char *zero,
                                     op_stream s);
/* The exact ones instead. */
enum op_status gemm_exact_w4(const struct gemm_problem *p, uint64_t seed, int symmetric,
                             unsigned char *code, void *scale, unsigned char *zero);
enum op_status gemm_exact_w4_cuda(const struct gemm_problem *p, uint64_t seed, int symmetric,
                                  unsigned char *code, void *scale, unsigned char *zero,
                                  op_stream s);
enum op_status gemm_exact_x(size_t count, uint64_t seed, void *x);
enum op_status gemm_exact_x_cuda(size_t count, uint64_t seed, void *x, op_stream s);

/* e4m3 codes of count halves, and their scale (one float); unit: the scale is 1. */
enum op_status gemm_quantise_fp8(const void *from, size_t count, int unit, void *to, float *scale);
enum op_status gemm_quantise_fp8_cuda(const void *from, size_t count, int unit, void *to,
                                      float *scale, op_stream s);

OP_END
#endif
