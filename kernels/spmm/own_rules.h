/*
 * own_rules.h - which form of the own kernels a problem gets.
 *
 * Plain C, decided by set-up from sizes, row lengths and the sample of
 * locality.h.  The rules were found on a sweep over 26 matrices and nine n on an
 * H200; a figure in them is a boundary between two forms that differ by a few
 * percent there.  "Skewed": the deviation of the row lengths exceeds their mean.
 */
#ifndef KERNELS_SPMM_OWN_RULES_H
#define KERNELS_SPMM_OWN_RULES_H

#include "locality.h"

OP_BEGIN

/* own_row: own_tile.cuh says what lanes, teams, vectors and loads are. */
struct own_row_form {
    int lanes, teams;
    int vectors; /* Q, 1 or 2; 2 divides n by 8 lanes */
    int loads;   /* U, 4 or 8; 8 only with n % 4 == 0 */
    int whole;   /* longer rows are cut */
};
void own_row_rule(const struct spmm_problem *p, const struct spmm_locality *l,
                  struct own_row_form *out);

/* own_merge */
struct own_merge_form {
    int lanes;
    int items; /* of a chunk */
    int whole; /* longer rows are cut */
};
void own_merge_rule(const struct spmm_problem *p, const struct spmm_locality *l,
                    struct own_merge_form *out);

/* own_spmv: entries a thread takes, 4 or 8; items of a chunk, of which a block has room for
 * `room` entries. */
int own_spmv_rounds(const struct spmm_problem *p);
int own_spmv_rule(const struct spmm_problem *p, int room);

/* own_scan: items of a chunk, of which a warp has room for `room` entries; rows of more than half
 * as many are cut. */
int own_scan_rule(const struct spmm_problem *p, int room);

OP_END
#endif
