/*
 * select.h - the choice of an algorithm by a trained model.
 *
 * DA-SpMM (arXiv 2202.08556) chooses among its algorithms from four numbers:
 * nnz, m * k, the standard deviation of the row lengths, and n.  A model is
 * data: one decision tree in arrays, made outside of this folder.
 *
 * The tree lies in pre-order, so that the left child of a split follows it:
 *
 *   node        0      1      2     3     4
 *   feature     N    NNZ     -1    -1    -1         -1: a leaf
 *   threshold   8    1e6      .     .     .         left if the number is <= it
 *   next        4      3      2     0     1         split: right child; leaf: row
 */
#ifndef KERNELS_SPMM_SELECT_H
#define KERNELS_SPMM_SELECT_H

#include "spmm.h"

OP_BEGIN

enum { SPMM_SELECT_FEATURES = 4, SPMM_SELECT_ROWS = 8 };

struct spmm_selector {
    int nodes, rows;
    const signed char *feature; /* [nodes] 0 nnz, 1 m * k, 2 row_sd, 3 n; -1: a leaf */
    const double *threshold;    /* [nodes] of splits */
    const int *next;            /* [nodes] split: right child, beyond itself; leaf: < rows */
    const struct spmm_impl *row[SPMM_SELECT_ROWS]; /* row-major, choosing nothing themselves */
};

/* The model's choice, an index into row.  A pure function. */
int spmm_select(const struct spmm_selector *s, const struct spmm_problem *p);

/* Makes s the model of the row daspmm_select_paper, which borrows it until the
 * next call; what was set up before keeps its choice.  NULL: no model. */
void spmm_select_use(const struct spmm_selector *s);

/* The row daspmm_select_paper: set-up evaluates the model and sets the chosen
 * row up; the rest is chosen.h's.  Supported is what the chosen row supports. */
enum op_status spmm_select_supports(const struct spmm_problem *p, const char **why);
extern spmm_setup_fn spmm_select_setup;
double spmm_select_extra_bytes(const struct spmm_problem *p);

OP_END
#endif
