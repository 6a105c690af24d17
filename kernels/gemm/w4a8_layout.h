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
 * Bytes of A are unsigned, those of X signed.
 *
 *   per channel   word & 0f0f0f0f          the code
 *                 word & f0f0f0f0          16 times the code: rows r+8 of the sums are
 *                                          16 times too large, which the scale undoes
 *   per group     code * scale + shift     w8 + 128 of gemm.h, four bytes at a time: at
 *                                          most 255, so that nothing is carried
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

HD uint32_t w4a8_scales(int scale_low, int zero_low, int scale_high, int zero_high)
{
    return (uint32_t)scale_low | (uint32_t)(128 - zero_low * scale_low) << 8 |
           (uint32_t)scale_high << 16 | (uint32_t)(128 - zero_high * scale_high) << 24;
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
