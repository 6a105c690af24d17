/*
 * gemm_int8.cu - Y in half from INT32 sums and the scales of tokens and channels.
 *
 * Bound by bytes: four read and two written per element.  A thread takes four
 * neighbours along n, which is a multiple of 16.
 */
#include <cuda_fp16.h>

#include "gemm_cublas.h"

constexpr int THREADS = 256;

static __device__ unsigned bits_of(half2 h)
{
    return *(unsigned *)&h;
}

static __global__ __launch_bounds__(THREADS) void scale_sums(const int4 *acc, int m, unsigned fours,
                                                             const half *x_scale,
                                                             const uint2 *w_scale, uint2 *y)
{
    const unsigned j = blockIdx.x * THREADS + threadIdx.x;
    if (j >= fours)
        return;
    const uint2 packed = w_scale[j];
    const float2 w0 = __half22float2(*(const half2 *)&packed.x),
                 w1 = __half22float2(*(const half2 *)&packed.y);
    for (int i = blockIdx.y; i < m; i += gridDim.y) {
        const size_t at = (size_t)i * fours + j;
        const float x = __half2float(x_scale[i]);
        const int4 a = acc[at];
        y[at] = make_uint2(
            bits_of(__floats2half2_rn((float)a.x * (w0.x * x), (float)a.y * (w0.y * x))),
            bits_of(__floats2half2_rn((float)a.z * (w1.x * x), (float)a.w * (w1.y * x))));
    }
}

OP_BEGIN

enum op_status gemm_int8_scale(const struct gemm_problem *p, const struct gemm_args *a,
                               const int *acc, op_stream s)
{
    const unsigned fours = (unsigned)p->n / 4;
    const dim3 grid((fours + THREADS - 1) / THREADS, p->m < 65535 ? p->m : 65535);
    if (p->n % 4)
        return OP_EUNSUPPORTED;
    scale_sums<<<grid, THREADS, 0, s>>>((const int4 *)acc, p->m, fours,
                                        (const half *)a->int_x.scale,
                                        (const uint2 *)a->int_w.scale, (uint2 *)a->y);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
