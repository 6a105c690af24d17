/*
 * w4a8_layout.h - 4-bit weights in the order in which the tensor cores' products of
 * bytes take them, and how they become bytes.
 *
 * A strip is 16 output channels by 128 input channels: one A tile (m16) of mma
 * m16n8k32, or one warp's quarter of wgmma m64, in 4 steps of k32.  16 strips
 * that are neighbours in n lie behind each other, so that a tile of 128 or 256
 * channels takes one copy a group:
 *
 *   codes    [n/256][k/128][16 strips][2][32 lanes][4] words of steps 2 i, 2 i + 1
 *   scales   [n/256][k/128][16 strips][8] words        per group only, behind the codes
 *
 * n, k rounded up, the rest zeros.
 *
 * A lane, r = lane/4, c = lane%4, loads 16 bytes for two steps.  Word h = 0, 1 of a
 * step holds its bytes of A fragments 2 h and 2 h + 1:
 *
 *   bits      31-28     23-20     15-12     7-4         27-24  19-16  11-8   3-0
 *   channel   r+8                                       r
 *   k         c'+3      c'+2      c'+1      c'          c'+3   c'+2   c'+1   c'
 *
 * with c' = 16 h + 4 c.  Word r of a strip's scales is
 *
 *   bits      31-24            23-16        15-8           7-0
 *             shift of r+8     scale        shift of r     scale
 *
 * where shift = 128 - zero * scale, 0 .. 128.
 *
 * Kernels whose scales act on sums of products instead of weights take both apart:
 *
 *   scales   [n/16][k/128][8] pairs of bytes { of r, of r+8 }: a block's are one copy
 *   shifts   [n/16][groups/32][32 lanes][4] words, A fragments of [16 channels][32 groups]
 *
 * Bytes of A are unsigned, those of X signed.
 *
 *   per channel   word & 0f0f0f0f          the code
 *                 word & f0f0f0f0          16 times the code: rows r+8 of the sums are
 *                                          16 times too large, which the scale undoes
 *   per group     code * scale + shift     w8 + 128 of gemm.h, four bytes at a time: at
 *                                          most 255, so that nothing is carried
 *   on sums       as per channel; then a group's sum * scale + shift * the sum of its codes of X
 *
 * On sums the second product is one of matrices, 32 groups a step: bytes of shifts by sums of X,
 * at most 128 * 127, which are taken as 256 * high + low with both in -128 .. 127.
 *
 * Sums fit 32 bits signed for k <= 65536: 240 127 k < 2^31.
 */
#ifndef KERNELS_GEMM_W4A8_LAYOUT_H
#define KERNELS_GEMM_W4A8_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "../common/hd.h"

enum {
    W4A8_GROUP = 128,    /* input channels of a strip */
    W4A8_STRIP = 16,     /* its output channels */
    W4A8_NEAR = 16,      /* strips that lie together */
    W4A8_CODES = 1024,   /* bytes of a strip */
    W4A8_SCALES = 32,    /* the same, per group */
    W4A8_WORDS = 256,    /* of a strip's codes */
    W4A8_PAIRS = 16,     /* bytes of a strip's scales where they act on sums ... */
    W4A8_CHUNK = 32,     /* ... and groups of a fragment of shifts, */
    W4A8_SHIFTS = 512,   /* its bytes */
    W4A8_MOST_K = 65536
};

HD int w4a8_div_up(int a, int b)
{
    return (a + b - 1) / b;
}

/* Of codes and scales of a strip and group. */
HD int w4a8_strip_bytes(int grouped)
{
    return W4A8_CODES + (grouped ? W4A8_SCALES : 0);
}

/* Number of strips and groups before this one. */
HD size_t w4a8_strip_at(int strip, int group, int groups)
{
    return ((size_t)(strip / W4A8_NEAR) * groups + group) * W4A8_NEAR + strip % W4A8_NEAR;
}

/* Number of all of them. */
HD size_t w4a8_strips(int n, int k)
{
    return (size_t)w4a8_div_up(n, W4A8_STRIP * W4A8_NEAR) * W4A8_NEAR *
           w4a8_div_up(k, W4A8_GROUP);
}

HD size_t w4a8_packed_bytes(int n, int k, int grouped)
{
    return w4a8_strips(n, k) * w4a8_strip_bytes(grouped);
}

/* Channel (0..15) and input channel (0..127) of a nibble of a word of a strip. */
HD void w4a8_place(int word, int nibble, int *channel, int *k)
{
    const int step = word / 128 * 2 + word % 4 / 2, half = word % 2, lane = word / 4 % 32;
    *channel = lane / 4 + nibble % 2 * 8;
    *k = step * 32 + half * 16 + lane % 4 * 4 + nibble / 2;
}

HD int w4a8_shift(int scale, int zero)
{
    return 128 - zero * scale;
}

HD uint32_t w4a8_scales(int scale_low, int zero_low, int scale_high, int zero_high)
{
    return (uint32_t)scale_low | (uint32_t)w4a8_shift(scale_low, zero_low) << 8 |
           (uint32_t)scale_high << 16 | (uint32_t)w4a8_shift(scale_high, zero_high) << 24;
}

/* ---- scales on sums ---- */

HD int w4a8_chunks(int groups)
{
    return w4a8_div_up(groups, W4A8_CHUNK);
}

/* Bytes behind the codes: scales of all strips and groups, then shifts. */
HD size_t w4a8_pair_bytes(int n, int k)
{
    return w4a8_strips(n, k) * W4A8_PAIRS;
}

HD size_t w4a8_shift_bytes(int n, int k)
{
    const int groups = w4a8_div_up(k, W4A8_GROUP);
    return w4a8_strips(n, k) / (size_t)groups * (size_t)w4a8_chunks(groups) * W4A8_SHIFTS;
}

HD size_t w4a8_on_sums_bytes(int n, int k)
{
    return w4a8_packed_bytes(n, k, 0) + w4a8_pair_bytes(n, k) + w4a8_shift_bytes(n, k);
}

/* Where a strip's scales of a group lie, in bytes. */
HD size_t w4a8_pairs_at(int strip, int group, int groups)
{
    return ((size_t)strip * (size_t)groups + (size_t)group) * W4A8_PAIRS;
}

/* Channel (0..15) of a byte of a strip's scales. */
HD int w4a8_pair_channel(int byte)
{
    return byte / 2 + byte % 2 * 8;
}

/* Channel (0..15) and group (0..31) of a byte of a fragment of shifts. */
HD void w4a8_shift_place(int word, int byte, int *channel, int *group)
{
    const int lane = word / 4, fragment = word % 4;
    *channel = lane / 4 + fragment % 2 * 8;
    *group = fragment / 2 * 16 + lane % 4 * 4 + byte;
}

/* What a sum of X is made of: 256 * high + low. */
HD uint32_t w4a8_sum_low(int x_sum)
{
    return (uint32_t)x_sum & 0xff;
}

HD uint32_t w4a8_sum_high(int x_sum)
{
    return (uint32_t)(x_sum + 128) >> 8 & 0xff;
}

/* A group's sum of products, of those that were 16 times too large. */
HD int w4a8_part_high(int part)
{
    return part >> 4; /* of a multiple of 16 */
}

/* Adds a group's products, or those of sums of X with shifts, to a sum: modulo 2^32, in whose
 * signed half the end of it lies. */
HD int w4a8_add_scaled(int sum, int part, uint32_t scale)
{
    return (int)((uint32_t)sum + scale * (uint32_t)part);
}

/* ---- codes to bytes, four at a time ---- */

HD uint32_t w4a8_low(uint32_t word)
{
    return word & 0x0f0f0f0fu;
}

/* 16 times the codes */
HD uint32_t w4a8_high_16(uint32_t word)
{
    return word & 0xf0f0f0f0u;
}

HD uint32_t w4a8_high(uint32_t word)
{
    return word >> 4 & 0x0f0f0f0fu;
}

/* shifts: the byte four times */
HD uint32_t w4a8_shifted(uint32_t codes, uint32_t scale, uint32_t shifts)
{
    return codes * scale + shifts;
}

#endif
