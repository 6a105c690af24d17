/*
 * mma_u8.h - mma m16n8k32 of unsigned by signed bytes for the 32 lanes of a warp, by its
 * definition, for tests of kernels without a GPU.  Fragments as kernels/gemm/qserve_mma.cuh draws
 * them.
 */
#ifndef TESTS_MMA_U8_H
#define TESTS_MMA_U8_H

#include <stdint.h>

static inline int byte_of(uint32_t word, int at)
{
    return (int)(word >> 8 * at & 0xff);
}

/* c += a b; all [32 lanes] */
static inline void mma_u8(uint32_t (*a)[4], uint32_t (*b)[2], int (*c)[4])
{
    for (int i = 0; i < 32 * 4; i++) {
        const int row = i / 16 + i % 4 / 2 * 8, column = i / 4 % 4 * 2 + i % 2;
        for (int p = 0; p < 32; p++)
            c[i / 4][i % 4] += byte_of(a[row % 8 * 4 + p % 16 / 4][row / 8 + p / 16 * 2], p % 4) *
                               (signed char)byte_of(b[column * 4 + p % 16 / 4][p / 16], p % 4);
    }
}

#endif
