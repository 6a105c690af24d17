/*
 * impls.c - the table of gnn: which row of spmm does the aggregations of a step.
 *
 * All else of a step is the same in every row, so that their times differ by the
 * aggregations alone.
 */
#include "gnn.h"

#define NAMES(...) (const char *const[]) { __VA_ARGS__, NULL }
#define GPU .sm_min = 75, .sm_max = 999

static const char *const cusparse[] = {
    "cusparse_csr_default_rm", "cusparse_csr_alg1_pre_rm", "cusparse_csr_alg2_rm",
    "cusparse_csr_alg2_pre_rm", "cusparse_csr_alg3_pre_rm", "cusparse_coo_default_rm",
    "cusparse_coo_alg1_rm", "cusparse_coo_alg2_rm", "cusparse_coo_alg3_rm", "cusparse_coo_alg4_rm",
    NULL,
};
static const char *const published[] = { "rb_sr_rm", "rb_pr_rm", "eb_sr_rm", "eb_pr_rm", NULL };
/* The published kernels are for widths that are powers of two; these are the forms of the
 * authors' library for the others. */
static const char *const published_any[] = { "rb_sr_rm_any", "rb_pr_rm_any", "eb_sr_rm_csr",
                                             "eb_pr_rm_csr", NULL };

const struct gnn_impl gnn_rows[] = {
    { .base = { .name = "ref_step", .title = "definition in double", .origin = "definition",
                .role = OP_REFERENCE } },

    { .base = { .name = "cusparse_csr_default_rm", .title = "cuSPARSE default",
                .origin = "cusparseSpMM CSR, default algorithm, no preprocessing",
                .role = OP_BASELINE, GPU, .layout = "row" },
      .aggregate = NAMES("cusparse_csr_default_rm") },
    { .base = { .name = "cusparse_csr_alg2_rm", .title = "cuSPARSE CSR ALG2",
                .origin = "cusparseSpMM CSR ALG2, as DGL calls it",
                .role = OP_BASELINE, GPU, .layout = "row" },
      .aggregate = NAMES("cusparse_csr_alg2_rm") },
    { .base = { .name = "cusparse_tuned", .title = "cuSPARSE tuned",
                .origin = "the fastest row-major CSR or COO algorithm of cuSPARSE for each "
                          "aggregation, measured at set-up",
                .role = OP_BASELINE, GPU, .flags = OP_CHOOSES, .layout = "row" },
      .aggregate = cusparse },
    { .base = { .name = "edges_scatter", .title = "edges, atomic",
                .origin = "an edge at a time, added into its row by atomics",
                .role = OP_BASELINE, GPU, .layout = "row" },
      .aggregate = NAMES("edges_scatter") },
    { .base = { .name = "edges_messages", .title = "edges, messages",
                .origin = "a message per edge gathered into memory, then scattered by atomics, as "
                          "PyTorch Geometric does without a sparse format",
                .role = OP_BASELINE, GPU, .layout = "row" },
      .aggregate = NAMES("edges_messages") },

    { .base = { .name = "daspmm_select_paper", .title = "chosen by the paper's model",
                .origin = "DA-SpMM, arXiv 2202.08556; widths that are no power of two: the fastest "
                          "of the library's forms, measured",
                .role = OP_PAPER, GPU, .flags = OP_CHOOSES, .layout = "row" },
      .aggregate = NAMES("daspmm_select_paper"), .otherwise = published_any },
    { .base = { .name = "published_tuned", .title = "fastest of the paper's",
                .origin = "DA-SpMM, arXiv 2202.08556: the fastest of the row-major four for each "
                          "aggregation, measured at set-up, as in the authors' code for networks",
                .role = OP_PAPER, GPU, .flags = OP_CHOOSES, .layout = "row" },
      .aggregate = published, .otherwise = published_any },

    { .base = { .name = "daspmm_select", .title = "chosen by predicted time",
                .origin = "the choice of spmm's row daspmm_select for each aggregation",
                .role = OP_OWN, GPU, .flags = OP_CHOOSES, .layout = "row" },
      .aggregate = NAMES("daspmm_select") },
    { .base = { .name = "own_row", .title = "own row", .origin = "spmm's row own_row",
                .role = OP_OWN, GPU, .layout = "row" },
      .aggregate = NAMES("own_row") },
    { .base = { .name = "own_merge", .title = "own merge", .origin = "spmm's row own_merge",
                .role = OP_OWN, GPU, .layout = "row" },
      .aggregate = NAMES("own_merge") },

    { .base = { .name = "host_rb", .title = "host RB", .origin = "threads take rows, OpenBLAS",
                .role = OP_OWN, .layout = "row" },
      .aggregate = NAMES("host_rb") },
    { .base = { .name = "host_eb", .title = "host EB",
                .origin = "threads take equally many entries, OpenBLAS",
                .role = OP_OWN, .layout = "row" },
      .aggregate = NAMES("host_eb") },
    { .base = { .name = NULL } },
};
