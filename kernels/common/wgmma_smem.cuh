/*
 * wgmma_smem.cuh - products of a warpgroup with A and B in shared memory (compute
 * capability 9.0a); D as in wgmma.cuh.
 *
 * Both lie in rows of 128 bytes, 64 halves, in the 128-byte swizzle, blocks of 64 halves
 * at multiples of 1024:
 *
 *   along k        a row is a row of A or a column of B, 64 of k; 16 of k are 32 bytes on
 *                  block i + 1, of 8 rows, 1024 bytes behind block i
 *   transposed     a row is one k, 64 rows of A or columns of B; 16 of k are 2048 bytes on
 *                  the next 64 rows or columns stand `next` bytes further
 */
#ifndef KERNELS_COMMON_WGMMA_SMEM_CUH
#define KERNELS_COMMON_WGMMA_SMEM_CUH

#include "wgmma.cuh"

/* Descriptor of a transposed operand; of one along k: wgmma_operand. */
static __device__ __forceinline__ uint64_t wgmma_operand_trans(uint32_t shared, unsigned next)
{
    return (uint64_t)1 << 62 | (uint64_t)(1024 / 16) << 32 | (uint64_t)(next / 16) << 16 |
           (shared & 0x3ffff) >> 4;
}

/* Writes of threads to shared memory, seen before, come before products that read it. */
static __device__ __forceinline__ void wgmma_see_writes()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* d = a b, + d if add: shape of the instruction, the operands behind the n registers of d. */
#define WGMMA_SMEM(n, shape, at_a, at_b, at_add, trans_a, trans_b)                              \
    template <int TransA, int TransB>                                                           \
    static __device__ __forceinline__ void wgmma_smem(float (&d)[n], uint64_t a, uint64_t b,    \
                                                      int add)                                  \
    {                                                                                           \
        asm volatile("{\n\t.reg .pred p;\n\t"                                                   \
                     "setp.ne.b32 p, %" #at_add ", 0;\n\t"                                      \
                     "wgmma.mma_async.sync.aligned." shape ".f32.f16.f16 {" WGMMA_NAMES_##n     \
                     "}, %" #at_a ", %" #at_b ", p, 1, 1, %" #trans_a ", %" #trans_b ";\n\t}"   \
                     : WGMMA_##n(WGMMA_F32, d, 0)                                               \
                     : "l"(a), "l"(b), "r"(add), "n"(TransA), "n"(TransB));                     \
    }

WGMMA_SMEM(8, "m64n16k16", 8, 9, 10, 11, 12)
WGMMA_SMEM(16, "m64n32k16", 16, 17, 18, 19, 20)
WGMMA_SMEM(32, "m64n64k16", 32, 33, 34, 35, 36)
WGMMA_SMEM(48, "m64n96k16", 48, 49, 50, 51, 52)
WGMMA_SMEM(64, "m64n128k16", 64, 65, 66, 67, 68)
WGMMA_SMEM(96, "m64n192k16", 96, 97, 98, 99, 100)
WGMMA_SMEM(128, "m64n256k16", 128, 129, 130, 131, 132)

#undef WGMMA_SMEM

#endif
