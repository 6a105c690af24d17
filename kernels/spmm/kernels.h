/* kernels.h - launchers of the .cu files, for the table in impls.c. */
#ifndef KERNELS_SPMM_KERNELS_H
#define KERNELS_SPMM_KERNELS_H

#include "spmm.h"

extern spmm_run_fn spmm_rb_sr_rm, spmm_rb_pr_rm, spmm_rb_sr_cm, spmm_rb_pr_cm;        /* rb.cu */
extern spmm_run_fn spmm_rb_sr_rm_any, spmm_rb_pr_rm_any;
extern spmm_run_fn spmm_eb_sr_rm, spmm_eb_pr_rm, spmm_eb_sr_cm, spmm_eb_pr_cm;        /* eb.cu */
extern spmm_run_fn spmm_eb_pr_cm_mended, spmm_eb_sr_rm_csr, spmm_eb_pr_rm_csr;
extern spmm_run_fn spmm_rb_sr_rm_rc, spmm_eb_sr_rm_rc;                                /* rc.cu */

#endif
