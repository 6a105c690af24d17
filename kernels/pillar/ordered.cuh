/* ordered.cuh - maxima of floats by atomics on unsigned numbers. */
#ifndef KERNELS_PILLAR_ORDERED_CUH
#define KERNELS_PILLAR_ORDERED_CUH

/* Floats in ascending order as unsigned numbers; 0 is below all of them. */
static __device__ __forceinline__ unsigned ordered(float x)
{
    const unsigned u = __float_as_uint(x);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

static __device__ __forceinline__ float unordered(unsigned u)
{
    return __uint_as_float(u & 0x80000000u ? u & 0x7fffffffu : ~u);
}

#endif
