/*
 * awq_layout.h - where the published 4-bit formats keep a code, its scale and
 * its zero point.
 *
 * W is [n][k]; code (j, p) is W's row j, column p; g = p/group.  Eight codes to
 * a 32-bit word, nibble 0 in bits 0-3.  Two orders inside a word:
 *
 *   bits          31-28 27-24 23-20 19-16   15-12 11-8   7-4   3-0
 *   nibble          7     6     5     4       3     2     1     0
 *   plain           7     6     5     4       3     2     1     0
 *   interleaved     7     5     3     1       6     4     2     0
 *
 * In the interleaved one a mask takes two neighbours, one into each half of a
 * register.
 *
 *   format         codes                            scales        zero points
 *   awq2023        [k][n/8], j interleaved          [g][n]        [g][n/8], j interleaved
 *   awq2023_gemv   [n][k/8], p plain                [n][8 z]      [n][z], g plain
 *   awq2024        [n/4][k/2], see awq2024_code     [8 z][n]      half -scale*zero [8 z][n]
 *   gptq           [k/8][n], p plain                [g][n]        [g][n/8], j plain, minus one
 *
 * z = awq_zero_words.  Each format has a function from code to place and one
 * from place to code.  A format's zero points lie as its codes do, with groups
 * in the place of input channels, where no more is said.
 */
#ifndef KERNELS_GEMM_AWQ_LAYOUT_H
#define KERNELS_GEMM_AWQ_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "../common/hd.h"

struct w4_place {
    size_t word;
    int nibble;
};

struct w4_code {
    int j, p; /* output channel, input channel (or group) */
};

HD int awq_nibble(int element)
{
    return element % 2 * 4 + element / 2;
}

HD int awq_element(int nibble)
{
    return nibble % 4 * 2 + nibble / 4;
}

/* Words that hold the zero points of a row; padded to pairs for groups of 64,
 * so that a step of 1024 input channels reads whole words. */
HD int awq_zero_words(int k, int group)
{
    const int words = (k + 8 * group - 1) / (8 * group);
    return group == 64 ? words + words % 2 : words;
}

/* ---- awq2023: June 2023; n a multiple of 8 ---- */

HD struct w4_place awq2023_place(int n, int j, int p)
{
    const struct w4_place at = { (size_t)p * (n / 8) + j / 8, awq_nibble(j % 8) };
    return at;
}

HD struct w4_code awq2023_code(int n, size_t word, int nibble)
{
    const struct w4_code c = { (int)(word % (n / 8)) * 8 + awq_element(nibble),
                               (int)(word / (n / 8)) };
    return c;
}

/* ---- awq2023_gemv: September 2023; k a multiple of 8 ---- */

HD struct w4_place awq2023_gemv_place(int k, int j, int p)
{
    const struct w4_place at = { (size_t)j * (k / 8) + p / 8, p % 8 };
    return at;
}

HD struct w4_code awq2023_gemv_code(int k, size_t word, int nibble)
{
    const struct w4_code c = { (int)(word / (k / 8)), (int)(word % (k / 8)) * 8 + nibble };
    return c;
}

/*
 * ---- awq2024: February 2024; n a multiple of 4, k of 64 ----
 *
 * A band is four rows.  Its 64 columns from p0 are 32 words, 8 of each row:
 *
 *   word      0 .. 3   4 .. 7    8 ..11  12 ..15   ...  28 ..31
 *   row         0        0         1       1              3
 *   columns   0 ..31   32..63    0 ..31  32..63         32..63
 *
 * The four words of 32 columns hold them so, the pair of a mask in one column
 * of the drawing:
 *
 *   nibbles    0, 4     1, 5     2, 6     3, 7
 *   word 0     0, 1     8, 9    16,17    24,25
 *   word 1     2, 3    10,11    18,19    26,27
 *   word 2     4, 5    12,13    20,21    28,29
 *   word 3     6, 7    14,15    22,23    30,31
 *
 * Lane l of a warp that gets word l%4 of row l/4 by ldmatrix has in its pairs
 * the B fragments of two mma.m16n8k16.
 */
HD struct w4_place awq2024_place(int k, int j, int p)
{
    const int in_32 = p % 32;
    const struct w4_place at = { (size_t)(j / 4) * (k / 2) + p / 64 * 32 + j % 4 * 8 +
                                     p % 64 / 32 * 4 + in_32 % 8 / 2,
                                 in_32 % 2 * 4 + in_32 / 8 };
    return at;
}

HD struct w4_code awq2024_code(int k, size_t word, int nibble)
{
    const int in_band = (int)(word % (k / 2)), in_64 = in_band % 32;
    const struct w4_code c = { (int)(word / (k / 2)) * 4 + in_64 / 8,
                               in_band / 32 * 64 + in_64 % 8 / 4 * 32 + nibble % 4 * 8 +
                                   in_64 % 4 * 2 + nibble / 4 };
    return c;
}

/* ---- gptq; n and k multiples of 8 ---- */

HD struct w4_place gptq_place(int n, int j, int p)
{
    const struct w4_place at = { (size_t)(p / 8) * n + j, p % 8 };
    return at;
}

HD struct w4_code gptq_code(int n, size_t word, int nibble)
{
    const struct w4_code c = { (int)(word % n), (int)(word / n) * 8 + nibble };
    return c;
}

HD struct w4_code gptq_zero_code(int n, size_t word, int nibble)
{
    const struct w4_code c = { (int)(word % (n / 8)) * 8 + nibble, (int)(word / (n / 8)) };
    return c;
}

/* A zero point is stored minus one, modulo 16, and read plus one, modulo 16. */
HD unsigned gptq_zero_stored(unsigned zero)
{
    return (zero + 15) & 15;
}

HD unsigned gptq_zero_read(unsigned stored)
{
    return (stored + 1) & 15;
}

/* order[q] is the input channel whose codes are row q of a reordered W: a fixed
 * random permutation, in place of the order by sensitivity that needs data. */
HD void gptq_order(int k, int *order)
{
    uint32_t state = 0x9e3779b9u;
    for (int q = 0; q < k; q++) {
        state = state * 1664525u + 1013904223u;
        const int at = (int)((uint64_t)state * (uint32_t)(q + 1) >> 32);
        if (at < q)
            order[q] = order[at];
        order[at] = q;
    }
}

#endif
