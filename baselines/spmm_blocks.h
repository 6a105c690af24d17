/*
 * spmm_blocks.h - A in square blocks, as cuSPARSE's two block formats have it.
 *
 * A block is stored whole where it has an entry, zero where A has none: fill.  s x s blocks, those
 * of a row of blocks in ascending order of their columns:
 *
 *   BSR           ptr [m/s + 1], col [blocks], values [blocks][s][s]
 *   Blocked-ELL   every row of blocks has as many places as the widest needs, `width`:
 *                 col [m/s][width], -1 behind the last block; values [m][width][s]
 *
 *   values of a place   BSR: one block after the other     Blocked-ELL: row after row of A
 *
 * m and k must be multiples of s, since B and C are not padded.
 */
#ifndef BASELINES_SPMM_BLOCKS_H
#define BASELINES_SPMM_BLOCKS_H

#include "../kernels/common/hd.h"
#include "../kernels/spmm/spmm.h"

OP_BEGIN

enum spmm_blocked { SPMM_BSR, SPMM_BELL };

/* Stored values for an entry of A at most: beyond it a row of blocks is not offered.  BSR, which
 * multiplies them all in CUDA cores, from 4x4 blocks with a fill of 4 on asks for as many rows of B
 * as CSR, and reads twice the bytes of A. */
enum { SPMM_FILL_MAX = 16, SPMM_FILL_BSR = 5 };

/* Size i of those counted, 0 <= i < SPMM_SQUARES: 3 for three unknowns at a node, then powers of
 * two from 4 to 64. */
int spmm_block_size(int i);

/* Fills blocks and widest of p for all sizes from a host matrix: a pass over its columns for each
 * size.  p as of spmm_describe.  OP_OK or OP_ENOMEM. */
enum op_status spmm_blocks_count(const int *row_ptr, const int *col, struct spmm_problem *p);

/*
 * Indexes of the sizes that can be used, in ascending order of the bytes a product moves, and how
 * many they are: [SPMM_SQUARES].  An element has e bytes, a row of B g of them in sectors of 32:
 *
 *     BSR           blocks (s s e + 4) + 4 (m/s + 1) + blocks s g
 *     Blocked-ELL   m/s width (s s e + 4)            + blocks s g
 *
 * Blocked-ELL takes sizes from 8 on: tensor cores multiply no less.
 */
int spmm_blocks_order(const struct spmm_problem *p, enum spmm_blocked format, int *index);

/* Bytes of the first of them beyond those of CSR, and operations on its stored values; 0: none. */
double spmm_blocks_extra_bytes(const struct spmm_problem *p, enum spmm_blocked format);
double spmm_blocks_ops(const struct spmm_problem *p, enum spmm_blocked format);

/* Where the blocks lie; host or device pointers. */
struct spmm_blocks {
    int *ptr;       /* [m/s + 1] first place of a row of blocks, of either format */
    int *col;       /* [places], column of blocks; -1: none */
    int size;       /* s */
    int width;      /* Blocked-ELL: places of a row of blocks; BSR: 0 */
    long places;
};

/* In host memory; released with spmm_blocks_free.  On failure all zero: OP_ENOMEM. */
enum op_status spmm_blocks_make(const struct spmm_problem *p, const int *row_ptr, const int *col,
                                enum spmm_blocked format, int index, struct spmm_blocks *out);
void spmm_blocks_free(struct spmm_blocks *b); /* accepts { 0 } */

/* Index of the value of entry (row, col) of A, which is in one of the blocks. */
HD size_t spmm_blocks_slot(const struct spmm_blocks *b, int row, int col)
{
    const int s = b->size, line = row / s;
    const unsigned want = (unsigned)(col / s); /* -1 is behind all */
    int low = b->ptr[line], high = b->ptr[line + 1] - 1;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if ((unsigned)b->col[middle] < want)
            low = middle + 1;
        else
            high = middle;
    }
    if (b->width)
        return ((size_t)row * b->width + (low - b->ptr[line])) * s + col % s;
    return ((size_t)low * s + row % s) * s + col % s;
}

/* ---- spmm_blocks.cu ---- */

/* Enqueues: every value of a, on the device, to its place in values, which are zero before. */
enum op_status spmm_blocks_fill(const struct spmm_problem *p, const struct spmm_matrix *a,
                                const struct spmm_blocks *b, void *values, op_stream s);

OP_END
#endif
