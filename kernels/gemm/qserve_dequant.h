/*
 * qserve_dequant.h - 4-bit codes to bytes, four to a register at a time.
 *
 * A word of eight codes becomes two registers of four bytes each, by three
 * logic operations.  QServe (arXiv 2405.04532) then multiplies all four bytes
 * by one scale and subtracts zero * scale from each afterwards:
 *
 *   code * scale             at most 15 * 16 = 240: no carry into the next byte
 *   + (-zero * scale)        byte by byte, modulo 256: the result fits a signed byte
 *
 * Subtracting first would leave signed codes, whose products carry.
 *
 * Codes in two's complement are kept in the upper half of their byte, as 16
 * times themselves: no sign needs to be extended, and products are 256 times
 * what they stand for.
 */
#ifndef KERNELS_GEMM_QSERVE_DEQUANT_H
#define KERNELS_GEMM_QSERVE_DEQUANT_H

#include <stdint.h>

#include "../common/hd.h"

HD uint32_t qserve_low(uint32_t word)
{
    return word & 0x0f0f0f0fu;
}

HD uint32_t qserve_high(uint32_t word)
{
    return (word & 0xf0f0f0f0u) >> 4;
}

HD uint32_t qserve_byte(uint32_t word, int t)
{
    return word >> 8 * t & 0xff;
}

HD uint32_t qserve_broadcast(uint32_t word, int t)
{
#ifdef __CUDA_ARCH__
    return __byte_perm(word, 0, 0x1111u * (unsigned)t);
#else
    return qserve_byte(word, t) * 0x01010101u;
#endif
}

/* Bytes apart, modulo 256.  Five instructions on compute capability 9.0. */
HD uint32_t qserve_add_bytes(uint32_t a, uint32_t b)
{
#ifdef __CUDA_ARCH__
    return __vadd4(a, b);
#else
    return ((a & 0x7f7f7f7fu) + (b & 0x7f7f7f7fu)) ^ ((a ^ b) & 0x80808080u);
#endif
}

/* subtrahends: the byte of qserve_layout.h four times */
HD uint32_t qserve_scaled(uint32_t codes, uint32_t scale, uint32_t subtrahends)
{
    return qserve_add_bytes(codes * scale, subtrahends);
}

/* The even, or the odd, four of eight codes in two's complement, 16-fold. */
HD uint32_t int4_bytes(uint32_t word, int odd)
{
    return (odd ? word : word << 4) & 0xf0f0f0f0u;
}

#endif
