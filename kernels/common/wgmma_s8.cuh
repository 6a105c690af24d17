/*
 * wgmma_s8.cuh - products of bytes by a warpgroup: d = a b, + d if add, of unsigned
 * bytes from registers and signed ones from shared memory (compute capability 9.0a).
 *
 * wgmma m64nNk32, warp w, lane l, r = 16 w + l/4, c = l%4:
 *
 *   A  [64][32]  a0 (r, 4c..4c+3)  a1 (r+8, 4c..)  a2 (r, 16+4c..)  a3 (r+8, 16+4c..)
 *   B  [N][32]   in shared memory, rows of 128 bytes in the 128-byte swizzle
 *   D  [64][N]   d[4j] (r, 8j+2c)  d[4j+1] (r, 8j+2c+1)  d[4j+2], d[4j+3] (r+8, ..)
 *
 * Operands, fences and waits as wgmma.cuh has them: 32 further columns are 32 bytes.
 */
#ifndef KERNELS_COMMON_WGMMA_S8_CUH
#define KERNELS_COMMON_WGMMA_S8_CUH

#include "wgmma.cuh"

#define WGMMA_S8_4(d, i) "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3])
#define WGMMA_S8_16(d, i)                                                                       \
    WGMMA_S8_4(d, i), WGMMA_S8_4(d, i + 4), WGMMA_S8_4(d, i + 8), WGMMA_S8_4(d, i + 12)

static __device__ __forceinline__ void wgmma_u8(int (&d)[4], const uint32_t (&a)[4], uint64_t b,
                                                int add)
{
    asm volatile("{\n\t"
                 ".reg .pred p;\n\t"
                 "setp.ne.b32 p, %9, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n8k32.s32.u8.s8 {"
                 "%0, %1, %2, %3"
                 "}, {%4, %5, %6, %7}, %8, p;\n\t"
                 "}"
                 : WGMMA_S8_4(d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

static __device__ __forceinline__ void wgmma_u8(int (&d)[8], const uint32_t (&a)[4], uint64_t b,
                                                int add)
{
    asm volatile("{\n\t"
                 ".reg .pred p;\n\t"
                 "setp.ne.b32 p, %13, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n16k32.s32.u8.s8 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7"
                 "}, {%8, %9, %10, %11}, %12, p;\n\t"
                 "}"
                 : WGMMA_S8_4(d, 0), WGMMA_S8_4(d, 4)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

static __device__ __forceinline__ void wgmma_u8(int (&d)[16], const uint32_t (&a)[4], uint64_t b,
                                                int add)
{
    asm volatile("{\n\t"
                 ".reg .pred p;\n\t"
                 "setp.ne.b32 p, %21, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n32k32.s32.u8.s8 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, "
                 "%8, %9, %10, %11, %12, %13, %14, %15"
                 "}, {%16, %17, %18, %19}, %20, p;\n\t"
                 "}"
                 : WGMMA_S8_16(d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

static __device__ __forceinline__ void wgmma_u8(int (&d)[32], const uint32_t (&a)[4], uint64_t b,
                                                int add)
{
    asm volatile("{\n\t"
                 ".reg .pred p;\n\t"
                 "setp.ne.b32 p, %37, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n64k32.s32.u8.s8 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, "
                 "%8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, "
                 "%24, %25, %26, %27, %28, %29, %30, %31"
                 "}, {%32, %33, %34, %35}, %36, p;\n\t"
                 "}"
                 : WGMMA_S8_16(d, 0), WGMMA_S8_16(d, 16)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

static __device__ __forceinline__ void wgmma_u8(int (&d)[64], const uint32_t (&a)[4], uint64_t b,
                                                int add)
{
    asm volatile("{\n\t"
                 ".reg .pred p;\n\t"
                 "setp.ne.b32 p, %69, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n128k32.s32.u8.s8 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, "
                 "%8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, "
                 "%24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, "
                 "%40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, "
                 "%56, %57, %58, %59, %60, %61, %62, %63"
                 "}, {%64, %65, %66, %67}, %68, p;\n\t"
                 "}"
                 : WGMMA_S8_16(d, 0), WGMMA_S8_16(d, 16), WGMMA_S8_16(d, 32), WGMMA_S8_16(d, 48)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

static __device__ __forceinline__ void wgmma_u8(int (&d)[128], const uint32_t (&a)[4], uint64_t b,
                                                int add)
{
    asm volatile("{\n\t"
                 ".reg .pred p;\n\t"
                 "setp.ne.b32 p, %133, 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n256k32.s32.u8.s8 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, "
                 "%8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, "
                 "%24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, "
                 "%40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, "
                 "%56, %57, %58, %59, %60, %61, %62, %63, "
                 "%64, %65, %66, %67, %68, %69, %70, %71, "
                 "%72, %73, %74, %75, %76, %77, %78, %79, "
                 "%80, %81, %82, %83, %84, %85, %86, %87, "
                 "%88, %89, %90, %91, %92, %93, %94, %95, "
                 "%96, %97, %98, %99, %100, %101, %102, %103, "
                 "%104, %105, %106, %107, %108, %109, %110, %111, "
                 "%112, %113, %114, %115, %116, %117, %118, %119, "
                 "%120, %121, %122, %123, %124, %125, %126, %127"
                 "}, {%128, %129, %130, %131}, %132, p;\n\t"
                 "}"
                 : WGMMA_S8_16(d, 0), WGMMA_S8_16(d, 16), WGMMA_S8_16(d, 32), WGMMA_S8_16(d, 48),
                   WGMMA_S8_16(d, 64), WGMMA_S8_16(d, 80), WGMMA_S8_16(d, 96), WGMMA_S8_16(d, 112)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

#undef WGMMA_S8_4
#undef WGMMA_S8_16

#endif
