/* impls.c - the table of kernels of spmm, and which problems each covers. */
#include "choose.h"
#include "chosen.h"
#include "host.h"
#include "kernels.h"
#include "own_kernels.h"
#include "select.h"
#include "shape.h"
#include "vectors.h"

/* ---- which problems ---- */

static enum op_status no(const char **why, const char *text)
{
    *why = text;
    return OP_EUNSUPPORTED;
}

static enum op_status any_problem(const struct spmm_problem *p, const char **why)
{
    (void)p, (void)why;
    return OP_OK;
}

/* Float, and as many column tiles as a grid has in y. */
static enum op_status tiled(const struct spmm_problem *p, const char **why)
{
    if (p->dtype == SPMM_F16)
        return no(why, "float only");
    if (p->n > SPMM_TILED_MAX)
        return no(why, "n needs more than 65535 tiles of columns");
    return OP_OK;
}

static enum op_status published(const struct spmm_problem *p, const char **why)
{
    if (!spmm_power_of_two(p->n))
        return no(why, "n is not a power of two");
    return tiled(p, why);
}

/* The published grids are rounded down. */
static enum op_status published_warps(const struct spmm_problem *p, const char **why)
{
    if (published(p, why))
        return OP_EUNSUPPORTED;
    if (!spmm_warp_blocks(p))
        return no(why, "the published grid has no blocks: less than eight warps of work");
    return OP_OK;
}

static enum op_status published_columns(const struct spmm_problem *p, const char **why)
{
    if (published(p, why))
        return OP_EUNSUPPORTED;
    if (p->n > SPMM_GRID_Y)
        return no(why, "n exceeds 65535, the limit of grid y");
    return OP_OK;
}

/* rb_pr_cm and eb_pr_cm run the kernel of rb_pr_rm and eb_pr_rm for one column. */
static enum op_status published_warps_columns(const struct spmm_problem *p, const char **why)
{
    if (published_columns(p, why))
        return OP_EUNSUPPORTED;
    return p->n == 1 ? published_warps(p, why) : OP_OK;
}

static enum op_status published_entries_columns(const struct spmm_problem *p, const char **why)
{
    if (published_warps_columns(p, why))
        return OP_EUNSUPPORTED;
    if (!p->nnz)
        return no(why, "the published grid has no blocks: no entries");
    return OP_OK;
}

static enum op_status not_power_of_two(const struct spmm_problem *p, const char **why)
{
    if (spmm_power_of_two(p->n))
        return no(why, "n is a power of two: the row without _any covers it");
    return tiled(p, why);
}

static enum op_status wide(const struct spmm_problem *p, const char **why)
{
    if (p->n < 33)
        return no(why, "n is 32 or less: row caching is for more columns");
    return tiled(p, why);
}

static enum op_status few_columns(const struct spmm_problem *p, const char **why)
{
    if (p->n > 4)
        return no(why, "n is more than 4");
    return tiled(p, why);
}

/* Whether what a block needs of B fits into shared memory, or panels pay, set-up finds out. */
static enum op_status one_column(const struct spmm_problem *p, const char **why)
{
    if (p->n > 1)
        return no(why, "n is more than 1");
    if (!p->nnz)
        return no(why, "no entries");
    return tiled(p, why);
}

/* Where column vectors move fewer bytes than CSR does. */
static enum op_status in_vectors(const struct spmm_problem *p, const char **why)
{
    if (p->n > SPMM_GRID_Y * VECTORS_GROUP)
        return no(why, "n needs more than 65535 tiles of columns");
    if (!p->vectors[0])
        return no(why, p->nnz ? "column vectors were not counted" : "no entries");
    if (!vectors_rule(p))
        return no(why, "too few entries a column vector: CSR moves as few bytes");
    return OP_OK;
}

static enum op_status half_vectors(const struct spmm_problem *p, const char **why)
{
    return p->dtype == SPMM_F16 ? in_vectors(p, why) : no(why, "half only");
}

/* A float problem says itself whether factors may be rounded. */
static enum op_status tf32_vectors(const struct spmm_problem *p, const char **why)
{
    return p->dtype == SPMM_TF32 ? in_vectors(p, why) : no(why, "dtype tf32 only");
}

/* ---- bytes beside A, B and C ---- */

static double clearing(const struct spmm_problem *p)
{
    return (double)p->m * p->n * 4;
}

/* A bit an entry, and the row of each end of a row. */
static double ends_and_rows(const struct spmm_problem *p)
{
    return (double)p->nnz / 8 + ((double)p->m - p->empty_rows) * 4;
}

static double clearing_and_rows(const struct spmm_problem *p)
{
    return clearing(p) + (double)p->nnz * 4;
}

/* Columns of 16 bits for 32, two bytes a slot of eight entries, and row_ptr only for rows that are
 * empty, with a list of the others. */
static double staged(const struct spmm_problem *p)
{
    const double rows = p->empty_rows ? p->m - p->empty_rows : -(p->m + 1.0);
    return (double)p->nnz * (2.0 / 8 - 2) + 4 * rows;
}

/* ---- the table ---- */

const struct spmm_impl spmm_kernels[] = {
    /* the published eight, in the order of their tags */
    { .base = { .name = "rb_sr_rm", .title = "RB-SR-RM", .role = OP_PAPER,
                .origin = "DA-SpMM, arXiv 2202.08556, algorithm 0",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "rb_seq_row_majorIjLb0E" },
      .supports = published, .run = OP_CUDA(spmm_rb_sr_rm) },
    { .base = { .name = "rb_pr_rm", .title = "RB-PR-RM", .role = OP_PAPER,
                .origin = "DA-SpMM, arXiv 2202.08556, algorithm 1",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "rb_par_row_majorIjLi4ELb0E" },
      .supports = published_warps, .run = OP_CUDA(spmm_rb_pr_rm) },
    { .base = { .name = "eb_sr_rm", .title = "EB-SR-RM", .role = OP_PAPER,
                .origin = "DA-SpMM, arXiv 2202.08556, algorithm 2",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "eb_seq_row_majorI7FromCoojE" },
      .supports = published, .run = OP_CUDA(spmm_eb_sr_rm), .extra_bytes = clearing_and_rows },
    { .base = { .name = "eb_pr_rm", .title = "EB-PR-RM", .role = OP_PAPER,
                .origin = "DA-SpMM, arXiv 2202.08556, algorithm 3",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "eb_par_row_majorI7FromCoojLi4E" },
      .supports = published_warps, .run = OP_CUDA(spmm_eb_pr_rm),
      .extra_bytes = clearing_and_rows },
    { .base = { .name = "rb_sr_cm", .title = "RB-SR-CM", .role = OP_PAPER,
                .origin = "DA-SpMM, arXiv 2202.08556, algorithm 4",
                .sm_min = 75, .sm_max = 999, .layout = "column",
                .symbol = "rb_seq_column_major" },
      .supports = published_columns, .run = OP_CUDA(spmm_rb_sr_cm) },
    { .base = { .name = "rb_pr_cm", .title = "RB-PR-CM", .role = OP_PAPER,
                .origin = "DA-SpMM, arXiv 2202.08556, algorithm 5",
                .sm_min = 75, .sm_max = 999, .layout = "column",
                .symbol = "rb_par_column_major" },
      .supports = published_warps_columns, .run = OP_CUDA(spmm_rb_pr_cm) },
    { .base = { .name = "eb_sr_cm", .title = "EB-SR-CM", .role = OP_PAPER,
                .origin = "DA-SpMM, arXiv 2202.08556, algorithm 6",
                .sm_min = 75, .sm_max = 999, .layout = "column",
                .symbol = "eb_seq_column_major" },
      .supports = published_columns, .run = OP_CUDA(spmm_eb_sr_cm),
      .extra_bytes = clearing_and_rows },
    { .base = { .name = "eb_pr_cm", .title = "EB-PR-CM", .role = OP_PAPER,
                .origin = "DA-SpMM, arXiv 2202.08556, algorithm 7, with the published grid: "
                          "32 times more blocks than have work",
                .sm_min = 75, .sm_max = 999, .layout = "column",
                .symbol = "eb_par_column_major" },
      .supports = published_entries_columns, .run = OP_CUDA(spmm_eb_pr_cm),
      .extra_bytes = clearing_and_rows },
    { .base = { .name = "eb_pr_cm_mended", .title = "EB-PR-CM mended", .role = OP_PAPER,
                .origin = "DA-SpMM, arXiv 2202.08556, algorithm 7, with a block per 256 entries",
                .sm_min = 75, .sm_max = 999, .layout = "column",
                .symbol = "eb_par_column_major" },
      .supports = published_columns, .run = OP_CUDA(spmm_eb_pr_cm_mended),
      .extra_bytes = clearing_and_rows },

    /* forms of the same algorithms in the authors' library */
    { .base = { .name = "rb_sr_rm_rc", .title = "RB-SR-RM rc", .role = OP_PAPER,
                .origin = "dgSPARSE, row caching of GE-SpMM (SC 2020), row balance",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "row_cachingIjLi1E" },
      .supports = wide, .run = OP_CUDA(spmm_rb_sr_rm_rc) },
    { .base = { .name = "eb_sr_rm_rc", .title = "EB-SR-RM rc", .role = OP_PAPER,
                .origin = "dgSPARSE, row caching of GE-SpMM (SC 2020), element balance",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "entry_cachingIjLi1E" },
      .supports = wide, .run = OP_CUDA(spmm_eb_sr_rm_rc), .extra_bytes = clearing },
    { .base = { .name = "eb_sr_rm_csr", .title = "EB-SR-RM CSR", .role = OP_PAPER,
                .origin = "dgSPARSE, element balance on CSR only, sequential reduction",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "eb_seq_row_majorI7FromCsrjE" },
      .supports = tiled, .run = OP_CUDA(spmm_eb_sr_rm_csr), .extra_bytes = clearing },
    { .base = { .name = "eb_pr_rm_csr", .title = "EB-PR-RM CSR", .role = OP_PAPER,
                .origin = "dgSPARSE, element balance on CSR only, parallel reduction",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "eb_par_row_majorI7FromCsrjLi4E" },
      .supports = tiled, .run = OP_CUDA(spmm_eb_pr_rm_csr), .extra_bytes = clearing },
    { .base = { .name = "rb_sr_rm_any", .title = "RB-SR-RM any n", .role = OP_PAPER,
                .origin = "dgSPARSE, row balance, sequential reduction, any n",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "rb_seq_row_majorIjLb1E" },
      .supports = not_power_of_two, .run = OP_CUDA(spmm_rb_sr_rm_any) },
    { .base = { .name = "rb_pr_rm_any", .title = "RB-PR-RM any n", .role = OP_PAPER,
                .origin = "dgSPARSE, row balance, parallel reduction, any n",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "rb_par_row_majorIjLi4ELb1E" },
      .supports = not_power_of_two, .run = OP_CUDA(spmm_rb_pr_rm_any) },

    /* the choice among them */
    { .base = { .name = "daspmm_select_paper", .title = "DA-SpMM selected", .role = OP_PAPER,
                .origin = "DA-SpMM, arXiv 2202.08556, selector: boosted trees over nnz, m k, row "
                          "deviation and n; trained here, row-major four only: none of the "
                          "column-major four was the fastest in training",
                .sm_min = 75, .sm_max = 999, .flags = OP_CHOOSES, .layout = "row" },
      .supports = spmm_select_supports, .setup = spmm_select_setup,
      .teardown = spmm_chosen_teardown, .choice = spmm_chosen_name,
      .run = OP_CUDA(spmm_chosen_run), .extra_bytes = spmm_select_extra_bytes },

    /* this suite's own */
    { .base = { .name = "own_row", .title = "own row", .role = OP_OWN,
                .origin = "sub-warp per row, float4 per lane, four to eight rows of B in flight; "
                          "long rows in pieces",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "own_rowsILi4ELi1ELi4ELi8ELi1E" },
      .supports = tiled, .setup = OP_CUDA(spmm_own_row_setup),
      .teardown = OP_CUDA(spmm_own_row_teardown), .run = OP_CUDA(spmm_own_row) },
    { .base = { .name = "own_merge", .title = "own merge", .role = OP_OWN,
                .origin = "sub-warp per equal chunk of entries and rows, float4 per lane, four "
                          "rows of B in flight; shared rows by carry-out",
                .sm_min = 75, .sm_max = 999, .layout = "row",
                .symbol = "own_chunksILi4ELi1ELi4ELi8E" },
      .supports = tiled, .setup = OP_CUDA(spmm_own_merge_setup),
      .teardown = OP_CUDA(spmm_own_merge_teardown), .run = OP_CUDA(spmm_own_merge) },
    { .base = { .name = "own_spmv", .title = "own stream", .role = OP_OWN,
                .origin = "block per equal chunk, products in shared memory, one to four columns",
                .sm_min = 75, .sm_max = 999, .layout = "row", .symbol = "own_streamILi1E" },
      .supports = few_columns, .setup = OP_CUDA(spmm_own_spmv_setup),
      .teardown = OP_CUDA(spmm_own_spmv_teardown), .run = OP_CUDA(spmm_own_spmv) },
    { .base = { .name = "own_scan", .title = "own scan", .role = OP_OWN,
                .origin = "warp per equal chunk, segmented sums by shuffles where rows end, one to "
                          "four columns",
                .sm_min = 75, .sm_max = 999, .layout = "row", .symbol = "own_scansILi1E" },
      .supports = few_columns, .setup = OP_CUDA(spmm_own_scan_setup),
      .teardown = OP_CUDA(spmm_own_scan_teardown), .run = OP_CUDA(spmm_own_scan),
      .extra_bytes = ends_and_rows },
    { .base = { .name = "own_stage", .title = "own stage", .role = OP_OWN,
                .origin = "warp per equal chunk, B from shared memory, columns of 16 bits; the format "
                          "is made by set-up, in panels where what a block needs of B does not fit; "
                          "one column",
                .sm_min = 90, .sm_max = 90, .layout = "row", .symbol = "own_stagesILi16E" },
      .supports = one_column, .setup = OP_CUDA(spmm_own_stage_setup),
      .teardown = OP_CUDA(spmm_own_stage_teardown), .run = OP_CUDA(spmm_own_stage),
      .extra_bytes = staged, .format = OP_CUDA(spmm_own_stage_format) },

    /* A as column vectors: dtypes of their own */
    { .base = { .name = "own_mma_f16", .title = "own tensor cores f16", .role = OP_OWN,
                .origin = "column vectors of 8x1 or 16x1, m16n8k16 with its factors swapped, float "
                          "sums; the format is made by set-up",
                .sm_min = 80, .sm_max = 999, .layout = "row",
                .symbol = "own_mmaI4HalfLi8ELi1ELi1E" },
      .supports = half_vectors, .setup = OP_CUDA(spmm_own_mma_f16_setup),
      .teardown = OP_CUDA(spmm_own_mma_teardown), .run = OP_CUDA(spmm_own_mma_f16),
      .extra_bytes = vectors_extra_bytes, .format = OP_CUDA(spmm_own_mma_f16_format),
      .tensor_ops = vectors_tensor_ops },
    { .base = { .name = "own_mma_tf32", .title = "own tensor cores TF32", .role = OP_OWN,
                .origin = "column vectors of 8x1 or 16x1, m16n8k8 with its factors swapped, A and B "
                          "rounded to TF32; the format is made by set-up",
                .sm_min = 80, .sm_max = 999, .layout = "row",
                .symbol = "own_mmaI4Tf32Li4ELi1ELi1E" },
      .supports = tf32_vectors, .setup = OP_CUDA(spmm_own_mma_tf32_setup),
      .teardown = OP_CUDA(spmm_own_mma_teardown), .run = OP_CUDA(spmm_own_mma_tf32),
      .extra_bytes = vectors_extra_bytes, .format = OP_CUDA(spmm_own_mma_tf32_format),
      .tensor_ops = vectors_tensor_ops },

    { .base = { .name = "daspmm_select", .title = "chosen by predicted time", .role = OP_OWN,
                .origin = "boosted regression trees over sizes, row lengths and a sample of the "
                          "columns, among own, published and cuSPARSE rows; trained here",
                .flags = OP_CHOOSES, .sm_min = 75, .sm_max = 999, .layout = "row" },
      .supports = spmm_choose_supports, .setup = spmm_choose_setup,
      .teardown = spmm_chosen_teardown, .choice = spmm_chosen_name,
      .run = OP_CUDA(spmm_chosen_run) },

    { .base = { .name = "daspmm_timed", .title = "timed among the best predicted", .role = OP_OWN,
                .origin = "the rows of the three least predicted times, of cuSPARSE's two least others "
                          "and own_stage, timed at set-up; the fastest stays",
                .flags = OP_CHOOSES, .sm_min = 75, .sm_max = 999, .layout = "row" },
      .supports = spmm_choose_supports, .setup = OP_CUDA(spmm_timed_setup),
      .teardown = OP_CUDA(spmm_chosen_teardown), .choice = spmm_chosen_name,
      .run = OP_CUDA(spmm_chosen_run) },

    /* the host */
    { .base = { .name = "host_rb", .title = "host RB", .role = OP_OWN,
                .origin = "threads take rows", .layout = "row" },
      .supports = any_problem, .run = spmm_host_rb },
    { .base = { .name = "host_eb", .title = "host EB", .role = OP_OWN,
                .origin = "threads take equally many entries, cut rows by carry-out",
                .layout = "row" },
      .supports = any_problem, .setup = spmm_host_eb_setup, .teardown = spmm_host_eb_teardown,
      .run = spmm_host_eb },
    { .base = { .name = NULL } },
};
