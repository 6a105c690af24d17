/* rgcn_cublas.h - relational graph convolution by cuBLAS and cuSPARSE, for the table in rgcn.c. */
#ifndef BASELINES_RGCN_CUBLAS_H
#define BASELINES_RGCN_CUBLAS_H

#include "../kernels/rgcn/rgcn.h"

/* rgcn_cublas.c: gather, GEMM by adaptive grouping, scatter. */
extern rgcn_setup_fn rgcn_gather_grouped_setup;
extern rgcn_run_fn rgcn_gather_grouped;
void rgcn_gather_teardown(void *state);
void rgcn_gather_counts(const struct rgcn_problem *p, const void *state,
                        struct rgcn_counts *counts);

/* rgcn_cusparse.c */
extern rgcn_setup_fn rgcn_relation_csr_setup, rgcn_relation_coo_setup, rgcn_stacked_setup,
    rgcn_compact_setup;
extern rgcn_run_fn rgcn_cusparse;
void rgcn_cusparse_teardown(void *state);
void rgcn_cusparse_counts(const struct rgcn_problem *p, const void *state,
                          struct rgcn_counts *counts);

/* Host memory to the device, in memory taken for it; waits.  Does nothing and returns NULL where
 * *status is a failure already. */
const void *rgcn_send(const void *from, size_t bytes, const struct op_memory *memory, op_stream s,
                      enum op_status *status);
void *rgcn_take(size_t bytes, const struct op_memory *memory, enum op_status *status);

#endif
