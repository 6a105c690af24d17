/* spmm.c - the table of baselines of spmm: cusparse_NAME for every NAME of spmm_cusparse.h. */
#include "spmm_cusparse.h"

static enum op_status any_problem(const struct spmm_problem *p, const char **why)
{
    (void)p, (void)why;
    return OP_OK;
}

static enum op_status one_column(const struct spmm_problem *p, const char **why)
{
    if (p->n == 1)
        return OP_OK;
    *why = "a product with a vector: n is not 1";
    return OP_EUNSUPPORTED;
}

#define ROW(name_, title_, layout_, origin_, supports_, run_, preprocess_)                       \
    { .base = { .name = "cusparse_" #name_, .title = title_, .origin = origin_,                  \
                .role = OP_BASELINE, .sm_min = 75, .sm_max = 999, .layout = layout_,             \
                .flags = (preprocess_) < 0 ? OP_SYNCS | OP_NO_CAPTURE : 0 },                     \
      .supports = supports_, .setup = OP_CUDA(spmm_cusparse_##name_),                            \
      .teardown = OP_CUDA(spmm_cusparse_teardown), .run = OP_CUDA(run_) },
#define MATRIX(name, title, layout, format, algorithm, preprocess)                      \
    ROW(name, title, layout, "cusparseSpMM, " #algorithm, any_problem, spmm_cusparse_run_matrix, \
        preprocess)
#define VECTOR(name, title, layout, format, algorithm, preprocess)                      \
    ROW(name, title, layout, "cusparseSpMV, " #algorithm, one_column, spmm_cusparse_run_vector, \
        preprocess)

const struct spmm_impl spmm_baselines[] = {
    SPMM_CUSPARSE_MATRIX(MATRIX)
    SPMM_CUSPARSE_VECTOR(VECTOR)
    { .base = { .name = NULL } },
};
