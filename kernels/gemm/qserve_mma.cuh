/*
 * qserve_mma.cuh - tensor-core products of bytes, and a copy that is left out
 * where its predicate is false.
 *
 * mma m16n8k32, lane l, r = l/4, c = l%4:
 *
 *   A  [16][32]   a0 (r, 4c..4c+3)  a1 (r+8, 4c..)  a2 (r, 16+4c..)  a3 (r+8, 16+4c..)
 *   B  [32][8]    b0 (4c..4c+3, r)  b1 (16+4c.., r)
 *   C  [16][8]    c0 c1 (r, 2c..2c+1)  c2 c3 (r+8, 2c..2c+1)
 */
#ifndef KERNELS_GEMM_QSERVE_MMA_CUH
#define KERNELS_GEMM_QSERVE_MMA_CUH

#include "mma.cuh"

/* c += a b */
static __device__ __forceinline__ void mma_s8(int (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                              uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The same, bytes of a unsigned. */
static __device__ __forceinline__ void mma_u8(int (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                              uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* c = a b */
static __device__ __forceinline__ void mma_s8_first(int (&c)[4], const uint32_t (&a)[4],
                                                    uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
        : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(0));
}

/* c = a b, bytes of a unsigned. */
static __device__ __forceinline__ void mma_u8_first(int (&c)[4], const uint32_t (&a)[4],
                                                    uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
        : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(0));
}

/* 16 bytes, or nothing at all. */
static __device__ __forceinline__ void copy_async_if(bool wanted, void *shared, const void *global)
{
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %0, 0;\n"
                 "@p cp.async.cg.shared.global [%1], [%2], 16;\n"
                 "}" ::"r"((int)wanted),
                 "r"(shared_address(shared)), "l"(global)
                 : "memory");
}

/* A value that the compiler cannot know, from one that it may. */
static __device__ __forceinline__ void made_opaque(int &v)
{
    asm volatile("" : "+r"(v));
}

#endif
