/*
 * qserve_tile.h - which tile a block makes, where 16-byte chunks of row-major
 * tiles lie in shared memory, and which one a lane points at in its ldmatrix.
 *
 * chunks: in a row of a tile, 4 or 8.  Chunk c of row r is at c ^ (r/2)%4, as
 * published: with 4 chunks the eight rows of a matrix lie in different banks,
 * with 8 two rows share theirs.
 */
#ifndef KERNELS_GEMM_QSERVE_TILE_H
#define KERNELS_GEMM_QSERVE_TILE_H

#include "../common/hd.h"

HD int qserve_chunk(int chunks, int row, int chunk)
{
    return row * chunks + (chunk ^ (row / 2 & 3));
}

/* A fragment of rows row0 .. row0+15 and bytes 16 c .. 16 c + 31. */
HD int qserve_a_row(int chunks, int row0, int c, int lane)
{
    return qserve_chunk(chunks, row0 + lane % 16, c + lane / 16);
}

/* B fragments of rows row0 .. row0+15: matrices (row0.., c), (row0.., c+1),
 * (row0+8.., c), (row0+8.., c+1). */
HD int qserve_b_row(int chunks, int row0, int c, int lane)
{
    return qserve_chunk(chunks, row0 + lane / 16 * 8 + lane % 8, c + lane / 8 % 2);
}

/*
 * Blocks that run at a time share tiles of W: up to eight tiles of tokens take
 * turns before the next one of channels.  down: tiles of tokens.  The grid is
 * (across << bits) x ceil(down / 2^bits), so that some blocks may have i >= down.
 */
HD int qserve_order_bits(int down)
{
    return down >= 6 ? 3 : down >= 3 ? 2 : down >= 2 ? 1 : 0;
}

struct qserve_block {
    int i, j; /* tile of tokens, of channels */
};

HD struct qserve_block qserve_block_of(int x, int y, int bits)
{
    const struct qserve_block b = { (y << bits) + (x & ((1 << bits) - 1)), x >> bits };
    return b;
}

#endif
