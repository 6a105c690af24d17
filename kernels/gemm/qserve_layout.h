/*
 * qserve_layout.h - where QServe's published W4A8 kernels keep a code and what
 * belongs to its group, and where the 4-bit rows of W4A4 do.
 *
 * W is [n][k]; j is an output channel, p an input channel, g = p/128 a group.
 *
 * W4A8 ("compute-aware" order): a tile is 32 output by 32 input channels, 512
 * bytes, 16 for each lane of a warp, which thereby holds by one load of 16
 * bytes its own B fragments of mma m16n8k32.  Tiles lie [n/32][k/32].  With
 *
 *   j = 32 a + 16 b + 8 c + d     b, c in 0..1, d in 0..7
 *   p = 32 e + 16 f + 4 g + h     f in 0..1, g, h in 0..3
 *
 *   lane 4 d + g of tile (a, e)
 *
 *     byte    15 ... 12   11 ... 8    7 ... 4     3 ... 0
 *     f, c      1, 1        1, 0       0, 1        0, 0       h counts up with the byte
 *
 *     bits 0-3 of a byte: b = 0, bits 4-7: b = 1
 *
 * Scales and subtrahends of a group are bytes [k/128][n], within 32 channels in
 * the order 0 8 16 24  1 9 17 25 ...: one load of 4 bytes has those of a lane's
 * four fragments.  A subtrahend is -(zero * scale) modulo 256.
 *
 * W4A4: X and W row-major, two codes a byte, the even input channel in bits 0-3,
 * in two's complement.  Scales of groups are half [k/group][rows], W's in order,
 * X's within 16 tokens in the order 0 8  1 9  2 10 ...: the pair of a lane.
 */
#ifndef KERNELS_GEMM_QSERVE_LAYOUT_H
#define KERNELS_GEMM_QSERVE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "../common/hd.h"

enum {
    QSERVE_BAND = 32,   /* channels of a tile, in n and in k */
    QSERVE_TILE = 512,  /* bytes of a tile */
    QSERVE_GROUP = 128, /* the only group that was published */
    W4A4_ROWS = 128     /* X's scales are padded to so many tokens, with zeros */
};

struct qserve_place {
    size_t byte;
    int high; /* 1: in bits 4-7 */
};

struct qserve_code {
    int j, p;
};

/* n and k multiples of 32 */
HD struct qserve_place qserve_code_place(int k, int j, int p)
{
    const int b = j % 32 / 16, c = j % 16 / 8, d = j % 8;
    const int f = p % 32 / 16, g = p % 16 / 4, h = p % 4;
    const size_t tile = (size_t)(j / 32) * (size_t)(k / 32) + (size_t)(p / 32);
    const struct qserve_place at = {
        tile * QSERVE_TILE + (size_t)((4 * d + g) * 16 + 8 * f + 4 * c + h), b
    };
    return at;
}

HD struct qserve_code qserve_code_at(int k, size_t byte, int high)
{
    const size_t tile = byte / QSERVE_TILE, across = (size_t)(k / 32);
    const int lane = (int)(byte % QSERVE_TILE) / 16, in_lane = (int)(byte % 16);
    const struct qserve_code code = {
        (int)(tile / across) * 32 + high * 16 + in_lane % 8 / 4 * 8 + lane / 4,
        (int)(tile % across) * 32 + in_lane / 8 * 16 + lane % 4 * 4 + in_lane % 4
    };
    return code;
}

HD size_t qserve_group_place(int n, int j, int g)
{
    return (size_t)g * (size_t)n + (size_t)(j / 32 * 32 + j % 8 * 4 + j % 32 / 8);
}

/* The output channel at a place of a group's row. */
HD int qserve_group_channel(int at)
{
    return at / 32 * 32 + at % 4 * 8 + at % 32 / 4;
}

HD unsigned char qserve_subtrahend(int scale, int zero)
{
    return (unsigned char)(256 - zero * scale);
}

/* Tokens that a row of X's scales has room for. */
HD int w4a4_room(int m)
{
    return (m + W4A4_ROWS - 1) / W4A4_ROWS * W4A4_ROWS;
}

HD int w4a4_scale_place(int i)
{
    return i / 16 * 16 + i % 8 * 2 + i % 16 / 8;
}

HD int w4a4_scale_token(int at)
{
    return at / 16 * 16 + at % 2 * 8 + at % 16 / 2;
}

#endif
