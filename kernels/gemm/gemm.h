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
    int group;   /* input channels per scale; divides k.  Used by the schemes with groups */
};

/* Y is half in all of them. */
enum gemm_scheme {
    GEMM_F16,          /* half X, half W */
    GEMM_W4A16,        /* half X, 4-bit W with a scale and a zero point per group */
    GEMM_W4A16_SYM,    /* the same, every zero point 8 */
    GEMM_FP8,          /* e4m3 X and W, one scale each */
    GEMM_W8A8,         /* 8-bit X, 8-bit W with a scale per output channel */
    GEMM_W4A8_CHANNEL, /* 8-bit X, 4-bit W with a scale and a zero point per output channel */
    GEMM_W4A8_GROUP,   /* 8-bit X, 4-bit W of progressive groups: 4 bits of 8 bits of a real */
    GEMM_W4A4_GROUP,   /* 4-bit X and W, a scale per group of each */
    GEMM_W4A4_CHANNEL  /* 4-bit X with a scale per token, W with one per output channel */
};
enum { GEMM_SCHEMES = GEMM_W4A4_CHANNEL + 1 };

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

/*
 * Products of integers.  With cx the codes of X and cw those of W, exact in 32 bits:
 *
 *   W8A8           acc = sum_p cw[j][p] cx[i][p]
 *                  Y[i][j] = cw.scale[j] cx.scale[i] acc
 *   W4A8_CHANNEL   acc = sum_p code[j][p] cx[i][p]                    code as it is, 0 .. 15
 *                  Y[i][j] = scale[j] cx.scale[i] acc - scaled_zero[j] cx.sum[i]
 *   W4A8_GROUP     w8[j][p] = (code[j][p] - zero[j][p/group]) * scale[j][p/group]
 *                  acc = sum_p w8[j][p] cx[i][p]                      w8 in -128 .. 127
 *                  Y[i][j] = channel_scale[j] cx.scale[i] acc
 *   W4A4_GROUP     part_g = sum over the group of cw[j][p] cx[i][p]
 *                  Y[i][j] = sum_g cw.scale[j][g] cx.scale[i][g] part_g
 *   W4A4_CHANNEL   as W8A8
 *
 * What stands for a sum of X is stored with X, so that the reference takes the
 * same one as the kernels: cx.sum is the sum of the half X before its
 * quantisation, rounded to half; it differs from scale times code_sum by what
 * quantisation cut off.  code_sum and group_sum are exact sums of codes; no
 * formula above needs them, but kernels that shift codes (u8 for s8: w8 + 128) or
 * scale partial sums do:
 *
 *   sum_p w8 cx = sum_p (w8 + 128) cx - 128 code_sum[i]
 *               = sum_g scale_g (sum_p code cx - zero_g group_sum[i][g])
 *
 * |acc| <= k 127 128 < 2^31 for k <= 132104.
 */
struct gemm_int_x {
    const signed char *code; /* [m][k]: -127 .. 127; W4A4: -7 .. 7 */
    const void *scale;       /* half [m], > 0; W4A4_GROUP: [m][k/group] */
    const void *sum;         /* half [m]; W4A8 only, like the next two */
    const int *code_sum;     /* [m]: sum of code over k */
    const int *group_sum;    /* [m][k/group]; W4A8_GROUP only */
};

/* W8A8, W4A4 */
struct gemm_int_w {
    const signed char *code; /* [n][k]: -127 .. 127; W4A4: -7 .. 7 */
    const void *scale;       /* half [n], > 0; W4A4_GROUP: [n][k/group] */
};

/* W4A8_CHANNEL:  W[j][p] = scale[j] * (code[j][p] - zero[j]) */
struct gemm_w4_channel {
    const unsigned char *code; /* [n][k]: 0 .. 15 */
    const void *scale;         /* half [n], > 0 */
    const void *scaled_zero;   /* half [n]: scale * zero, rounded */
    const unsigned char *zero; /* [n]: 0 .. 15 */
};

/*
 * W4A8_GROUP:  W[j][p] = channel_scale[j] * w8[j][p]
 *
 * The 8-bit codes that the 4-bit ones stand for come from [-119, 119], so that
 * every w8 fits 8 bits; code * scale is at most 15 * 16 and fits an unsigned
 * byte, w8 + 128 = code * scale + (128 - zero * scale) does too, and zero * scale
 * is at most 128.
 */
struct gemm_w4_progressive {
    const unsigned char *code;  /* [n][k]: 0 .. 15 */
    const void *channel_scale;  /* half [n], > 0 */
    const unsigned char *scale; /* [n][k/group]: 1 .. 16 */
    const unsigned char *zero;  /* [n][k/group]: 0 .. 15 */
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
    struct gemm_int_x int_x;        /* W8A8, W4A8, W4A4 */
    struct gemm_int_w int_w;
    struct gemm_w4_channel w4_channel;
    struct gemm_w4_progressive w4_progressive;
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
    GEMM_ACC_FP8, /* the tensor cores' own sums of e4m3 products: about 14 bits */
    GEMM_ACC_S32  /* integers of 32 bits over all of k; only the scaling to Y rounds, in float */
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
 * group (no zero when symmetric), one byte an e4m3 or an 8-bit code, two a half;
 * W4A8: two halves a channel, or one and two bytes a group. */
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
 * GEMM_W4A8_CHANNEL: size is that of the products before the zero point comes off,
 * and of what comes off.
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
