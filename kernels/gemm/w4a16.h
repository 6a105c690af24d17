/*
 * w4a16.h - what the kernels for 4-bit weights share on the host: packing, and
 * the launchers for the table.
 */
#ifndef KERNELS_GEMM_W4A16_H
#define KERNELS_GEMM_W4A16_H

#include "gemm.h"
#include "w4a16_shapes.h"
#include "w4a16_strips.h"

OP_BEGIN

/* Codes, scales and, unless symmetric, zeros of a->w4 (on the device) in the
 * order of w4a16_layout.h, `near` strips together, in memory taken from m.  NULL and
 * *status set on failure.  w4a16_pack.cu. */
unsigned char *w4a16_packed(const struct gemm_problem *p, const struct gemm_args *a, int symmetric,
                            int near, const struct op_memory *m, op_stream s,
                            enum op_status *status);

/* The same of so many strips, in chunks. */
unsigned char *w4a16_packed_cut(const struct gemm_problem *p, const struct gemm_args *a,
                                int symmetric, int strips, struct w4_cut cut,
                                const struct op_memory *m, op_stream s, enum op_status *status);

/* w4a16_small_sm90.cu: set-up by variant, one run and teardown for all. */
extern gemm_setup_fn gemm_w4a16_small_setup, gemm_w4a16_small_sym_setup;
extern gemm_setup_fn gemm_w4a16_small_pdl_setup, gemm_w4a16_small_pdl_sym_setup;
extern gemm_setup_fn gemm_w4a16_small_nodeq_setup, gemm_w4a16_small_loadonly_setup;
extern gemm_setup_fn gemm_w4a16_small_mmaonly_setup, gemm_w4a16_small_deqonly_setup;
extern gemm_run_fn gemm_w4a16_small;
void gemm_w4a16_small_teardown(void *state);

/* w4a16_strips_sm90.cu: the same, and in a tiling that is given: OP_EUNSUPPORTED where it does not
 * fit.  Launches overlap. */
extern gemm_setup_fn gemm_w4a16_strips_setup, gemm_w4a16_strips_sym_setup;
enum op_status gemm_w4a16_strips_shaped(const struct gemm_problem *p, const struct gemm_args *a,
                                        int symmetric, struct w4_strips_shape shape,
                                        const struct op_memory *m, op_stream s, void **state);
extern gemm_run_fn gemm_w4a16_strips;
void gemm_w4a16_strips_teardown(void *state);

/* w4a16_large_sm90.cu: the same. */
extern gemm_setup_fn gemm_w4a16_large_setup, gemm_w4a16_large_sym_setup;
extern gemm_setup_fn gemm_w4a16_large_nodeq_setup, gemm_w4a16_large_loadonly_setup;
extern gemm_setup_fn gemm_w4a16_large_mmaonly_setup, gemm_w4a16_large_deqonly_setup;
/* The same in a tiling that is given: OP_EUNSUPPORTED where it does not fit. */
enum op_status gemm_w4a16_large_shaped(const struct gemm_problem *p, const struct gemm_args *a,
                                       int symmetric, struct w4_large_shape shape,
                                       const struct op_memory *m, op_stream s, void **state);
extern gemm_run_fn gemm_w4a16_large;
void gemm_w4a16_large_teardown(void *state);

/* w4a16.cu: whichever of these w4a16_shapes.h says; strips only where launches overlap. */
extern gemm_setup_fn gemm_w4a16_setup, gemm_w4a16_sym_setup;
extern gemm_setup_fn gemm_w4a16_pdl_setup, gemm_w4a16_pdl_sym_setup;
extern gemm_run_fn gemm_w4a16;
void gemm_w4a16_teardown(void *state);

/* w4a16_portable.cu */
extern gemm_setup_fn gemm_w4a16_portable_setup, gemm_w4a16_portable_sym_setup;
extern gemm_run_fn gemm_w4a16_portable;
void gemm_w4a16_portable_teardown(void *state);

OP_END
#endif
