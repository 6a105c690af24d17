/*
 * bound.h - how far a correct result of a sum of products may lie from it.
 *
 *   4 (u_out max(|want|, tiny) + u_acc sqrt(length) magnitude)
 *
 * u_out and u_acc are the unit roundoffs of the stored result and of the sums,
 * tiny the smallest normal number of the former: below it rounding errors no
 * longer shrink with the value.  magnitude is the sum of the products' absolute
 * values; where it is 0 nothing can round and the bound is 0.
 */
#ifndef KERNELS_COMMON_BOUND_H
#define KERNELS_COMMON_BOUND_H

#include <math.h>

#include "hd.h"

HD float bound_of_sum(int half_out, double length, double want, double magnitude)
{
    const double u_out = half_out ? 0x1p-11 : 0x1p-24, tiny = half_out ? 0x1p-14 : 0x1p-126;
    const double size = fabs(want) > tiny ? fabs(want) : tiny;
    if (magnitude == 0)
        return 0;
    return (float)(4 * (u_out * size + 0x1p-24 * sqrt(length) * magnitude));
}

#endif
