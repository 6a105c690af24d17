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
 * are stored.  Operands are handed over in plain order, one code per byte; an
 * implementation that wants them packed packs them in its set-up, which is
 * timed apart from its runs.  bound.h of this folder says how far from the
 * reference a correct result may lie.
 */
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H

#include "../op.h"

OP_BEGIN

struct gemm_problem {
    int m, n, k; /* elements; each >= 1 */
    int group;   /* input channels per scale; divides k.  Used by the 4-bit schemes */
};

enum gemm_scheme {
    GEMM_F16,       /* half X, half W, half Y */
    GEMM_W4A16,     /* half X, 4-bit W with a scale and a zero point per group, half Y */
    GEMM_W4A16_SYM, /* the same, every zero point 8 */
    GEMM_FP8        /* e4m3 X and W, one scale each, half Y */
};

/*
 * 4-bit weights in plain order:  W[j][p] = scale[j][p/group] * (code[j][p] - zero[j][p/group])
 *
 * code   [n][k]        0 .. 15
 * scale  half [n][k/group], > 0
 * zero   [n][k/group]  0 .. 15
 */
struct gemm_w4 {
    const unsigned char *code;
    const void *scale;
    const unsigned char *zero;
};

/* Operands of one launch, 256-byte aligned, row-major.  Those of other schemes
 * than the row's are NULL, but x, w and y are always there: w unquantised. */
struct gemm_args {
    const void *x; /* half [m][k] */
    const void *w; /* half [n][k] */
    void *y;       /* half [m][n] */
    struct gemm_w4 w4;
    const void *x8, *w8;            /* e4m3 [m][k], [n][k] */
    const float *x8_scale, *w8_scale; /* one each: X[i][p] = x8_scale * x8[i][p] */
};

typedef enum op_status gemm_run_fn(const struct gemm_problem *, const struct gemm_args *,
                                   void *state, op_stream);
/* Once per operand set: packs, makes handles, tunes; may synchronise.  On entry
 * *state is NULL for the first set of a case, else what the first set got, so
 * that a choice or a handle may be shared with it: sets are torn down in order,
 * the first one first.  On failure nothing is kept. */
typedef enum op_status gemm_setup_fn(const struct gemm_problem *, const struct gemm_args *,
                                     const struct op_memory *, op_stream, void **state);

/* What products are added up in, which decides how far a result may lie off. */
enum gemm_accumulate {
    GEMM_ACC_F32,
    GEMM_ACC_F16, /* any part of the sum over k longer than a few products in half */
    GEMM_ACC_FP8  /* the tensor cores' own sums of e4m3 products: about 14 bits */
};

struct gemm_impl {
    struct op_impl base; /* first */
    enum gemm_scheme scheme;
    enum gemm_accumulate accumulate;
    /* 4-bit: scale * zero is stored rounded to half and the weight made as
     * scale * code - that.  All weights of a group are then off together, which
     * the bound allows for.  0: code - zero is exact and the product with the
     * scale rounds once at most. */
    int rounds_zero;
    enum op_status (*supports)(const struct gemm_problem *, const char **why); /* NULL: all */
    /* Bytes of W as this row stores it, scales and zeros included.  NULL: as
     * gemm_weight_bytes says. */
    double (*weight_bytes)(const struct gemm_problem *);
    /* Bytes that the algorithm moves beside its operands once: partial sums, an
     * expanded W.  NULL: none. */
    double (*extra_bytes)(const struct gemm_problem *);
    gemm_setup_fn *setup;          /* NULL: none */
    void (*teardown)(void *state); /* accepts NULL; NULL: none */
    /* What set-up chose, where it chooses (OP_CHOOSES); NULL otherwise. */
    const char *(*choice)(const void *state);
    gemm_run_fn *run;              /* NULL where the build has no CUDA */
};

/* Tables, ended by an entry whose base.name is NULL. */
extern const struct gemm_impl gemm_references[]; /* ref.c: host */
extern const struct gemm_impl gemm_kernels[];    /* impls.c */
extern const struct gemm_impl gemm_baselines[];  /* baselines/gemm.c */

/* Bytes of W in a scheme: 4 bits a code, a half scale and 4 bits of zero a
 * group (no zero when symmetric), one byte an e4m3, two a half. */
double gemm_weight_bytes(const struct gemm_problem *p, enum gemm_scheme scheme);

/*
 * The reference: rows listed in row[rows] of Y in double precision, of the
 * operands as the scheme stores them.  All [rows][n]:
 *
 *   want   the sum of products
 *   size   the sum of their absolute values
 *   zeros  the sum of |X| scale zero, by which a rounded zero counts; written
 *          for GEMM_W4A16 only, may be NULL
 *
 * gemm_ref_rows takes host pointers, gemm_ref_rows_cuda device pointers (row
 * too) and enqueues.
 */
enum op_status gemm_ref_rows(const struct gemm_problem *p, enum gemm_scheme scheme,
                             const struct gemm_args *a, const int *row, int rows, double *want,
                             float *size, float *zeros);
enum op_status gemm_ref_rows_cuda(const struct gemm_problem *p, enum gemm_scheme scheme,
                                  const struct gemm_args *a, const int *row, int rows,
                                  double *want, float *size, float *zeros, op_stream s);

/*
 * For a check of all rows at once (Freivalds): sum[i] = X[i] (W^T v) for a
 * vector v of sign[n], +-1, and with absolute values throughout size[i] and
 * zeros[i] as above; all [m].  gemm_ref_freivalds_cuda needs work of
 * gemm_freivalds_bytes on the device.
 * gemm_ref_signed: the same of a result Y [m][n]: sum[i] = Y[i] v, size[i].
 */
enum op_status gemm_ref_freivalds(const struct gemm_problem *p, enum gemm_scheme scheme,
                                  const struct gemm_args *a, const signed char *sign, double *sum,
                                  double *size, double *zeros);
size_t gemm_freivalds_bytes(const struct gemm_problem *p);
enum op_status gemm_ref_freivalds_cuda(const struct gemm_problem *p, enum gemm_scheme scheme,
                                       const struct gemm_args *a, const signed char *sign,
                                       double *sum, double *size, double *zeros, void *work,
                                       op_stream s);
enum op_status gemm_ref_signed(const struct gemm_problem *p, const void *y,
                               const signed char *sign, double *sum, double *size);
enum op_status gemm_ref_signed_cuda(const struct gemm_problem *p, const void *y,
                                    const signed char *sign, double *sum, double *size,
                                    op_stream s);

OP_END
#endif
