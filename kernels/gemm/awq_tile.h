/*
 * awq_tile.h - where the chunks of awq2024_gemm lie in shared memory, in units
 * of 16 bytes, and which one a lane points at in its ldmatrix.
 *
 * chunks: in a row of X's tile (8 half each), and in a band of W's tile (32
 * codes each); 8 for every 64 of k.
 */
#ifndef KERNELS_GEMM_AWQ_TILE_H
#define KERNELS_GEMM_AWQ_TILE_H

#include "../common/hd.h"

HD int awq2024_x_chunk(int chunks, int row, int chunk)
{
    return row * chunks + (chunk ^ row % 8);
}

/* Eight rows of an ldmatrix are two bands; a band's rows are two chunks apart. */
HD int awq2024_w_chunk(int chunks, int band, int chunk)
{
    return band * chunks + (chunk ^ band % 2);
}

/* The A fragment of rows row0.., columns p0..p0+15. */
HD int awq2024_x_row(int chunks, int row0, int p0, int lane)
{
    return awq2024_x_chunk(chunks, row0 + lane % 16, p0 / 8 + lane / 16);
}

/* Channels j0..j0+15 of 64 columns: matrices (j0.., first 32 columns),
 * (j0.., last 32), (j0+8.., first 32), (j0+8.., last 32). */
HD int awq2024_w_row(int chunks, int j0, int columns_64, int lane)
{
    const int j = j0 + lane / 16 * 8 + lane % 8, half = lane / 8 % 2;
    return awq2024_w_chunk(chunks, j / 4, columns_64 * 8 + j % 4 * 2 + half);
}

#endif
