/* tf32.cuh - tensor-core products of a warp in TF32: floats of 11 bits (compute capability 8.0). */
#ifndef KERNELS_COMMON_TF32_CUH
#define KERNELS_COMMON_TF32_CUH

#include <stdint.h>

/*
 * mma m16n8k8 of TF32, lane l, r = l/4, c = l%4:
 *
 *   A [16][8]  a0 (r, c)  a1 (r+8, c)  a2 (r, c+4)  a3 (r+8, c+4)
 *   B [8][8]   b0 (c, r)  b1 (c+4, r)            C as m16n8k16
 */
static __device__ __forceinline__ void mma_tf32(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                                uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ uint32_t to_tf32(float v)
{
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
    return bits;
}

#endif
