/*
 * morton.h - coordinates as Morton keys: the bits of x, y and z in turn, the batch above them.
 *
 *     bit   3 bits + ...      3i+2  3i+1  3i   ...   2  1  0
 *           batch             x_i   y_i   z_i        x  y  z
 *
 * Eight children of a cell are neighbours in key order, and key >> 3 is the parent's key with one
 * bit an axis less.  The low three bits are the tap of a child in a kernel of 2 x 2 x 2.
 */
#ifndef KERNELS_KMAP_MORTON_H
#define KERNELS_KMAP_MORTON_H

#include <stdint.h>

#include "../common/hd.h"

/* Up to 20 bits, two zeros after each; and back. */
HD uint64_t morton_spread(uint32_t v)
{
    uint64_t x = v & 0xfffff;
    x = (x | x << 32) & 0x000f00000000ffffull;
    x = (x | x << 16) & 0x000f0000ff0000ffull;
    x = (x | x << 8) & 0x000f00f00f00f00full;
    x = (x | x << 4) & 0x00c30c30c30c30c3ull;
    return (x | x << 2) & 0x0249249249249249ull;
}

HD uint32_t morton_compact(uint64_t x)
{
    x &= 0x0249249249249249ull;
    x = (x | x >> 2) & 0x00c30c30c30c30c3ull;
    x = (x | x >> 4) & 0x000f00f00f00f00full;
    x = (x | x >> 8) & 0x000f0000ff0000ffull;
    x = (x | x >> 16) & 0x000f00000000ffffull;
    return (uint32_t)((x | x >> 32) & 0xfffff);
}

HD uint64_t morton_key(uint32_t b, uint32_t x, uint32_t y, uint32_t z, int bits)
{
    return (uint64_t)b << 3 * bits | morton_spread(x) << 2 | morton_spread(y) << 1 |
           morton_spread(z);
}

/* Levels of which a voxel is the first in key order: the largest l with key >> 3l different from
 * the key before, at most `levels` - 1. */
HD int morton_first_of(uint64_t key, uint64_t before, int levels)
{
    uint64_t differ = key ^ before;
    int l = 0;
    while (l + 1 < levels && differ >> 3 * (l + 1))
        l++;
    return l;
}

#endif
