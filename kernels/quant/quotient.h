/* quotient.h - quotients of the quantisers, rounded once as the compiler's are, without the
 * question whether operands are near an end of float; the same bits on host and device. */
#ifndef KERNELS_QUANT_QUOTIENT_H
#define KERNELS_QUANT_QUOTIENT_H

#include <math.h>

#include "../common/hd.h"

/* 1 / x but for a unit of the last place. */
HD float quant_reciprocal(float x)
{
#ifdef __CUDA_ARCH__
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
#else
    return 1 / x;
#endif
}

/* a / b from r = 1 / b but for a unit of the last place.  One of them is 15, 127 or 255, for which
 * every mantissa of the other has been tried; the quotient is far from both ends of float. */
HD float quant_quotient(float a, float b, float r)
{
    r = fmaf(fmaf(-b, r, 1), r, r);
    const float q = a * r;
    return fmaf(fmaf(-b, q, a), r, q);
}

#endif
