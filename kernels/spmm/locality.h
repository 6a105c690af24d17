/*
 * locality.h - how the columns of A lie, from a sample of its rows.
 *
 * The sizes of a matrix and the lengths of its rows do not tell whether rows of
 * B are used again soon; where the columns lie does.  A few hundred rows,
 * evenly spaced, are looked at on the host: some hundred microseconds for
 * a matrix of any size.
 */
#ifndef KERNELS_SPMM_LOCALITY_H
#define KERNELS_SPMM_LOCALITY_H

#include "spmm.h"

OP_BEGIN

/* Zero, all of them, where A has no entries. */
struct spmm_locality {
    double spread; /* mean distance of a column from where the diagonal passes, over k;
                    * 1/3: anywhere */
    double near;   /* share of entries less than 32 columns after the one before in the row */
    double next;   /* share of entries one column after the one before: dense blocks */
    double shared; /* share of the columns of a row that the row after it has too */
};

/* host: row_ptr and col, in host memory.  A pure function. */
void spmm_locality_of(const struct spmm_problem *p, const struct spmm_matrix *host,
                      struct spmm_locality *out);

OP_END
#endif
