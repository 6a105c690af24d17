/*
 * w4a16_layout.h - 4-bit weights in the order in which tensor cores take them.
 *
 * A strip is 16 output channels by one group of 128 input channels: one A tile
 * (m16) of mma m16n8k16, or one warp's quarter of wgmma m64, in 8 steps of k16.
 * Everything a strip needs lies together, so one bulk copy brings it, and `near`
 * strips that are neighbours in n lie behind each other: 4 for few tokens, and for
 * more 16, so that a tile of 128 or 256 channels takes one copy a group.
 *
 *   packed   [n/16/near][k/128][near] strips             n rounded up, rest zeros
 *   strip    1024 bytes  codes    [2][32 lanes][4] words of step 4 half + 0..3
 *              32        scales   [8] half2 { channel r, channel r+8 }
 *              16        zeros    [8] bytes { zero r, 16 zero r+8 }   not if symmetric
 *
 * so a lane loads a step's codes 16 bytes at a time, 512 consecutive bytes a
 * warp.  A word holds the lane's part of an A fragment, r = lane/4, c = lane%4*2:
 *
 *   bits     31-28   27-24   23-20   19-16   15-12   11-8    7-4     3-0
 *   channel  r+8     r       r+8     r       r+8     r       r+8     r
 *   k        c+9     c+9     c+1     c+1     c+8     c+8     c       c
 *
 * With the masks of dequant.h: word & 000f -> a0, word & 00f0 -> a1, and of
 * word >> 8 a2 and a3.  Odd registers belong to channel r+8, even ones to r, so
 * a1 and a3 come out 16 times too large and are scaled back by the multiply-add
 * that subtracts the zero: z becomes the half 1024 + z (0x6400 | z) for channel
 * r and 64 + z (0x5400 | 16 z) for r+8, made from the bytes stored here.
 */
#ifndef KERNELS_GEMM_W4A16_LAYOUT_H
#define KERNELS_GEMM_W4A16_LAYOUT_H

#include <stddef.h>

#include "../common/hd.h"

enum {
    W4_GROUP = 128,     /* input channels of a strip, which share a scale */
    W4_STRIP = 16,      /* its output channels */
    W4_NEAR = 4,        /* strips that lie together, for few tokens */
    W4_LARGE_NEAR = 16, /* and for more */
    W4_CODES = 1024,    /* bytes */
    W4_SCALES = 32,
    W4_ZEROS = 16,
    W4_WORDS = 256,     /* of the codes */

    /* for few tokens */
    W4_PAIR = 2,        /* strips of a slot of a warp's ring */
    W4_FRAGMENT = 512,  /* bytes of a warp's float sums of 16 channels by 8 tokens */
    /* a row of one group of X in shared memory: 16 bytes more, so that 8 rows of 16
     * bytes, as ldmatrix reads them, lie in different banks */
    W4_X_STRIDE = W4_GROUP * 2 + 16
};

HD int w4_div_up(int a, int b)
{
    return (a + b - 1) / b;
}

HD int w4_strip_bytes(int symmetric)
{
    return W4_CODES + W4_SCALES + (symmetric ? 0 : W4_ZEROS);
}

/* Strips of n channels as stored. */
HD int w4_strips(int n, int near)
{
    return (n + W4_STRIP * near - 1) / (W4_STRIP * near) * near;
}

/* Number of strips before this one: channels 16 strip .., input channels 128 group .. */
HD size_t w4_strip_at(int strip, int group, int groups, int near)
{
    return ((size_t)(strip / near) * groups + group) * near + strip % near;
}

HD size_t w4_packed_bytes(int n, int k, int symmetric, int near)
{
    return (size_t)w4_strips(n, near) * (k / W4_GROUP) * w4_strip_bytes(symmetric);
}

/* ---- strips in chunks, for the kernel of strips (w4a16_strips.h) ---- */

/* Chunks of `size` strips that are neighbours in n, the first `more` of one more. */
struct w4_cut {
    int size, more;
};

HD struct w4_cut w4_cut_of(int strips, int chunks)
{
    const struct w4_cut cut = { strips / chunks, strips % chunks };
    return cut;
}

/* First strip of a chunk, and how many it has. */
HD int w4_cut_begin(struct w4_cut cut, int chunk)
{
    return chunk * cut.size + (chunk < cut.more ? chunk : cut.more);
}

HD int w4_cut_size(struct w4_cut cut, int chunk)
{
    return cut.size + (chunk < cut.more);
}

/* Number of strips before this one: of a chunk all strips of a group lie together. */
HD size_t w4_cut_at(struct w4_cut cut, int strip, int group, int groups)
{
    const int wide = cut.more * (cut.size + 1); /* strips of chunks of one more */
    const int chunk = strip < wide ? strip / (cut.size + 1) : cut.more + (strip - wide) / cut.size;
    const int begin = w4_cut_begin(cut, chunk);
    return (size_t)begin * groups + (size_t)group * w4_cut_size(cut, chunk) + (strip - begin);
}

/* ---- a strip ---- */

/* Channel (0..15) and input channel (0..127) of a nibble of a word of a strip. */
HD void w4_place(int word, int nibble, int *channel, int *k)
{
    const int step = word / 128 * 4 + word % 4, lane = word / 4 % 32;
    *channel = lane / 4 + nibble % 2 * 8;
    *k = step * 16 + lane % 4 * 2 + nibble / 4 + nibble / 2 % 2 * 8;
}

#endif
