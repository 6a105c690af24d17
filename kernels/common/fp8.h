/*
 * fp8.h - OCP 8-bit floats e4m3 in plain C.
 *
 *   bit    7    6-3       2-0
 *         sign  exponent  fraction     value = 2^(exponent-7) (1 + fraction/8)
 *
 * exponent 0: fraction * 2^-9; 0x7f and 0xff are NaN, there is no infinity: the
 * largest number is 448.
 */
#ifndef KERNELS_COMMON_FP8_H
#define KERNELS_COMMON_FP8_H

#include "half.h"

#define E4M3_MAX 448.0f

HD float e4m3_to_float(unsigned char code)
{
    const uint32_t sign = (uint32_t)(code & 0x80) << 24, magnitude = code & 0x7f;
    if (magnitude == 0x7f)
        return half_bits_float(sign | 0x7fc00000);
    if (magnitude < 8)
        return half_bits_float(sign | half_float_bits((float)magnitude * 0x1p-9f));
    return half_bits_float(sign | ((magnitude << 20) + 0x3c000000)); /* bias 7 to 127 */
}

/* To nearest, ties to even; beyond 448 becomes 448, NaN stays one. */
HD unsigned char e4m3_from_float(float f)
{
    const uint32_t u = half_float_bits(f), magnitude = u & 0x7fffffff;
    const unsigned char sign = (unsigned char)(u >> 24 & 0x80);
    if (magnitude > 0x7f800000)
        return (unsigned char)(sign | 0x7f);
    if (magnitude >= 0x43e00000)
        return (unsigned char)(sign | 0x7e);
    if (magnitude < 0x3c800000) { /* 2^-6: adding 2^14 rounds to a multiple of 2^-9 */
        const uint32_t sum = half_float_bits(half_bits_float(magnitude) + 0x1p14f);
        return (unsigned char)(sign | (sum - 0x46800000));
    }
    return (unsigned char)(sign | (magnitude + 0x7ffff + (magnitude >> 20 & 1) - 0x3c000000) >> 20);
}

#endif
