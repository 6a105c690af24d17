/*
 * bound.h - how far a correct result of a convolution may lie from it.
 *
 * As common/bound.h, with TF32: operands rounded to 11 bits shift a sum of products by at
 * most 2^-10 of their magnitude; sums of half: see spconv.h.
 */
#ifndef KERNELS_SPCONV_BOUND_H
#define KERNELS_SPCONV_BOUND_H

#include "../common/bound.h"
#include "spconv.h"

HD void spconv_bounds(const struct spconv_problem *p, double length, double want, double magnitude,
                      float *bound, float *loose)
{
    const int half_out = p->dtype == SPCONV_F16 && p->pass != SPCONV_WGRAD;
    double b = bound_of_sum(half_out, length, want, magnitude);
    if (p->dtype == SPCONV_TF32)
        b += 0x1p-10 * magnitude;
    *bound = (float)b;
    *loose = (float)(b + (p->dtype == SPCONV_F16 ? 4 * 0x1p-11 * sqrt(length) * magnitude : 0));
}

#endif
