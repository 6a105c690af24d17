/* dequant.cuh - the eight codes of a word as four half2; see dequant.h. */
#ifndef KERNELS_GEMM_DEQUANT_CUH
#define KERNELS_GEMM_DEQUANT_CUH

#include <cuda_fp16.h>

#include "dequant.h"

static __device__ __forceinline__ half2 half2_of(uint32_t bits)
{
    return *(half2 *)&bits;
}

static __device__ __forceinline__ uint32_t bits_of(half2 h)
{
    return *(uint32_t *)&h;
}

/* pair[t] = codes of nibbles t and t+4, as numbers 0 .. 15.  Four lop3, a
 * shift, two subtractions and two multiply-adds for eight codes. */
static __device__ __forceinline__ void dequant_u4(uint32_t word, half2 (&pair)[4])
{
#pragma unroll
    for (int t = 0; t < 4; t++) {
        const half2 biased = half2_of(dequant_u4_biased(word, t));
        pair[t] = t % 2 ? __hfma2(biased, half2_of(DEQUANT_16TH), half2_of(DEQUANT_M64))
                        : __hsub2(biased, half2_of(DEQUANT_1024));
    }
}

#endif
