/* spconv.c - the table of baselines of spconv. */
#include "spconv_cublas.h"

static enum op_status any_problem(const struct spconv_problem *p, const char **why)
{
    (void)p, (void)why;
    return OP_OK;
}

static enum op_status float_points(const struct spconv_problem *p, const char **why)
{
    *why = p->dtype == SPCONV_F16     ? "float only"
           : p->pass == SPCONV_WGRAD ? "forward and dgrad only"
                                     : NULL;
    return *why ? OP_EUNSUPPORTED : OP_OK;
}

#define ROW(name_, title_, origin_, role_, supports_, setup_, run_)                             \
    { .base = { .name = name_, .title = title_, .origin = origin_, .role = role_,               \
                .sm_min = 75, .sm_max = 999 },                                                  \
      .supports = supports_, .setup = OP_CUDA(setup_),                                          \
      .teardown = OP_CUDA(spconv_cublas_teardown), .run = OP_CUDA(run_),                        \
      .counts = OP_CUDA(spconv_cublas_counts), .half_sums = 1 }

const struct spconv_impl spconv_baselines[] = {
    { .base = { .name = "gather_grouped", .title = "gather-scatter grouped",
                .origin = "TorchSparse (arXiv 2204.10319): fused gather and scatter, cuBLAS by "
                          "adaptive grouping",
                .role = OP_BASELINE, .sm_min = 75, .sm_max = 999 },
      .supports = any_problem, .setup = OP_CUDA(spconv_gather_grouped_setup),
      .teardown = OP_CUDA(spconv_cublas_teardown), .run = OP_CUDA(spconv_gather_fused),
      .counts = OP_CUDA(spconv_cublas_counts), .half_sums = 1, .settings = SPCONV_GROUPINGS,
      .adjust = OP_CUDA(spconv_gather_adjust), .same_setting = spconv_groups_same },
    ROW("gather_fused", "gather-scatter fused", "fused gather and scatter, cublasGemmEx a tap",
        OP_BASELINE, any_problem, spconv_gather_fused_setup, spconv_gather_fused),
    ROW("gather_tap", "gather-scatter by tap",
        "gather, cublasGemmEx, scatter a tap, as SpConv 1 does", OP_BASELINE, any_problem,
        spconv_gather_tap_setup, spconv_gather_tap),
    ROW("gather_atomic", "gather-scatter atomic",
        "gather, cublasGemmEx, atomic scatter a tap, as MinkowskiEngine does", OP_BASELINE,
        float_points, spconv_gather_atomic_setup, spconv_gather_tap),
    { .base = { .name = "cublas_gathered", .title = "cuBLAS on gathered rows",
                .origin = "one cublasGemmEx of all pairs, gathered before: products alone",
                .role = OP_ABLATION, .ablates = "gather_fused", .stage = OP_MMAONLY, .sm_min = 75,
                .sm_max = 999 },
      .supports = any_problem, .setup = OP_CUDA(spconv_gathered_setup),
      .teardown = OP_CUDA(spconv_cublas_teardown), .run = OP_CUDA(spconv_gathered),
      .counts = OP_CUDA(spconv_cublas_counts) },
    { .base = { .name = NULL } },
};
