/* rgcn.c - the table of baselines of rgcn. */
#include "rgcn_cublas.h"

static enum op_status stackable(const struct rgcn_problem *p, const char **why)
{
    const int first = p->in < p->hidden ? p->in : p->hidden;
    const int second = p->hidden < p->out ? p->hidden : p->out;
    const long widest = first > second ? first : second;
    *why = "a row for every node and relation is more than 2^31 numbers";
    return (long)p->nodes * p->relations >= INT32_MAX / widest ? OP_EUNSUPPORTED : OP_OK;
}

#define VENDOR(name_, title_, origin_, supports_, setup_)                                       \
    { .base = { .name = name_, .title = title_, .origin = origin_, .role = OP_BASELINE,         \
                .sm_min = 75, .sm_max = 999 },                                                  \
      .supports = supports_, .setup = OP_CUDA(setup_),                                          \
      .teardown = OP_CUDA(rgcn_cusparse_teardown), .run = OP_CUDA(rgcn_cusparse),               \
      .counts = OP_CUDA(rgcn_cusparse_counts) }

const struct rgcn_impl rgcn_baselines[] = {
    VENDOR("cusparse_relation", "cuBLAS + cuSPARSE by relation",
           "a relation at a time over all nodes: cuBLAS, cusparseSpMM CSR ALG2", NULL,
           rgcn_relation_csr_setup),
    VENDOR("cusparse_relation_coo", "cuBLAS + cuSPARSE COO by relation",
           "the same with cusparseSpMM COO ALG4, which leaves empty rows alone", NULL,
           rgcn_relation_coo_setup),
    VENDOR("cusparse_stacked", "cuBLAS + cuSPARSE stacked",
           "a layer is one cusparseSpMM and one product of cuBLAS over nodes x relations",
           stackable, rgcn_stacked_setup),
    VENDOR("cusparse_compact", "cuBLAS + cuSPARSE compact",
           "cusparseSpMM onto the pairs of relation and node that there are, cuBLAS a relation, "
           "cusparseSpMM onto the nodes", NULL, rgcn_compact_setup),
    { .base = { .name = "gather_grouped", .title = "gather-scatter grouped", .role = OP_PAPER,
                .origin = "TorchSparse++, arXiv 2311.12862, gather-GEMM-scatter: fused gather and "
                          "scatter, cuBLAS by adaptive grouping of relations",
                .sm_min = 75, .sm_max = 999 },
      .setup = OP_CUDA(rgcn_gather_grouped_setup), .teardown = OP_CUDA(rgcn_gather_teardown),
      .run = OP_CUDA(rgcn_gather_grouped), .counts = OP_CUDA(rgcn_gather_counts) },
    { .base = { .name = NULL } },
};
