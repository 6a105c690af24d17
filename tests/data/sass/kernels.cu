/*
 * kernels.cu - small kernels whose listings test the parser: a stride loop, a
 * product of tensor cores with and without conversion of its 4-bit codes, and one
 * whose loop is unrolled with a remainder.  Not part of any build.
 */
#include <cuda_fp16.h>
#include <stdint.h>

extern "C" __global__ void axpy(float a, const float *x, float *y, int n)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = a * x[i] + y[i];
}

template <int DEQ>
__device__ void gemm(const uint32_t *q, const uint4 *x, const half2 *s, float *y, int k)
{
    float d[4] = {0, 0, 0, 0};
    const half2 scale = s[threadIdx.x];

#pragma unroll 1
    for (int p = threadIdx.x; p < k; p += 32) {
        uint32_t w = q[p];
        uint4 a = x[p];
        uint32_t b[2];
#pragma unroll
        for (int t = 0; t < 2; t++) {
            if (DEQ) {
                uint32_t u = (w >> 4 * t & 0x000f000f) | 0x64006400;
                half2 h = __hmul2(__hsub2(*(half2 *)&u, __float2half2_rn(1032.f)), scale);
                b[t] = *(uint32_t *)&h;
            } else {
                b[t] = t ? w : w + 1;
            }
        }
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                     "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b[0]), "r"(b[1]));
    }
    for (int i = 0; i < 4; i++)
        y[threadIdx.x * 4 + i] = d[i] + __low2float(scale);
}

extern "C" __global__ void mma_full(const uint32_t *q, const uint4 *x, const half2 *s, float *y,
                               int k)
{
    gemm<1>(q, x, s, y, k);
}

extern "C" __global__ void mma_nodeq(const uint32_t *q, const uint4 *x, const half2 *s, float *y,
                               int k)
{
    gemm<0>(q, x, s, y, k);
}

extern "C" __global__ void imma(const uint4 *x, const uint2 *w, int *y, int k)
{
    int d[4] = {0, 0, 0, 0};
#pragma unroll 4
    for (int p = threadIdx.x; p < k; p += 32) {
        uint4 a = x[p];
        uint2 b = w[p];
        asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                     "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                     : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                     : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
    }
    for (int i = 0; i < 4; i++)
        y[threadIdx.x * 4 + i] = d[i];
}
