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
 * Integer codes, largest code T = 127 or (W4A4) 7, per token or output channel, or
 * (W4A4_GROUP) per group of one; nothing is clipped before.  a = max(max |.|, 1e-5):
 *
 *   X  scale = half(a / T)      code = rint(x T / a)       as QServe's own kernel has it
 *   W  scale = half(a / T)      code = clamp(rint(w / scale), -T, T)
 *
 * W4A8_CHANNEL as the 4 bits above with the whole channel for a group, 0 counted
 * among its weights, so that the zero point needs no clamp.
 *
 * W4A8_GROUP, progressive (QServe, arXiv 2405.04532, section 4.1):
 *
 *   channel_scale = half(a / 119)      w8 = clamp(rint(w / channel_scale), -119, 119)
 *   of each group, low = min(w8, 0), high = max(w8, 0):
 *   scale = max(rint((high - low) / 15), 1)      zero = min(rint(-low / scale), 15)
 *   code  = clamp(rint(w8 / scale) + zero, 0, 15)
 *
 * 119 is the protective range: scale is at most 16 then and (code - zero) * scale
 * half of that beyond 119, which 8 bits hold.  From 120 on it is not so.
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
 * order of the sum, so that those who add up in half must be exact too.  Larger K
 * are for those who add up in float: Y is then rounded, once.
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

/* ---- integer codes ---- */

enum { W8_TOP = 127, W4_TOP = 7, PROTECTED_TOP = 119 };

/* Signed codes of a scheme: the largest, and how many share a scale.  top 0: it has none. */
struct int_codes {
    int top, length;
};

HD struct int_codes int_codes_of(const struct gemm_problem *p, enum gemm_scheme scheme)
{
    const struct int_codes none = { 0, 1 };
    struct int_codes c = { W8_TOP, p->k };
    if (scheme == GEMM_W4A4_GROUP || scheme == GEMM_W4A4_CHANNEL)
        c.top = W4_TOP;
    if (scheme == GEMM_W4A4_GROUP)
        c.length = p->group;
    return scheme >= GEMM_W8A8 && c.length > 0 ? c : none;
}

HD float int_range(float largest)
{
    return largest > 1e-5f ? largest : 1e-5f;
}

HD half_bits int_scale(float largest, int top)
{
    return half_from_float(int_range(largest) / (float)top);
}

HD signed char int_x_code(float x, float largest, int top)
{
    return (signed char)rintf(x * ((float)top / int_range(largest)));
}

HD signed char int_w_code(float w, half_bits scale, int top)
{
    const float code = rintf(w / half_to_float(scale)), most = (float)top;
    return (signed char)(code < -most ? -most : code > most ? most : code);
}

/* The sum of halves has one value whatever its order: they are multiples of 2^-24. */
HD long long half_units(half_bits h)
{
    return (long long)(half_to_float(h) * 0x1p24f);
}

HD half_bits half_of_units(long long units)
{
    return half_from_float((float)((double)units * 0x1p-24));
}

/* Integer quotient to nearest, ties to even; b > 0. */
HD int rounded_quotient(int a, int b)
{
    return (int)rintf((float)a / (float)b); /* exact ties are exact in float */
}

/* Level 2 of a progressive group.  low <= 0 <= high: its smallest and largest w8. */
struct progressive_group {
    unsigned char scale, zero;
};

HD struct progressive_group progressive_group_of(int low, int high)
{
    struct progressive_group g;
    const int scale = rounded_quotient(high - low, 15);
    g.scale = (unsigned char)(scale > 1 ? scale : 1);
    const int zero = rounded_quotient(-low, g.scale);
    g.zero = (unsigned char)(zero > 15 ? 15 : zero); /* 16 and more where scale rounds down */
    return g;
}

HD unsigned char progressive_code(int w8, struct progressive_group g)
{
    const int code = rounded_quotient(w8, g.scale) + g.zero;
    return (unsigned char)(code < 0 ? 0 : code > 15 ? 15 : code);
}

/*
 * Halves that quantise without loss to codes low .. high of a scale that is a power
 * of two, for comparison to the bit: both ends occur in every row of `length`.
 * shifted: by a number from -15 to 0 of its own in each row.
 */
struct exact_row {
    int low, high;
    float scale;
};

HD struct exact_row exact_row_of(uint64_t seed, uint64_t row, int low, int high, int shifted)
{
    const uint32_t word = exact_word(~seed, row);
    const int shift = shifted ? (int)(word >> 28) : 0;
    struct exact_row r;
    r.low = low - shift;
    r.high = high - shift;
    r.scale = word & 1 ? 0x1p-6f : 0x1p-7f;
    return r;
}

HD half_bits exact_half(uint64_t seed, uint64_t row, uint64_t length, uint64_t at,
                        struct exact_row r)
{
    const uint64_t end = exact_word(seed ^ 0x5A5A5A5A, row) % length;
    const uint32_t span = (uint32_t)(r.high - r.low + 1);
    int code = r.low + (int)(exact_word(seed, row * length + at) % span);
    if (at == end)
        code = r.high;
    else if (at == (end + 1) % length)
        code = r.low;
    return half_from_float((float)code * r.scale);
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

/* ---- integer codes; arrays as gemm.h has them, OP_EINVAL where the scheme has none ---- */

/* Where the sums of X go; a NULL is left out. */
struct int_x_sums {
    void *sum;      /* half [m] */
    int *code_sum;  /* [m] */
    int *group_sum; /* [m][k/group] */
};

/* x half [m][k], w half [n][k] */
enum op_status gemm_quantise_int_x(const struct gemm_problem *p, enum gemm_scheme scheme,
                                   const void *x, signed char *code, void *scale,
                                   struct int_x_sums sums);
enum op_status gemm_quantise_int_w(const struct gemm_problem *p, enum gemm_scheme scheme,
                                   const void *w, signed char *code, void *scale);
enum op_status gemm_quantise_w4_channel(const struct gemm_problem *p, const void *w,
                                        unsigned char *code, void *scale, void *scaled_zero,
                                        unsigned char *zero);
enum op_status gemm_quantise_w4_progressive(const struct gemm_problem *p, const void *w,
                                            unsigned char *code, void *channel_scale,
                                            unsigned char *scale, unsigned char *zero);
enum op_status gemm_quantise_int_x_cuda(const struct gemm_problem *p, enum gemm_scheme scheme,
                                        const void *x, signed char *code, void *scale,
                                        struct int_x_sums sums, op_stream s);
enum op_status gemm_quantise_int_w_cuda(const struct gemm_problem *p, enum gemm_scheme scheme,
                                        const void *w, signed char *code, void *scale,
                                        op_stream s);
enum op_status gemm_quantise_w4_channel_cuda(const struct gemm_problem *p, const void *w,
                                             unsigned char *code, void *scale, void *scaled_zero,
                                             unsigned char *zero, op_stream s);
enum op_status gemm_quantise_w4_progressive_cuda(const struct gemm_problem *p, const void *w,
                                                 unsigned char *code, void *channel_scale,
                                                 unsigned char *scale, unsigned char *zero,
                                                 op_stream s);

/* Halves [rows][length] to quantise without loss, in place of X or W. */
enum op_status gemm_exact_rows(size_t rows, size_t length, int low, int high, int shifted,
                               uint64_t seed, void *to);
enum op_status gemm_exact_rows_cuda(size_t rows, size_t length, int low, int high, int shifted,
                                    uint64_t seed, void *to, op_stream s);

OP_END
#endif
