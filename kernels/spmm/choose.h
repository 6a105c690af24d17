/*
 * choose.h - the choice among all rows by predicted time.
 *
 * DA-SpMM (arXiv 2202.08556) classifies from four numbers.  Here every candidate
 * has a sum of small regression trees that predicts how much slower than the
 * fastest it will be, from more traits, among them a sample of where the columns
 * lie; the candidate of the least prediction is taken.  An error then costs little
 * where rows are close.  A model is data, made outside of this folder.
 *
 * Trees lie in pre-order, one after the other, the left child after its split:
 *
 *   node       0       1      2      3     4    |  5 ..  next tree of the row
 *   trait      N      MEAN   -1     -1    -1    |          -1: a leaf
 *   number     8      3.5   0.02   0.4   1.1    |        left if trait <= number; leaf: is added
 *   right      4      3      .      .     .     |
 */
#ifndef KERNELS_SPMM_CHOOSE_H
#define KERNELS_SPMM_CHOOSE_H

#include "locality.h"

OP_BEGIN

enum spmm_trait {
    SPMM_M, SPMM_K, SPMM_NNZ, SPMM_N,
    SPMM_MEAN,     /* entries per row */
    SPMM_CV,       /* their deviation over their mean */
    SPMM_MAX,      /* of the fullest row over the mean */
    SPMM_EMPTY,    /* share of empty rows */
    SPMM_LONG,     /* share of entries in rows of more than 256 and 8 times the mean */
    SPMM_SPREAD, SPMM_NEAR, SPMM_NEXT, SPMM_SHARED, /* locality.h */
    SPMM_B_BYTES,  /* of B */
    SPMM_WORK,     /* nnz * n */
    SPMM_TRAITS
};
extern const char *const spmm_trait_names[SPMM_TRAITS + 1]; /* ended by NULL */

/* x [SPMM_TRAITS] from the sizes and the host matrix; a pass over row_ptr and the sample. */
void spmm_traits(const struct spmm_problem *p, const struct spmm_matrix *host, double *x);

enum { SPMM_CHOOSE_ROWS = 24 };

/* A leaf stays at itself, left = right = 0: every tree is walked `depth` steps, and no
 * branch is to be predicted. */
struct spmm_choice_node {
    float number;
    unsigned char trait, left; /* left: how far the left child is, 1 or 0 */
    unsigned short right;      /* how far the right child is */
};

struct spmm_chooser {
    int rows;
    const struct spmm_impl *row[SPMM_CHOOSE_ROWS]; /* row-major, choosing nothing themselves */
    int first[SPMM_CHOOSE_ROWS + 1]; /* row r has the trees first[r] .. first[r + 1] - 1 */
    int depth;                       /* splits on the longest way to a leaf */
    const int *tree;                 /* their roots, in node */
    const struct spmm_choice_node *node;
};

/* Whether a row can run here: built, and covers the problem. */
int spmm_choosable(const struct spmm_impl *i, const struct spmm_problem *p);

/* Index of the row with the least prediction among those that can run; -1: none.
 * predicted [rows], may be NULL: for the others a large number. */
int spmm_choose(const struct spmm_chooser *c, const struct spmm_problem *p, const double *x,
                double *predicted);

/* What row r of the model is predicted to lose, log2, whether it can run here or not. */
double spmm_choose_predict(const struct spmm_chooser *c, int r, const float *x);

/* Makes c the model of the row daspmm_select, which borrows it until the next call;
 * what was set up before keeps its choice.  NULL: no model. */
void spmm_choose_use(const struct spmm_chooser *c);

/* The row daspmm_select; the rest of it is chosen.h's. */
enum op_status spmm_choose_supports(const struct spmm_problem *p, const char **why);
extern spmm_setup_fn spmm_choose_setup;

/* The row daspmm_timed: the rows of the three least predictions, of cuSPARSE's two least others and
 * own_stage, which a model may not have yet, are set up and timed; the fastest stays. The memory
 * that the others took stays taken until that of the row is freed. */
enum { SPMM_CHOOSE_FEW = 6 };
extern spmm_setup_fn spmm_timed_setup; /* timed_cuda.c */

/* Those rows, in that order, into out [SPMM_CHOOSE_FEW]; returns how many. */
int spmm_choose_few(const struct spmm_problem *p, const struct spmm_matrix *host,
                    const struct spmm_impl **out);

OP_END
#endif
