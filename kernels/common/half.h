/*
 * half.h - IEEE binary16 in plain C, for host code and for tests of device code.
 *
 *   bit    15    14-10      9-0
 *         sign  exponent  fraction     value = 2^(exponent-15) (1 + fraction/1024)
 *
 * exponent 0: fraction * 2^-24; exponent 31: infinity, or NaN if fraction > 0.
 */
#ifndef KERNELS_COMMON_HALF_H
#define KERNELS_COMMON_HALF_H

#include <stdint.h>
#include <string.h>

#include "hd.h"

typedef uint16_t half_bits;

HD uint32_t half_float_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

HD float half_bits_float(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

HD float half_to_float(half_bits h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;
    if (magnitude >= 0x7c00)
        return half_bits_float(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    if (magnitude < 0x0400)
        return half_bits_float(sign | half_float_bits((float)magnitude * 0x1p-24f));
    return half_bits_float(sign | ((magnitude << 13) + 0x38000000)); /* bias 15 to 127 */
}

/* Rounds to nearest, ties to even. */
HD half_bits half_from_float(float f)
{
    const uint32_t u = half_float_bits(f), magnitude = u & 0x7fffffff;
    const half_bits sign = (half_bits)(u >> 16 & 0x8000);
    if (magnitude > 0x7f800000)
        return (half_bits)(sign | 0x7e00);
    if (magnitude >= 0x477ff000) /* 65520, half-way between the largest half and 2^16 */
        return (half_bits)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* 2^-14: adding 0.5 rounds to a multiple of 2^-24 */
        const uint32_t sum = half_float_bits(half_bits_float(magnitude) + 0.5f);
        return (half_bits)(sign | (sum - 0x3f000000));
    }
    return (half_bits)(sign | (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13);
}

#endif
