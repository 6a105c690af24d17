/*
 * gemm_part.h - the two halves of the binding of gemm that know no harness case:
 * the operands of all sets in every scheme that is used, and what Y should be.
 */
#ifndef SUITES_OPS_GEMM_PART_H
#define SUITES_OPS_GEMM_PART_H

#include "../../kernels/gemm/gemm.h"
#include "bind.h"

enum { GEMM_TENSOR_X = 1, GEMM_TENSOR_W = 2 };

/* Parameters of the operator, and of those that say something else of the same products. */
struct gemm_params {
    int m, n, k, group;
};
extern const struct cb_param gemm_params[]; /* gemm.c */

/* ---- gemm_operands.c ---- */

/* Tensors in their sets; those of schemes that no row uses have no set. */
struct gemm_operands {
    struct cb_device *device;
    struct gemm_problem p;
    uint64_t seed;
    bool exact;
    struct op_sets x, y, x8, x8_scale;                      /* [input sets] */
    struct op_sets w, code[2], scale[2], zero[2], w8, w8_scale; /* [weight sets]; [1]: symmetric */
    /* integer codes of X and W: 8 bits, 4 bits, 4 bits of groups; sums of X's 8 bits */
    struct op_sets int_x[3], int_x_scale[3], x_sum, x_code_sum, x_group_sum;
    struct op_sets int_w[3], int_w_scale[3];
    /* W4A8: [0] per channel, [1] progressive; scale halves, second those or bytes */
    struct op_sets w4a8[2], w4a8_scale[2], w4a8_second[2], w4a8_zero[2];
};

/* schemes: bit 1 << s for each that is used.  device, p, seed and exact are set.  0 or -1;
 * freed by gemm_operands_close either way. */
int gemm_operands_open(struct gemm_operands *o, unsigned schemes, int weight_sets, int input_sets);
void gemm_operands_close(struct gemm_operands *o); /* accepts { 0 } */
struct gemm_args gemm_operands_at(const struct gemm_operands *o, enum gemm_scheme scheme,
                                  int weights, int inputs);

/* ---- gemm_expect.c ---- */

/* What one scheme's reference gives; host memory. */
struct gemm_wanted {
    double *want;         /* [rows][n] */
    float *size, *zeros;
    double *sum, *sum_size, *sum_zeros; /* [m] Freivalds; NULL where all rows are compared */
};

struct gemm_expectation {
    struct cb_device *device;
    struct gemm_problem p;
    unsigned schemes;
    int rows;             /* compared element by element; the others by Freivalds */
    int *row;             /* [rows], ascending */
    signed char *sign;    /* [n] +-1 */
    uint16_t *y;          /* [rows][n] on the host */
    struct gemm_wanted wanted[GEMM_SCHEMES];
    /* on the device */
    void *row_device, *sign_device, *work;
    double *want_device, *sum_device; /* [rows][n], [3][m] */
    float *size_device, *zeros_device;
};

/* Which rows are compared, by the seed: all up to m n k = whole_max.  0 or -1. */
#define GEMM_WHOLE_MAX 1e9
int gemm_expectation_open(struct gemm_expectation *e, struct cb_device *d,
                          const struct gemm_problem *p, uint64_t seed, double whole_max);
/* Memory for these schemes; FP16 is always among them: r2 is the distance to it. */
int gemm_expectation_prepare(struct gemm_expectation *e, unsigned schemes);
/* References of one set. */
int gemm_expectation_compute(struct gemm_expectation *e, const struct gemm_operands *o,
                             int weights, int inputs);
/* Y of a row against them.  equal: to the bit, and no r2. */
int gemm_expectation_check(struct gemm_expectation *e, const struct gemm_impl *i, const void *y,
                           bool equal, struct cb_accuracy *r1, struct cb_accuracy *r2);
void gemm_expectation_close(struct gemm_expectation *e); /* accepts { 0 } */

#endif
