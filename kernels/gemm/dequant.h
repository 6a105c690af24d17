/*
 * dequant.h - 4-bit codes to half without conversion instructions.
 *
 * The half 0x6400 is 1024 and its last place is 1, so a code or-ed into bits
 * 0-3 gives 1024 + code, and one or-ed into bits 4-7 gives 1024 + 16 code.  The
 * same mask in both halves of a register takes nibbles t and t+4 of a word:
 *
 *   t   register             low half            high half
 *   0   word                 1024 + nibble 0     1024 + nibble 4
 *   1   word                 1024 + 16 nibble 1  1024 + 16 nibble 5
 *   2   word >> 8            1024 + nibble 2     1024 + nibble 6
 *   3   word >> 8            1024 + 16 nibble 3  1024 + 16 nibble 7
 *
 * Without the or it is 2^-24 code or 2^-20 code, below the smallest normal half;
 * tensor cores take such halves as they are, and float scales bring the powers back.
 *
 * One instruction each, lop3 with the table of (a and b) or c, besides the
 * shift.  Halves 1024 .. 1264 in steps of 1 are exact.  From: AWQ (arXiv
 * 2306.00978) and its code.
 */
#ifndef KERNELS_GEMM_DEQUANT_H
#define KERNELS_GEMM_DEQUANT_H

#include <stdint.h>

#include "../common/hd.h"

#define DEQUANT_1024 0x64006400u
#define DEQUANT_16TH 0x2c002c00u
#define DEQUANT_M64 0xd400d400u

/* Nibbles t and t+4 of a word, t/2*8 bits further down. */
HD uint32_t dequant_u4_mask(int t)
{
    return t % 2 ? 0x00f000f0u : 0x000f000fu;
}

/* As halves as they are: t even: 2^-24 code, odd: 2^-20 code. */
HD uint32_t dequant_u4_least(uint32_t word, int t)
{
    return word >> t / 2 * 8 & dequant_u4_mask(t);
}

/* t even: 1024 + code in each half; odd: 1024 + 16 code. */
HD uint32_t dequant_u4_biased(uint32_t word, int t)
{
    const uint32_t from = word >> t / 2 * 8, mask = dequant_u4_mask(t);
#ifdef __CUDA_ARCH__
    uint32_t pair;
    /* by hand: the compiler makes two instructions of some */
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(pair) : "r"(from), "r"(mask), "r"(DEQUANT_1024));
    return pair;
#else
    return (from & mask) | DEQUANT_1024;
#endif
}

#endif
