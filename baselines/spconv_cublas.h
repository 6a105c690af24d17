/* spconv_cublas.h - gather-GEMM-scatter with cuBLAS, for the table in spconv.c. */
#ifndef BASELINES_SPCONV_CUBLAS_H
#define BASELINES_SPCONV_CUBLAS_H

#include "../kernels/spconv/spconv.h"

OP_BEGIN

/* spconv_cublas.c: gather and scatter of all taps at once, products by adaptive grouping or a
 * GEMM a tap; tap after tap; the products alone, of all pairs in one GEMM. */
extern spconv_setup_fn spconv_gather_grouped_setup, spconv_gather_fused_setup,
    spconv_gather_tap_setup, spconv_gather_atomic_setup, spconv_gathered_setup;
/* Settings of grouping, 1 .. SPCONV_GROUPINGS: those of the published grid that differ.  1 is a
 * GEMM a tap; 2 + 9 e + t groups taps that differ by at most e tenths where the largest has fewer
 * than 5000 + 2500 t rows, e 0 .. 5, t 0 .. 8.  Set-up takes the middle, 0.3 and 15000. */
enum { SPCONV_GROUPINGS = 1 + 6 * 9 };
spconv_adjust_fn spconv_gather_adjust;
extern spconv_run_fn spconv_gather_fused, spconv_gather_tap, spconv_gathered;
void spconv_cublas_teardown(void *state);
void spconv_cublas_counts(const struct spconv_problem *p, const void *state,
                          struct spconv_counts *counts);

/* spconv_gather.cu; all enqueue.  slot [rows][taps] is a row of the buffer or -1, bytes those of
 * a row; from [rows] rows of x, -1: none, that row of the buffer stays.  add: y holds products of one tap already. */
enum op_status spconv_gather_all(const void *x, const int32_t *slot, int taps, long rows,
                                 size_t bytes, void *buffer, op_stream s);
enum op_status spconv_gather_rows(const void *x, const int32_t *from, long rows, size_t bytes,
                                  void *buffer, op_stream s);
enum op_status spconv_scatter_all(enum spconv_dtype t, const void *buffer, const int32_t *slot,
                                  int taps, long rows, int columns, int add, void *y, op_stream s);
/* atomic: float only. */
enum op_status spconv_scatter_tap(enum spconv_dtype t, const void *buffer, const int32_t *to,
                                  long rows, int columns, int atomic, void *y, op_stream s);

OP_END
#endif
