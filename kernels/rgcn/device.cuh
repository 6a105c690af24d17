/* device.cuh - what the kernels of relational graph convolution share. */
#ifndef KERNELS_RGCN_DEVICE_CUH
#define KERNELS_RGCN_DEVICE_CUH

#include <cuda_runtime.h>

#include "../spconv/upload.cuh"
#include "rgcn.h"

/* *to += v, 16-byte aligned: one operation from compute capability 9.0 on. */
static __device__ __forceinline__ void add_four(float *to, float4 v)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(v.x), "f"(v.y),
                 "f"(v.z), "f"(v.w)
                 : "memory");
#else
    atomicAdd(to, v.x);
    atomicAdd(to + 1, v.y);
    atomicAdd(to + 2, v.z);
    atomicAdd(to + 3, v.w);
#endif
}

static __device__ __forceinline__ float4 positive(float4 v)
{
    return make_float4(fmaxf(v.x, 0), fmaxf(v.y, 0), fmaxf(v.z, 0), fmaxf(v.w, 0));
}

static __device__ __forceinline__ void add_scaled(float4 *sum, float c, float4 v)
{
    sum->x = fmaf(c, v.x, sum->x);
    sum->y = fmaf(c, v.y, sum->y);
    sum->z = fmaf(c, v.z, sum->z);
    sum->w = fmaf(c, v.w, sum->w);
}

static inline enum op_status rgcn_clear(float *to, size_t count, op_stream s)
{
    return cudaMemsetAsync(to, 0, count * sizeof *to, s) ? OP_EDEVICE : OP_OK;
}

#endif
