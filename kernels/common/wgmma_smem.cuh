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

#define WGMMA_TEN(t) \
    "%" t "0, %" t "1, %" t "2, %" t "3, %" t "4, %" t "5, %" t "6, %" t "7, %" t "8, %" t "9, "
#define WGMMA_NINETY                                                                      \
    WGMMA_TEN("") WGMMA_TEN("1") WGMMA_TEN("2") WGMMA_TEN("3") WGMMA_TEN("4") WGMMA_TEN("5") \
    WGMMA_TEN("6") WGMMA_TEN("7") WGMMA_TEN("8")

#define WGMMA_8(i)                                                                           \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
        "+f"(d[i + 6]), "+f"(d[i + 7])
#define WGMMA_16(i) WGMMA_8(i), WGMMA_8(i + 8)
#define WGMMA_32(i) WGMMA_16(i), WGMMA_16(i + 16)

/* d = a b, + d if add: `list` names the registers of d, a to tb the operands behind them. */
#define WGMMA_SMEM(n, registers, list, a_, b_, add_, ta, tb, ...)                              \
    template <int TransA, int TransB>                                                          \
    static __device__ __forceinline__ void wgmma_smem(float (&d)[registers], uint64_t a,       \
                                                      uint64_t b, int add)                     \
    {                                                                                          \
        asm volatile("{\n\t.reg .pred p;\n\t"                                                  \
                     "setp.ne.b32 p, " add_ ", 0;\n\t"                                         \
                     "wgmma.mma_async.sync.aligned.m64n" n "k16.f32.f16.f16 {" list "}, " a_   \
                     ", " b_ ", p, 1, 1, " ta ", " tb ";\n\t}"                                 \
                     : __VA_ARGS__                                                             \
                     : "l"(a), "l"(b), "r"(add), "n"(TransA), "n"(TransB));                    \
    }

WGMMA_SMEM("16", 8, "%0, %1, %2, %3, %4, %5, %6, %7", "%8", "%9", "%10", "%11", "%12", WGMMA_8(0))
WGMMA_SMEM("32", 16, WGMMA_TEN("") "%10, %11, %12, %13, %14, %15", "%16", "%17", "%18", "%19",
           "%20", WGMMA_16(0))
WGMMA_SMEM("64", 32, WGMMA_TEN("") WGMMA_TEN("1") WGMMA_TEN("2") "%30, %31", "%32", "%33", "%34",
           "%35", "%36", WGMMA_32(0))
WGMMA_SMEM("96", 48,
           WGMMA_TEN("") WGMMA_TEN("1") WGMMA_TEN("2") WGMMA_TEN("3")
           "%40, %41, %42, %43, %44, %45, %46, %47", "%48", "%49", "%50", "%51", "%52",
           WGMMA_32(0), WGMMA_16(32))
WGMMA_SMEM("128", 64,
           WGMMA_TEN("") WGMMA_TEN("1") WGMMA_TEN("2") WGMMA_TEN("3") WGMMA_TEN("4") WGMMA_TEN("5")
           "%60, %61, %62, %63", "%64", "%65", "%66", "%67", "%68", WGMMA_32(0), WGMMA_32(32))
WGMMA_SMEM("192", 96, WGMMA_NINETY "%90, %91, %92, %93, %94, %95", "%96", "%97", "%98", "%99",
           "%100", WGMMA_32(0), WGMMA_32(32), WGMMA_32(64))
WGMMA_SMEM("256", 128,
           WGMMA_NINETY WGMMA_TEN("9") WGMMA_TEN("10") WGMMA_TEN("11")
           "%120, %121, %122, %123, %124, %125, %126, %127", "%128", "%129", "%130", "%131",
           "%132", WGMMA_32(0), WGMMA_32(32), WGMMA_32(64), WGMMA_32(96))

#undef WGMMA_SMEM
#undef WGMMA_32
#undef WGMMA_16
#undef WGMMA_8
#undef WGMMA_NINETY
#undef WGMMA_TEN

#endif
