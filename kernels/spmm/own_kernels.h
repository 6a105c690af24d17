/* own_kernels.h - launchers of the own_*.cu files, for the table in impls.c. */
#ifndef KERNELS_SPMM_OWN_KERNELS_H
#define KERNELS_SPMM_OWN_KERNELS_H

#include "spmm.h"

OP_BEGIN

/* own_row.cu; the panel set-up is for spmm_own_row */
extern spmm_setup_fn spmm_own_row_setup, spmm_own_row_panel_setup, spmm_own_row_q2_setup;
extern spmm_run_fn spmm_own_row, spmm_own_row_u8, spmm_own_row_q2;
void spmm_own_row_teardown(void *state);

/* own_merge.cu; likewise */
extern spmm_setup_fn spmm_own_merge_setup, spmm_own_merge_panel_setup, spmm_own_merge_q2_setup;
extern spmm_run_fn spmm_own_merge, spmm_own_merge_u8, spmm_own_merge_q2;
void spmm_own_merge_teardown(void *state);

/* own_spmv.cu */
extern spmm_setup_fn spmm_own_spmv_setup, spmm_own_spmv_x2_setup;
extern spmm_run_fn spmm_own_spmv, spmm_own_spmv_x2;
void spmm_own_spmv_teardown(void *state);

OP_END
#endif
