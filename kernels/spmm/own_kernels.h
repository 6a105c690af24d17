/* own_kernels.h - launchers of the own_*.cu files, for the table in impls.c. */
#ifndef KERNELS_SPMM_OWN_KERNELS_H
#define KERNELS_SPMM_OWN_KERNELS_H

#include "spmm.h"

OP_BEGIN

/* own_row.cu */
extern spmm_setup_fn spmm_own_row_setup;
extern spmm_run_fn spmm_own_row;
void spmm_own_row_teardown(void *state);

/* own_merge.cu */
extern spmm_setup_fn spmm_own_merge_setup;
extern spmm_run_fn spmm_own_merge;
void spmm_own_merge_teardown(void *state);

/* own_spmv.cu */
extern spmm_setup_fn spmm_own_spmv_setup;
extern spmm_run_fn spmm_own_spmv;
void spmm_own_spmv_teardown(void *state);

/* own_scan.cu */
extern spmm_setup_fn spmm_own_scan_setup;
extern spmm_run_fn spmm_own_scan;
void spmm_own_scan_teardown(void *state);

/* stage_sm90.cu */
extern spmm_setup_fn spmm_own_stage_setup;
extern spmm_run_fn spmm_own_stage;
void spmm_own_stage_format(const void *state, struct spmm_format *out);
void spmm_own_stage_teardown(void *state);

/* own_mma.cu */
extern spmm_setup_fn spmm_own_mma_f16_setup, spmm_own_mma_tf32_setup;
extern spmm_run_fn spmm_own_mma_f16, spmm_own_mma_tf32;
void spmm_own_mma_f16_format(const void *state, struct spmm_format *out);
void spmm_own_mma_tf32_format(const void *state, struct spmm_format *out);
void spmm_own_mma_teardown(void *state);

OP_END
#endif
