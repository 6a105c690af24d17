/*
 * philox.h - the random numbers of inputs, the same to the bit on host and device.
 *
 * Philox4x32-10 (Salmon and others, SC 2011): a counter goes in, four words
 * come out, so that any element can be made alone, in any order, by any number
 * of threads.  Valid as C17 and, under nvcc, as device code: check.c and the
 * probes compile the same lines.
 */
#ifndef HARNESS_PHILOX_H
#define HARNESS_PHILOX_H

#include <stdint.h>

#include "check.h"

#ifdef __CUDACC__
#define CB_HD __host__ __device__ static inline
#else
#define CB_HD static inline
#endif

/* Words of group `group`: key = seed, counter = (group low, group high, tensor, stream). */
CB_HD void philox_words(uint64_t seed, uint32_t tensor, uint32_t stream, uint64_t group,
                        uint32_t out[4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)group, c1 = (uint32_t)(group >> 32), c2 = tensor, c3 = stream;
    for (int round = 0; round < 10; round++) {
        const uint64_t p = (uint64_t)0xD2511F53u * c0, q = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(q >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)q;
        c2 = (uint32_t)(p >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Uniform: one rounding, from 32 to 24 bits; the largest words become 1. */
CB_HD float philox_uniform(uint32_t word)
{
    return (float)(int32_t)word * 0x1p-31f;
}

/* Sum of four 16-bit halves: mean 131070, deviation 65536 / sqrt(3) = 37837.227.
 * The sum is exact in a float, so that the product rounds once, whatever the
 * compiler contracts. */
CB_HD float philox_normal(uint32_t a, uint32_t b)
{
    const int32_t sum = (int32_t)((a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16));
    return (float)(sum - 131070) * (float)(1 / 37837.227);
}

/* -2, -1, 1, 2 from the two highest bits. */
CB_HD float philox_exact(uint32_t word)
{
    const int code = (int)(word >> 30);
    return (float)(code < 2 ? code - 2 : code - 1);
}

/* Element `index` of a tensor.  A uniform or exact element takes one word of
 * four, a normal one two. */
CB_HD float philox_element(enum cb_dist dist, uint64_t seed, uint32_t tensor, uint32_t stream,
                           uint64_t index)
{
    uint32_t word[4];
    if (dist == CB_NORMAL) {
        philox_words(seed, tensor, stream, index / 2, word);
        return index % 2 ? philox_normal(word[2], word[3]) : philox_normal(word[0], word[1]);
    }
    philox_words(seed, tensor, stream, index / 4, word);
    const uint32_t one = index % 4 < 2 ? (index % 2 ? word[1] : word[0])
                                       : (index % 2 ? word[3] : word[2]);
    return dist == CB_UNIFORM ? philox_uniform(one) : philox_exact(one);
}

#endif
