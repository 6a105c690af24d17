/* spconv_cublas.h - gather-GEMM-scatter with cuBLAS, for the table in spconv.c. */
#ifndef BASELINES_SPCONV_CUBLAS_H
#define BASELINES_SPCONV_CUBLAS_H

#include "../kernels/spconv/spconv.h"
#include "spconv_groups.h"

OP_BEGIN

/* spconv_cublas.c: gather and scatter of all taps at once, products by adaptive grouping or a
 * GEMM a tap; tap after tap; the products alone, of all pairs in one GEMM. */
extern spconv_setup_fn spconv_gather_grouped_setup, spconv_gather_fused_setup,
    spconv_gather_tap_setup, spconv_gather_atomic_setup, spconv_gathered_setup;
extern spconv_adjust_fn spconv_gather_adjust; /* settings of spconv_groups.h */
extern spconv_run_fn spconv_gather_fused, spconv_gather_tap, spconv_gathered;
void spconv_cublas_teardown(void *state);
void spconv_cublas_counts(const struct spconv_problem *p, const void *state,
                          struct spconv_counts *counts);

/* spconv_gather.cu; all enqueue.  slot [rows][taps] is a row of the buffer or -1, bytes those of
 * a row; from [rows] rows of x, -1: none, that row of the buffer stays.  add: y holds products of one tap already. */
enum op_status spconv_gather_all(const void *x, const int32_t *slot, int taps, long rows,
                                 size_t bytes, void *buffer, op_stream s);
/* Where pairs lie in a buffer: pair e of tap d, start[d] <= e, in row base[d] + e - start[d]; base
 * -1: nowhere.  rows_of [start[taps]]: one side of the pairs.  slots [rows][taps], slots of rows;
 * list [rows], rows of slots; -1 where there is none. */
struct spconv_places {
    int taps;
    int32_t start[SPCONV_TAPS_MAX + 1], base[SPCONV_TAPS_MAX];
};
enum op_status spconv_place_slots(const struct spconv_places *p, const int32_t *rows_of, long rows,
                                  int32_t *slots, op_stream s);
enum op_status spconv_place_list(const struct spconv_places *p, const int32_t *rows_of, long rows,
                                 int32_t *list, op_stream s);
enum op_status spconv_gather_rows(const void *x, const int32_t *from, long rows, size_t bytes,
                                  void *buffer, op_stream s);
enum op_status spconv_scatter_all(enum spconv_dtype t, const void *buffer, const int32_t *slot,
                                  int taps, long rows, int columns, int add, void *y, op_stream s);
/* atomic: float only. */
enum op_status spconv_scatter_tap(enum spconv_dtype t, const void *buffer, const int32_t *to,
                                  long rows, int columns, int atomic, void *y, op_stream s);

OP_END
#endif
