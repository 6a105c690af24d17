/*
 * spmm_cusparse.h - cuSPARSE behind the signatures of spmm.
 *
 * One line per row of the table: name, title, layout of B and C, format of A,
 * algorithm, and whether set-up calls the preprocessing of the library.  The
 * table (spmm.c) and the set-up functions (spmm_cusparse.c) are made from it.
 *
 * Both layouts work with every algorithm since cuSPARSE 11.7.1.  By its manual
 * preprocessing speeds up CSR ALG1 and ALG3 only; ALG2 has both rows all the
 * same, so that no variant of the baseline is missing.  The last argument is 1
 * where set-up preprocesses, 0 where it does not, and -1 where the call then
 * does the analysis itself and synchronises: such a call cannot be captured,
 * and behind a closed gate it never returns (both seen with CUDA 13.0).
 */
#ifndef BASELINES_SPMM_CUSPARSE_H
#define BASELINES_SPMM_CUSPARSE_H

#include "../kernels/spmm/spmm.h"

/* Products with a dense matrix.  L: suffix of the name, T: of the title. */
#define SPMM_CUSPARSE_LAYOUT(X, L, T, layout)                                                     \
    X(csr_default_##L, "cuSPARSE CSR" T, layout, CSR, CUSPARSE_SPMM_ALG_DEFAULT, 0)               \
    X(csr_alg1_##L, "cuSPARSE CSR ALG1" T, layout, CSR, CUSPARSE_SPMM_CSR_ALG1, 0)                \
    X(csr_alg1_pre_##L, "cuSPARSE CSR ALG1 pre" T, layout, CSR, CUSPARSE_SPMM_CSR_ALG1, 1)        \
    X(csr_alg2_##L, "cuSPARSE CSR ALG2" T, layout, CSR, CUSPARSE_SPMM_CSR_ALG2, 0)                \
    X(csr_alg2_pre_##L, "cuSPARSE CSR ALG2 pre" T, layout, CSR, CUSPARSE_SPMM_CSR_ALG2, 1)        \
    X(csr_alg3_##L, "cuSPARSE CSR ALG3" T, layout, CSR, CUSPARSE_SPMM_CSR_ALG3, -1)               \
    X(csr_alg3_pre_##L, "cuSPARSE CSR ALG3 pre" T, layout, CSR, CUSPARSE_SPMM_CSR_ALG3, 1)        \
    X(coo_default_##L, "cuSPARSE COO" T, layout, COO, CUSPARSE_SPMM_ALG_DEFAULT, 0)               \
    X(coo_alg1_##L, "cuSPARSE COO ALG1" T, layout, COO, CUSPARSE_SPMM_COO_ALG1, 0)                \
    X(coo_alg2_##L, "cuSPARSE COO ALG2" T, layout, COO, CUSPARSE_SPMM_COO_ALG2, 0)                \
    X(coo_alg3_##L, "cuSPARSE COO ALG3" T, layout, COO, CUSPARSE_SPMM_COO_ALG3, 0)                \
    X(coo_alg4_##L, "cuSPARSE COO ALG4" T, layout, COO, CUSPARSE_SPMM_COO_ALG4, 0)

#define SPMM_CUSPARSE_MATRIX(X)                  \
    SPMM_CUSPARSE_LAYOUT(X, rm, "", "row")       \
    SPMM_CUSPARSE_LAYOUT(X, cm, " CM", "column")

/* The same with A in blocks (spmm_blocks.h).  Which dtypes have which rows: spmm.c. */
#define SPMM_CUSPARSE_BLOCKED(X)                                                          \
    X(bsr_rm, "cuSPARSE BSR", "row", BSR, CUSPARSE_SPMM_BSR_ALG1, 0)                      \
    X(bsr_cm, "cuSPARSE BSR CM", "column", BSR, CUSPARSE_SPMM_BSR_ALG1, 0)                \
    X(bell_rm, "cuSPARSE Blocked-ELL", "row", BELL, CUSPARSE_SPMM_BLOCKED_ELL_ALG1, 0)    \
    X(bell_cm, "cuSPARSE Blocked-ELL CM", "column", BELL, CUSPARSE_SPMM_BLOCKED_ELL_ALG1, 0)

/* Products with a vector: n = 1. */
#define SPMM_CUSPARSE_VECTOR(X)                                                               \
    X(spmv_csr_alg1, "cuSPARSE SpMV CSR ALG1", NULL, CSR, CUSPARSE_SPMV_CSR_ALG1, 0)          \
    X(spmv_csr_alg1_pre, "cuSPARSE SpMV CSR ALG1 pre", NULL, CSR, CUSPARSE_SPMV_CSR_ALG1, 1)  \
    X(spmv_csr_alg2, "cuSPARSE SpMV CSR ALG2", NULL, CSR, CUSPARSE_SPMV_CSR_ALG2, 0)          \
    X(spmv_csr_alg2_pre, "cuSPARSE SpMV CSR ALG2 pre", NULL, CSR, CUSPARSE_SPMV_CSR_ALG2, 1)  \
    X(spmv_coo_alg1, "cuSPARSE SpMV COO ALG1", NULL, COO, CUSPARSE_SPMV_COO_ALG1, 0)          \
    X(spmv_coo_alg2, "cuSPARSE SpMV COO ALG2", NULL, COO, CUSPARSE_SPMV_COO_ALG2, 0)

#define SPMM_CUSPARSE_DECLARE(name, title, layout, format, algorithm, preprocess) \
    extern spmm_setup_fn spmm_cusparse_##name;
SPMM_CUSPARSE_MATRIX(SPMM_CUSPARSE_DECLARE)
SPMM_CUSPARSE_BLOCKED(SPMM_CUSPARSE_DECLARE)
SPMM_CUSPARSE_VECTOR(SPMM_CUSPARSE_DECLARE)
#undef SPMM_CUSPARSE_DECLARE

extern spmm_run_fn spmm_cusparse_run_matrix, spmm_cusparse_run_vector;
void spmm_cusparse_teardown(void *state);
void spmm_cusparse_format(const void *state, struct spmm_format *out); /* of a row in blocks */

#endif
