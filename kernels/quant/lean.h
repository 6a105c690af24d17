/* lean.h - two gates activated with one reciprocal, in plain C for host and device. */
#ifndef KERNELS_QUANT_LEAN_H
#define KERNELS_QUANT_LEAN_H

#include "quotient.h"

/* 2^x but for some units of the last place. */
HD float lean_power(float x)
{
#ifdef __CUDA_ARCH__
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
#else
    return exp2f(x);
#endif
}

/*
 * x / (1 + 2^(-x log2 e)) of two: 1 / (c d) times d is 1 / c.  Powers end at 2^60, so that c d does
 * not overflow; what x is by then, below -41, times any half rounds to 0 as a half.
 */
HD void lean_silu(float *x, float *y)
{
    const float c = 1 + lean_power(fminf(-1.4426950408889634f * *x, 60));
    const float d = 1 + lean_power(fminf(-1.4426950408889634f * *y, 60));
    const float both = quant_reciprocal(c * d);
    *x *= both * d;
    *y *= both * c;
}

#endif
