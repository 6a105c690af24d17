/*
 * own_math.cuh - shares, halves in pairs, a product, and the activation of the feed-forward
 * network.
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

/* Where share i of equal ones begins: the first all % shares have one more.  i may be `shares`. */
static __device__ __forceinline__ int share_begin(int all, int i, int shares)
{
    const int each = (int)((unsigned)all / (unsigned)shares), more = all - each * shares;
    return i * each + min(i, more);
}

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

/* gelu of twice this: the weights before it are halved when they are packed. */
static __device__ __forceinline__ float gelu_of_twice(float h)
{
    const float square = fminf(h * h, 10.0f);
    const float slope = fmaf(fmaf(-0.011248657f, square, 0.29604514f), square, 1.5950158f);
    return fmaf(h, tanh_approx(h * slope), h);
}

/* The same of two halves, in halves: five instructions fewer a pair; after eight layers the error
 * against double is a sixth more. */
static __device__ __forceinline__ uint32_t gelu_of_twice_pair(uint32_t halves)
{
    const half2 h = *(const half2 *)&halves;
    const half2 square = __hmin2(__hmul2(h, h), __float2half2_rn(10.0f));
    const half2 slope = __hfma2(__hfma2(__float2half2_rn(-0.011248657f), square,
                                        __float2half2_rn(0.29604514f)),
                                square, __float2half2_rn(1.5950158f));
    const half2 at = __hmul2(h, slope);
    uint32_t y;
    asm("tanh.approx.f16x2 %0, %1;" : "=r"(y) : "r"(*(const uint32_t *)&at));
    const half2 gelu = __hfma2(h, *(const half2 *)&y, h);
    return *(const uint32_t *)&gelu;
}

/* The first of a chain of products: d = a b. */
static __device__ __forceinline__ void mma_first(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                                 uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));
}

#endif
