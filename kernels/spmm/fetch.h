/*
 * fetch.h - bytes that a product must move when rows of B are counted as often as a cache must
 * fetch them: a model, from the pattern of A.
 *
 * A kernel in CSR order: a block of 256 threads takes consecutive rows, four columns a thread, from
 * 64 columns on eight, and at most 128 columns at a time; blocks are dealt to the SMs in turn, eight
 * at a time to each, whose rows walk their entries together, four a step.
 *
 *   L2 to the SMs    a row of B once for a block that wants it, and not if the SM still has it of
 *                    another: a cache of l1 bytes that replaces the oldest, through which A and B
 *                    pass.  A once for every 128 columns, C once
 *   memory to L2     a cache of l2 bytes that replaces the oldest, through which A, B and C pass in
 *                    the order of the rows.  Columns in tiles of n, n / 2, ... 32, A once for each
 *                    tile; the tile that moves the fewest bytes counts
 *
 * Rows of B are counted in whole sectors of 32 bytes; several narrow ones share one.
 */
#ifndef KERNELS_SPMM_FETCH_H
#define KERNELS_SPMM_FETCH_H

#include "spmm.h"

OP_BEGIN

struct spmm_caches {
    double l2, l1; /* bytes; l1: of an SM */
    int sms;
};

struct spmm_fetch {
    double l2;   /* bytes from L2 to the SMs, A and C included */
    double dram; /* bytes between memory and an L2 that is empty before, the same */
};

/* host: row_ptr and col, in host memory.  One pass over the columns for the SMs, and one for each
 * tile where what is read and written exceeds the L2.  OP_OK or OP_ENOMEM. */
enum op_status spmm_fetch_of(const struct spmm_problem *p, const struct spmm_matrix *host,
                             const struct spmm_caches *caches, struct spmm_fetch *out);

OP_END
#endif
