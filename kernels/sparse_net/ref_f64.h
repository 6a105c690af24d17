/* ref_f64.h - what a reference on the GPU does between layers, in double; for ref_cuda.c. */
#ifndef KERNELS_SPARSE_NET_REF_F64_H
#define KERNELS_SPARSE_NET_REF_F64_H

#include "../op.h"

OP_BEGIN

/* Columns at, at + 1 ... of rows of half. */
struct ref_rows {
    void *at;
    int step; /* elements from one row to the next */
};

/* v = relu(sum + bias + residual), all [rows][columns]; residual half, may be NULL.  Into y as
 * double where that is not NULL, else rounded to half into `row`. */
enum op_status net_ref_finish(const double *sum, const float *bias, const void *residual,
                              long rows, int columns, int relu, double *y, void *row, op_stream s);
/* to = from, or to += from where add: terms and sums rounded to half.  Exactly one of from and
 * from_sum is given; from_sum [rows][columns]. */
enum op_status net_ref_add(struct ref_rows from, const double *from_sum, struct ref_rows to,
                           long rows, int columns, int add, op_stream s);
/* g = 0 where y is not above 0, [count]. */
enum op_status net_ref_mask(void *g, const void *y, size_t count, op_stream s);
/* by_in [..][taps], filled with -1 before, of by_out [rows][taps]. */
enum op_status net_ref_transpose(const int32_t *by_out, long rows, int taps, int32_t *by_in,
                                 op_stream s);
/* bound = factor (root of the mean square of its tap + of the layer), of dw [taps][of_tap]. */
enum op_status net_ref_bounds(const double *dw, int taps, size_t of_tap, double factor,
                              float *bound, op_stream s);

OP_END
#endif
