/*
 * gemm.h - Y = X * W^T.
 *
 *     Y[i][j] = sum over p of X[i][p] * W[j][p]
 *
 *     i in [0,m)  tokens          j in [0,n)  output channels
 *     p in [0,k)  input channels, in k/group groups that share a scale
 *
 * One problem structure serves the reference, the vendor baselines and the
 * kernels.  What differs between implementations is the scheme: how X and W
 * are stored.  Only the unquantised half-precision scheme exists so far.
 */
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H

#include "../op.h"

OP_BEGIN

struct gemm_problem {
    int m, n, k; /* elements; each >= 1 */
    int group;   /* input channels per scale; divides k.  Not used by GEMM_F16 */
};

enum gemm_scheme {
    GEMM_F16 /* half X, half W, float sums, half Y */
};

/* Operands of one launch, 256-byte aligned, row-major. */
struct gemm_args {
    const void *x; /* half [m][k] */
    const void *w; /* half [n][k] */
    void *y;       /* half [m][n] */
};

typedef enum op_status gemm_run_fn(const struct gemm_problem *, const struct gemm_args *,
                                   void *state, op_stream);
/* As spmm_setup_fn of ../spmm/spmm.h: once per operands, may synchronise. */
typedef enum op_status gemm_setup_fn(const struct gemm_problem *, const struct gemm_args *,
                                     const struct op_memory *, op_stream, void **state);

struct gemm_impl {
    struct op_impl base; /* first */
    enum gemm_scheme scheme;
    enum op_status (*supports)(const struct gemm_problem *, const char **why); /* NULL: all */
    gemm_setup_fn *setup;          /* NULL: none */
    void (*teardown)(void *state); /* accepts NULL; NULL: none */
    gemm_run_fn *run;              /* NULL where the build has no CUDA */
};

/* Tables, ended by an entry whose base.name is NULL. */
extern const struct gemm_impl gemm_references[]; /* ref.c: host */
extern const struct gemm_impl gemm_kernels[];    /* impls.c */
extern const struct gemm_impl gemm_baselines[];  /* baselines/gemm.c */

/* Rows listed in row[rows] of Y in double precision: want and bound [rows][n]
 * as in spmm.h.  gemm_ref_rows takes host pointers, gemm_ref_rows_cuda device
 * pointers (row too) and enqueues. */
enum op_status gemm_ref_rows(const struct gemm_problem *p, const void *x, const void *w,
                             const int *row, int rows, double *want, float *bound);
enum op_status gemm_ref_rows_cuda(const struct gemm_problem *p, const void *x, const void *w,
                                  const int *row, int rows, double *want, float *bound,
                                  op_stream s);

OP_END
#endif
