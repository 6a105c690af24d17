/*
 * shape.h - the launch shapes of the published kernels.
 *
 * Plain C, because supports() must know on any machine which problems give a
 * grid that cannot be launched.  Blocks have 256 threads throughout.
 */
#ifndef KERNELS_SPMM_SHAPE_H
#define KERNELS_SPMM_SHAPE_H

#include "spmm.h"

enum {
    SPMM_BLOCK = 256,      /* threads of a block */
    SPMM_BLOCK_WARPS = 8,
    SPMM_TILE = 32,        /* columns of C that a block covers: grid.y walks the tiles */
    SPMM_GRID_Y = 65535,   /* largest grid.y of CUDA */
    SPMM_TILED_MAX = SPMM_GRID_Y * SPMM_TILE
};

static inline long spmm_div_up(long a, long b)
{
    return (a + b - 1) / b;
}

static inline long spmm_least(long a, long b)
{
    return a < b ? a : b;
}

static inline int spmm_power_of_two(int n)
{
    return (n & (n - 1)) == 0;
}

/* Columns that one block covers. */
static inline int spmm_width(int n)
{
    return n < SPMM_TILE ? n : SPMM_TILE;
}

/* Tiles along n: 1 for n < 32. */
static inline long spmm_tiles(int n)
{
    return spmm_div_up(n, SPMM_TILE);
}

/* Widest vector load, in floats, that every row of a row-major B allows. */
static inline int spmm_vector(int n)
{
    return n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1;
}

/* Blocks of the warp-reduction kernels, n a power of two: a warp per 32 entries,
 * at most one per row, times the groups of columns.  Rounded down, as published:
 * less than a block of work gives 0. */
static inline long spmm_warp_blocks(const struct spmm_problem *p)
{
    const long groups = spmm_width(p->n) / spmm_vector(p->n);
    return spmm_least(spmm_div_up(p->nnz, 32), p->m) * groups / SPMM_BLOCK_WARPS;
}

#endif
