/*
 * own_math.cuh - halves in pairs, and the activation of the feed-forward network.
 *
 * gelu(x) = x / 2 (1 + erf(x / sqrt 2)) by one tanh:
 *
 *     erf(x / sqrt 2) = tanh(x (a + b x^2 + c x^4)),  x^2 at most 40
 *
 * a, b, c minimise the largest error of gelu, which is 2.6e-5 for all x, a quarter of the last
 * bit of a half near 1; tanh of the hardware adds up to 2^-11 of itself.
 */
#ifndef KERNELS_GROUP_ATTN_OWN_MATH_CUH
#define KERNELS_GROUP_ATTN_OWN_MATH_CUH

#include <cuda_fp16.h>
#include <stdint.h>

static __device__ __forceinline__ uint32_t halves_of(float low, float high)
{
    const half2 h = __floats2half2_rn(low, high);
    return *(const uint32_t *)&h;
}

static __device__ __forceinline__ float2 floats_of(uint32_t halves)
{
    return __half22float2(*(const half2 *)&halves);
}

static __device__ __forceinline__ uint32_t add_halves(uint32_t a, uint32_t b)
{
    const half2 sum = __hadd2(*(const half2 *)&a, *(const half2 *)&b);
    return *(const uint32_t *)&sum;
}

static __device__ __forceinline__ float tanh_approx(float x)
{
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

static __device__ __forceinline__ float gelu(float x)
{
    const float square = fminf(x * x, 40.0f), half_x = 0.5f * x;
    const float slope = fmaf(fmaf(-0.00035152053f, square, 0.037005643f), square, 0.79750791f);
    return fmaf(half_x, tanh_approx(x * slope), half_x);
}

#endif
