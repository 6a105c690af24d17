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

#define WGMMA_BYTES(n, shape, ...) \
    WGMMA_PRODUCT(wgmma_u8, int, WGMMA_S32, n, shape ".s32.u8.s8", __VA_ARGS__, "")

WGMMA_BYTES(4, "m64n8k32", 4, 5, 6, 7, 8, 9)
WGMMA_BYTES(8, "m64n16k32", 8, 9, 10, 11, 12, 13)
WGMMA_BYTES(16, "m64n32k32", 16, 17, 18, 19, 20, 21)
WGMMA_BYTES(32, "m64n64k32", 32, 33, 34, 35, 36, 37)
WGMMA_BYTES(64, "m64n128k32", 64, 65, 66, 67, 68, 69)
WGMMA_BYTES(128, "m64n256k32", 128, 129, 130, 131, 132, 133)

#undef WGMMA_BYTES

#endif
