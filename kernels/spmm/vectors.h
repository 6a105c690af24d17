/*
 * vectors.h - A as column vectors for the tensor cores: how many there are, whether they are worth
 * it, and where their values lie.
 *
 * The rows of A are taken in panels of 8 or 16.  A column in which a panel has an entry is a vector
 * of 8x1 or 16x1 values, zero where a row has none there: fill.  Sixteen vectors, in ascending
 * order of their columns, are a step: two products of m16n8k8 or one of m16n8k16 to eight rows.
 * What is missing of the last step of a panel repeats its last column, with zeros.
 *
 *   panel of 8    .  a  .  .  b  .        vectors at columns 1, 3, 4: 24 values for 5 entries
 *                 .  .  .  c  .  .
 *                 .  d  .  .  e  .
 *
 * In memory: cols [steps][16], and values [steps][groups of 8 rows][32 lanes][4], the order in
 * which the lanes of a warp want them:
 *
 *   lane 4 r + q     row r of the group, vectors 4 q .. 4 q + 3
 *
 * A zero of fill is multiplied with B: where B is infinite or NaN in such a column, so is C.
 */
#ifndef KERNELS_SPMM_VECTORS_H
#define KERNELS_SPMM_VECTORS_H

#include "../common/hd.h"
#include "spmm.h"

OP_BEGIN

enum { VECTORS_STEP = 16, VECTORS_GROUP = 8 }; /* vectors of a step; rows of a group */

/* Index of the value of row `row` of the panel in vector v of the step; groups: 1 or 2. */
HD size_t vectors_slot(long step, int groups, int row, int v)
{
    const size_t group = (size_t)step * groups + row / VECTORS_GROUP;
    return (group * 32 + row % VECTORS_GROUP * 4 + v / 4) * 4 + v % 4;
}

/* Fills vectors and steps of p for panels of 8 and of 16 rows, from a host matrix: a pass over
 * its columns.  p as of spmm_describe. */
void vectors_count(const int *row_ptr, const int *col, struct spmm_problem *p);

/*
 * Groups of 8 rows in the panel that moves the fewest bytes, 1 or 2; 0: CSR moves fewer, or
 * vectors were not counted.
 *
 *     vectors   16 steps (8 groups e + 4) + vectors g       e: bytes of an element
 *     CSR       nnz (e + 4) + nnz g                         g: of a row of B, in sectors of 32
 *
 * Both count a row of B as often as it is asked for; a tenth must be saved.
 */
int vectors_rule(const struct spmm_problem *p);

/* Bytes of the format that vectors_rule chooses beyond those of CSR, below 0 where it is smaller;
 * 0 where it chooses none. */
double vectors_extra_bytes(const struct spmm_problem *p);

/* Operations of the products, those with zeros included; 0 where it chooses none. */
double vectors_tensor_ops(const struct spmm_problem *p);

/* ---- the division of the steps among warps ---- */

/* Steps begin .. end - 1 are of one panel; where it is cut, its sums go to a slot of the carry. */
struct vectors_item {
    int panel, begin, end;
    int slot; /* -1: to C */
};
/* A panel in pieces: slots first .. first + pieces - 1. */
struct vectors_cut {
    int panel, first, pieces;
};
struct vectors_plan {
    struct vectors_item *item; /* [items]; owned, as cut */
    struct vectors_cut *cut;   /* [cuts] */
    int items, cuts, slots;
};

/* Pieces of at most `whole` steps; steps [panels] of each panel.  A panel without steps is an item
 * all the same: its rows are stored as zero.  OP_OK, OP_ENOMEM, or OP_EUNSUPPORTED beyond 2^31 - 1
 * steps; on failure plan is all zero. */
enum op_status vectors_divide(const int *steps, int panels, int whole, struct vectors_plan *plan);
void vectors_plan_free(struct vectors_plan *plan); /* accepts { 0 } */

/* Steps of a piece at most: as many as leave each SM several rounds of work. */
int vectors_whole(long steps, long tiles);

OP_END
#endif
