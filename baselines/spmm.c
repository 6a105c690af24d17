/* spmm.c - the table of baselines of spmm: cusparse_NAME for every NAME of spmm_cusparse.h,
 * and products edge by edge. */
#include "spmm_blocks.h"
#include "spmm_cusparse.h"
#include "spmm_edges.h"

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

/* ---- A in blocks ---- */

static enum op_status in_blocks(const struct spmm_problem *p, enum spmm_blocked format,
                                const char **why)
{
    int index[SPMM_SQUARES], counted = 0;
    if (spmm_blocks_order(p, format, index))
        return OP_OK;
    for (int i = 0; i < SPMM_SQUARES; i++)
        counted |= p->blocks[i] > 0;
    *why = counted ? "more values stored an entry, in blocks of any size, than 5 (BSR) or 16"
                   : "rows or columns are no multiple of a block, or there are no entries";
    return OP_EUNSUPPORTED;
}

static enum op_status in_bsr(const struct spmm_problem *p, const char **why)
{
    return in_blocks(p, SPMM_BSR, why);
}

/* The library's float kernels of this format are tensor-core ones, 16 bytes of a row a load. */
static enum op_status in_bell(const struct spmm_problem *p, const char **why)
{
    if (p->dtype == SPMM_F32) {
        *why = "float factors are rounded to TF32: dtype tf32 only";
        return OP_EUNSUPPORTED;
    }
    if (p->n * (p->dtype == SPMM_F16 ? 2L : 4L) % 16) {
        *why = "a row of B is no multiple of 16 bytes";
        return OP_EUNSUPPORTED;
    }
    return in_blocks(p, SPMM_BELL, why);
}

static double bsr_extra_bytes(const struct spmm_problem *p)
{
    return spmm_blocks_extra_bytes(p, SPMM_BSR);
}

static double bell_extra_bytes(const struct spmm_problem *p)
{
    return spmm_blocks_extra_bytes(p, SPMM_BELL);
}

static double bell_ops(const struct spmm_problem *p)
{
    return spmm_blocks_ops(p, SPMM_BELL);
}

/* ---- edges ---- */

static enum op_status edges(const struct spmm_problem *p, const char **why)
{
    if (p->dtype != SPMM_F16)
        return OP_OK;
    *why = "float only";
    return OP_EUNSUPPORTED;
}

/* All messages at once, as a library that has no other way would need them. */
static enum op_status messages(const struct spmm_problem *p, const char **why)
{
    if (edges(p, why))
        return OP_EUNSUPPORTED;
    if (4.0 * (double)p->nnz * p->n <= 16e9)
        return OP_OK;
    *why = "the messages of all edges take more than 16 GB";
    return OP_EUNSUPPORTED;
}

static double clearing_and_rows(const struct spmm_problem *p)
{
    return 4.0 * (double)p->m * p->n + 4.0 * (double)p->nnz;
}

/* C is read and written once an entry, at best in the cache: not counted. */
static double clearing_and_messages(const struct spmm_problem *p)
{
    return clearing_and_rows(p) + 8.0 * (double)p->nnz * p->n;
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
#define BLOCKED(name_, title_, layout_, format_, algorithm_, preprocess_)                         \
    { .base = { .name = "cusparse_" #name_, .title = title_,                                     \
                .origin = "cusparseSpMM, " #algorithm_, .role = OP_BASELINE, .sm_min = 80,       \
                .sm_max = 999, .layout = layout_ },                                              \
      .supports = format_(in_bsr, in_bell), .setup = OP_CUDA(spmm_cusparse_##name_),             \
      .teardown = OP_CUDA(spmm_cusparse_teardown), .run = OP_CUDA(spmm_cusparse_run_matrix),     \
      .extra_bytes = format_(bsr_extra_bytes, bell_extra_bytes),                                 \
      .format = OP_CUDA(spmm_cusparse_format), .tensor_ops = format_(NULL, bell_ops) },
#define BSR(bsr, bell) bsr
#define BELL(bsr, bell) bell
#define VECTOR(name, title, layout, format, algorithm, preprocess)                      \
    ROW(name, title, layout, "cusparseSpMV, " #algorithm, one_column, spmm_cusparse_run_vector, \
        preprocess)

const struct spmm_impl spmm_baselines[] = {
    SPMM_CUSPARSE_MATRIX(MATRIX)
    SPMM_CUSPARSE_BLOCKED(BLOCKED)
    SPMM_CUSPARSE_VECTOR(VECTOR)
    { .base = { .name = "edges_scatter", .title = "edges, atomic",
                .origin = "an entry at a time, added into its row by atomics",
                .role = OP_BASELINE, .sm_min = 75, .sm_max = 999, .layout = "row" },
      .supports = edges, .run = OP_CUDA(spmm_edges), .extra_bytes = clearing_and_rows },
    { .base = { .name = "edges_messages", .title = "edges, messages",
                .origin = "a product per entry into memory, then added into rows by atomics",
                .role = OP_BASELINE, .sm_min = 75, .sm_max = 999, .layout = "row" },
      .supports = messages, .setup = OP_CUDA(spmm_edges_messages_setup),
      .run = OP_CUDA(spmm_edges), .extra_bytes = clearing_and_messages },
    { .base = { .name = NULL } },
};
