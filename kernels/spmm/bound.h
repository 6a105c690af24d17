/* bound.h - how far a correct element of C may lie from it, by dtype; spmm.h says why. */
#ifndef KERNELS_SPMM_BOUND_H
#define KERNELS_SPMM_BOUND_H

#include "../common/bound.h"
#include "spmm.h"

HD float spmm_bound(enum spmm_dtype dtype, double length, double want, double magnitude)
{
    const float bound = bound_of_sum(dtype == SPMM_F16, length, want, magnitude);
    /* (1 + 2^-11)^2 - 1, and the rounding of the bound itself */
    return dtype == SPMM_TF32 ? bound + (float)(0x1.01p-10 * magnitude) : bound;
}

#endif
