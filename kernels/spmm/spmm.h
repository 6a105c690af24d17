/*
 * spmm.h - C = A * B, A sparse, B and C dense.
 *
 *     C[i][j] = sum over the entries p of row i of  val[p] * B[col[p]][j]
 *
 *     A [m][k], nnz stored entries, CSR and COO      B [k][n]      C [m][n]
 *
 * B and C are both row-major or both column-major.  The layout is a property
 * of an implementation, not of the problem: a case prepares both, so that
 * row- and column-major kernels are timed in the same rounds.
 *
 * Source: DA-SpMM (arXiv 2202.08556).  Its kernels are points of a small
 * space; its method is the choice among them for a given matrix.
 */
#ifndef KERNELS_SPMM_H
#define KERNELS_SPMM_H

#include <stdint.h>

#include "../op.h"

OP_BEGIN

enum spmm_dtype {
    SPMM_F32,  /* float values, float sums */
    SPMM_F16,  /* half values, float sums, half C */
    SPMM_TF32  /* SPMM_F32, but factors may be rounded to TF32, 11 bits, before they are multiplied:
                * the bound of a result allows for it, and rows of full precision stay within it */
};

enum { SPMM_SQUARES = 6 }; /* sizes of square blocks that are counted: baselines/spmm_blocks.h */

/* Sizes, and what a selector may look at. */
struct spmm_problem {
    int m, k, n;     /* each >= 1 */
    long nnz;        /* < 2^31 */
    enum spmm_dtype dtype;
    int row_max;     /* entries of the fullest row */
    int empty_rows;
    double row_mean; /* nnz / m */
    double row_sd;   /* population standard deviation of entries per row */
    /* of panels of 8 rows and of 16 (vectors.h); 0: not counted */
    long vectors[2], steps[2];
    /* square blocks with an entry, and the most of them in a row of blocks; 0: not counted, or
     * m or k is no multiple of the size */
    long blocks[SPMM_SQUARES];
    int widest[SPMM_SQUARES];
};

/* One sparse matrix; all host or all device pointers, never mixed. */
struct spmm_matrix {
    const int *row_ptr; /* [m+1], row_ptr[0] = 0, non-decreasing, row_ptr[m] = nnz */
    const int *col;     /* [nnz], ascending inside a row */
    const int *row;     /* [nnz], the row of each entry: with col and val, sorted COO */
    const void *val;    /* [nnz], float or half by dtype */
};

/* Operands of one launch; on the device that runs it, 256-byte aligned.  b and
 * c are in the layout of the implementation. */
struct spmm_args {
    struct spmm_matrix a;
    const void *b;
    void *c;
};

/* Enqueues one product; state is what setup stored, NULL without setup.  What
 * C held before does not matter: a kernel that adds into C clears it first,
 * inside run, and that is part of its time. */
typedef enum op_status spmm_run_fn(const struct spmm_problem *, const struct spmm_args *,
                                   void *state, op_stream);

/* Whatever is done once for a matrix and these operands: descriptors, analysis,
 * a conversion of the format, workspace.  host: the matrix in host memory,
 * col and row_ptr filled (val may be NULL).  May synchronise; timed as set-up.
 * On failure nothing is kept and *state is NULL. */
typedef enum op_status spmm_setup_fn(const struct spmm_problem *, const struct spmm_matrix *host,
                                     const struct spmm_args *, const struct op_memory *, op_stream,
                                     void **state);

/* What set-up made of A. */
struct spmm_format {
    int rows;     /* of a panel or block */
    long vectors; /* columns of panels, or of blocks, with an entry */
    long values;  /* stored, zeros included */
    double bytes; /* of the format, read once a product */
};

struct spmm_impl {
    struct op_impl base; /* first: a pointer to it is a pointer to the whole */
    /* OP_OK, or OP_EUNSUPPORTED and *why set to a constant text.  NULL: all FP32. */
    enum op_status (*supports)(const struct spmm_problem *, const char **why);
    spmm_setup_fn *setup;          /* NULL: none */
    void (*teardown)(void *state); /* accepts NULL; NULL: none */
    /* What setup chose, where it chooses (OP_CHOOSES); NULL otherwise. */
    const char *(*choice)(const void *state);
    spmm_run_fn *run;              /* NULL where the build has no CUDA */
    /* Bytes that the algorithm moves beside A, B and C once: COO rows, the clearing of C.
     * NULL: none. */
    double (*extra_bytes)(const struct spmm_problem *);
    /* Where set-up makes another format of A: fills *out.  NULL: it does not. */
    void (*format)(const void *state, struct spmm_format *out);
    /* Operations on tensor cores, zeros of the format included; NULL: it uses none. */
    double (*tensor_ops)(const struct spmm_problem *);
};

/* Tables, ended by an entry whose base.name is NULL.  Order is the order of
 * lists and legends. */
extern const struct spmm_impl spmm_references[]; /* ref.c: host */
extern const struct spmm_impl spmm_kernels[];    /* impls.c */
extern const struct spmm_impl spmm_baselines[];  /* baselines/spmm.c */

/* The row of that name in any of the three tables; NULL: none. */
const struct spmm_impl *spmm_find(const char *name);

/* Fills everything of p but n, dtype and what is counted apart (vectors .. widest) from a host
 * matrix. */
void spmm_describe(int m, int k, const int *row_ptr, struct spmm_problem *p);

/* Element (i, j) of C in double precision, and in *magnitude the sum of
 * |val| * |B|.  Host pointers; val and b as float, b row-major. */
double spmm_ref_at(const struct spmm_problem *p, const struct spmm_matrix *a, const float *b,
                   int i, int j, double *magnitude);

/* All of C in double precision, row-major want [m][n], and bound [m][n]: how far
 * a correct result may lie from it, c (u_out |want| + u_acc sqrt(L) magnitude)
 * with L the length of the row, c = 4 and the unit roundoffs of the dtype; with
 * SPMM_TF32 2^-10 magnitude more, two factors rounded to TF32.
 * spmm_ref works on host pointers, spmm_ref_cuda on device pointers and
 * enqueues; both take val and b (row-major) in the problem's dtype. */
enum op_status spmm_ref(const struct spmm_problem *p, const struct spmm_matrix *a, const void *b,
                        double *want, float *bound);
enum op_status spmm_ref_cuda(const struct spmm_problem *p, const struct spmm_matrix *a,
                             const void *b, double *want, float *bound, op_stream s);

OP_END
#endif
