/*
 * wgmma.cuh - products of a warpgroup (4 warps, the first a multiple of 4), A from
 * registers (compute capability 9.0a).
 *
 * wgmma m64nNk16, warp w, lane l, r = 16 w + l/4, c = l%4*2:
 *
 *   A  [64][16]  a0 (r, c..c+1)  a1 (r+8, c..)  a2 (r, c+8..)  a3 (r+8, c+8..)
 *   B  [N][16]   in shared memory, rows of 128 bytes in the 128-byte swizzle
 *   D  [64][N]   d[4j] (r, 8j+c)  d[4j+1] (r, 8j+c+1)  d[4j+2], d[4j+3] (r+8, ..)
 *
 * A product runs on while the warps go on; its registers and its B are in use
 * until wgmma_wait has let its group pass.  wgmma_fence stands between writing
 * registers and the first product that takes them.
 */
#ifndef KERNELS_COMMON_WGMMA_CUH
#define KERNELS_COMMON_WGMMA_CUH

#include <stdint.h>

static __device__ __forceinline__ void wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ __forceinline__ void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Until at most Left of the committed groups still run. */
template <int Left> static __device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Left) : "memory");
}

/*
 * B at this shared address, a multiple of 1024; 16 further columns are 32 bytes, so
 * 2, further on in it.
 *
 *   bits   63-62       45-32                      29-16    13-0
 *          1: 128 B    bytes from 8 rows to       unused   address / 16
 *          swizzle     the next 8, / 16
 */
static __device__ __forceinline__ uint64_t wgmma_operand(uint32_t shared)
{
    return (uint64_t)1 << 62 | (uint64_t)(1024 / 16) << 32 | (uint64_t)1 << 16 |
           (shared & 0x3ffff) >> 4;
}

/* ---- d = a b, + d if add ---- */

/*
 * The instructions differ in type and in the number of registers of d, so in the names of the
 * operands behind them: a (four), b, and whether to add.  WGMMA_NAMES_n are those of n registers.
 */
#define WGMMA_NAMES_4 "%0, %1, %2, %3"
#define WGMMA_NAMES_8 WGMMA_NAMES_4 ", %4, %5, %6, %7"
#define WGMMA_NAMES_16 WGMMA_NAMES_8                                                            \
    ", %8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_NAMES_32 WGMMA_NAMES_16                                                           \
    ", %16, %17, %18, %19, %20, %21, %22, %23"                                                  \
    ", %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_NAMES_48 WGMMA_NAMES_32                                                           \
    ", %32, %33, %34, %35, %36, %37, %38, %39"                                                  \
    ", %40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_NAMES_64 WGMMA_NAMES_48                                                           \
    ", %48, %49, %50, %51, %52, %53, %54, %55"                                                  \
    ", %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_NAMES_96 WGMMA_NAMES_64                                                           \
    ", %64, %65, %66, %67, %68, %69, %70, %71"                                                  \
    ", %72, %73, %74, %75, %76, %77, %78, %79"                                                  \
    ", %80, %81, %82, %83, %84, %85, %86, %87"                                                  \
    ", %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_NAMES_128 WGMMA_NAMES_96                                                          \
    ", %96, %97, %98, %99, %100, %101, %102, %103"                                              \
    ", %104, %105, %106, %107, %108, %109, %110, %111"                                          \
    ", %112, %113, %114, %115, %116, %117, %118, %119"                                          \
    ", %120, %121, %122, %123, %124, %125, %126, %127"

#define WGMMA_4(c, d, i) c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3])
#define WGMMA_8(c, d, i) WGMMA_4(c, d, i), WGMMA_4(c, d, i + 4)
#define WGMMA_16(c, d, i) WGMMA_8(c, d, i), WGMMA_8(c, d, i + 8)
#define WGMMA_32(c, d, i) WGMMA_16(c, d, i), WGMMA_16(c, d, i + 16)
#define WGMMA_48(c, d, i) WGMMA_32(c, d, i), WGMMA_16(c, d, i + 32)
#define WGMMA_64(c, d, i) WGMMA_32(c, d, i), WGMMA_32(c, d, i + 32)
#define WGMMA_96(c, d, i) WGMMA_64(c, d, i), WGMMA_32(c, d, i + 64)
#define WGMMA_128(c, d, i) WGMMA_64(c, d, i), WGMMA_64(c, d, i + 64)

#define WGMMA_F32(x) "+f"(x) /* constraints of a register of d */
#define WGMMA_S32(x) "+r"(x)

/* type name(d, a, b, add), d of n registers; c: one of the above; shape: of the instruction; the
 * numbers are n .. n + 5; tail: what stands behind the predicate. */
#define WGMMA_PRODUCT(name, type, c, n, shape, a0, a1, a2, a3, at_b, at_add, tail)              \
    static __device__ __forceinline__ void name(type(&d)[n], const uint32_t(&a)[4], uint64_t b, \
                                                int add)                                        \
    {                                                                                           \
        asm volatile("{\n\t"                                                                    \
                     ".reg .pred p;\n\t"                                                        \
                     "setp.ne.b32 p, %" #at_add ", 0;\n\t"                                      \
                     "wgmma.mma_async.sync.aligned." shape " {" WGMMA_NAMES_##n                 \
                     "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #at_b ", p" tail ";\n\t"  \
                     "}"                                                                        \
                     : WGMMA_##n(c, d, 0)                                                       \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));           \
    }

#define WGMMA_HALVES(n, shape, ...) \
    WGMMA_PRODUCT(wgmma, float, WGMMA_F32, n, shape ".f32.f16.f16", __VA_ARGS__, ", 1, 1, 0")

WGMMA_HALVES(8, "m64n16k16", 8, 9, 10, 11, 12, 13)
WGMMA_HALVES(16, "m64n32k16", 16, 17, 18, 19, 20, 21)
WGMMA_HALVES(32, "m64n64k16", 32, 33, 34, 35, 36, 37)
WGMMA_HALVES(64, "m64n128k16", 64, 65, 66, 67, 68, 69)
WGMMA_HALVES(128, "m64n256k16", 128, 129, 130, 131, 132, 133)

#undef WGMMA_HALVES

#endif
