/*
 * bound.h - how far a correct Y may lie from the reference of its scheme.
 *
 * Elementwise, with u = 2^-11 the unit roundoff of half, size the sum of the
 * products' absolute values and K their number:
 *
 *   |got - want| <= 4 (u max(|want|, 2^-14)      Y is stored in half
 *                      + sums
 *                      + u size / sqrt(K)        4 bits: every weight rounds to half
 *                      + 2 u zeros / sqrt(K))    4 bits, rounds_zero
 *
 *   sums   GEMM_ACC_F32   2^-24 sqrt(K) size
 *          GEMM_ACC_F16   2^-11 size
 *          GEMM_ACC_FP8   2^-14 size
 *
 * Weights.  Products p_i = x_i w_i whose factor w_i is off by e_i |w_i|, |e_i| <= u
 * and independent, add up to an error of deviation at most u/sqrt(3) |p|_2.  |p|_2
 * is r size / sqrt(K), r the ratio of a product's root mean square to its mean
 * absolute value: pi/2 for two normal factors.  So 4 u size / sqrt(K) is more
 * than four deviations in general and six of those that occur: the rounding of a
 * normal weight has deviation 0.41 u.
 *
 * Zeros.  A rounded scale * zero is common to the G weights of a group: its error
 * times the group's sum of x, K/G independent ones.  Their deviation is the one
 * of K independent errors of that size, but few groups have heavier tails, hence
 * the 2.
 *
 * Sums in half.  The partial sum of i products of random sign has size sqrt(i)
 * |p|_rms, each addition rounds it by 0.41 u; K of them add up to 0.41 u |p|_rms
 * K / sqrt(2) = 0.45 u size: 4 u size is nine deviations of the worst order of
 * summation, one after another; split sums have less.
 *
 * FP8 sums.  A tensor core aligns 32 products and the sum so far to the largest of
 * them and keeps 13 bits below it, without rounding: like a sum in a format of
 * unit roundoff 2^-14.
 *
 * Integers (GEMM_ACC_S32).  Sums of codes are exact; what is left is Y's rounding to
 * half, whose bound is its half unit, and up to four roundings in float on the way
 * there, of terms that size bounds:
 *
 *   |got - want| <= u max(|want|, 2^-14) + 2^-22 size
 *
 * size / |want| is about 3 sqrt(K) per channel, so that the second term is a tenth of
 * the first at K = 4096: one 4-bit code that is off by one shows.
 *
 * With K = 4096, normal operands and 4 bits a single wrong code is off by five
 * steps of the scale in the mean, times |x|; the bound lies at half a step to one.
 */
#ifndef KERNELS_GEMM_BOUND_H
#define KERNELS_GEMM_BOUND_H

#include <math.h>

#include "gemm.h"

static inline double gemm_bound_sums(enum gemm_accumulate a, double k, double size)
{
    return size * (a == GEMM_ACC_F16   ? 0x1p-11
                   : a == GEMM_ACC_FP8 ? 0x1p-14
                   : a == GEMM_ACC_S32 ? 0x1p-22
                                       : 0x1p-24 * sqrt(k));
}

static inline int gemm_is_w4(enum gemm_scheme s)
{
    return s == GEMM_W4A16 || s == GEMM_W4A16_SYM;
}

/* Schemes whose k is cut into groups of p->group. */
static inline int gemm_has_groups(enum gemm_scheme s)
{
    return gemm_is_w4(s) || s == GEMM_W4A8_GROUP || s == GEMM_W4A4_GROUP;
}

/* Schemes of integer codes on both sides. */
static inline int gemm_is_int(enum gemm_scheme s)
{
    return s >= GEMM_W8A8;
}

/* What weights rounded to half add. */
static inline double gemm_bound_weights(const struct gemm_impl *i, double k, double size,
                                        double zeros)
{
    if (!gemm_is_w4(i->scheme))
        return 0;
    return 0x1p-11 * (size + (i->rounds_zero ? 2 * zeros : 0)) / sqrt(k);
}

/* zeros: 0 where the row does not round them.  size 0: nothing can round. */
static inline double gemm_bound(const struct gemm_impl *i, double k, double want, double size,
                                double zeros)
{
    const double stored = fabs(want) > 0x1p-14 ? fabs(want) : 0x1p-14;
    if (size == 0)
        return 0;
    if (i->accumulate == GEMM_ACC_S32)
        return 0x1p-11 * stored + gemm_bound_sums(i->accumulate, k, size);
    return 4 * (0x1p-11 * stored + gemm_bound_sums(i->accumulate, k, size) +
                gemm_bound_weights(i, k, size, zeros));
}

/*
 * Freivalds' sums add n elements of one row with random signs, independent of the
 * errors: those add up to a few times their root of squares (Hoeffding), which is
 * the sum of the bounds over sqrt(n) where elements are of one size.  A single
 * element that is wrong by its own size stands out.  got_size: the sum of |Y|.
 */
static inline double gemm_bound_freivalds(const struct gemm_impl *i, double k, double n,
                                          double got_size, double size, double zeros)
{
    return 4 / sqrt(n) *
           (0x1p-11 * got_size + n * 0x1p-25 + gemm_bound_sums(i->accumulate, k, size) +
            gemm_bound_weights(i, k, size, zeros));
}

/* Largest Frobenius error relative to the reference, over `elements` of Y.  Y and
 * weights in half give 2.0e-4 each; few elements may by chance all round far.  The
 * error of sums in half grows as the root of k (measured 2.4e-3 at 4096, 3.4e-3 at
 * 8192, 6.2e-3 at 28672): so does its limit from 8192 on. */
static inline double gemm_limit(const struct gemm_impl *i, double k, double elements)
{
    if (i->accumulate == GEMM_ACC_F16)
        return 5e-3 * sqrt(k > 8192 ? k / 8192 : 1);
    if (i->accumulate == GEMM_ACC_S32)
        return elements < 256 ? 5e-4 : 3e-4;
    /* a rounded zero of 8 steps alone gives 6e-4 */
    return i->accumulate == GEMM_ACC_FP8 || i->rounds_zero || elements < 256 ? 1e-3 : 4e-4;
}

#endif
