/* group_attn.c - the tables of published forms and baselines of group_attn and encoder. */
#include "../kernels/group_attn/passes.h"
#include "encoder_cublas.h"

static enum op_status no(const char **why, const char *text)
{
    *why = text;
    return OP_EUNSUPPORTED;
}

static enum op_status channels(const struct group_attn_problem *p, const char **why)
{
    if (p->heads != ENCODER_HEADS || p->head != ENCODER_HEAD)
        return no(why, "heads are not 8 of 16 channels");
    return OP_OK;
}

static enum op_status short_groups(const struct group_attn_problem *p, const char **why)
{
    return p->group > ENCODER_KEYS_MAX ? no(why, "a group has more than 256 rows")
                                       : channels(p, why);
}

const struct group_attn_impl group_attn_baselines[] = {
    { .base = { .name = "flash", .title = "tiles with a running maximum", .role = OP_PAPER,
                .origin = "as FlashAttention, which published code calls; written here",
                .sm_min = 80, .sm_max = 999, .symbol = "flash" },
      .supports = channels, .setup = OP_CUDA(group_attn_flash_setup),
      .teardown = OP_CUDA(group_attn_cublas_teardown), .run = OP_CUDA(group_attn_flash) },
    { .base = { .name = "cublas_unfused", .title = "cuBLAS and a softmax kernel",
                .role = OP_BASELINE,
                .origin = "two cublasGemmStridedBatchedEx, half operands, float sums, softmax "
                          "between; heads are copied apart and together again",
                .sm_min = 80, .sm_max = 999 },
      .supports = short_groups, .setup = OP_CUDA(group_attn_unfused_setup),
      .teardown = OP_CUDA(group_attn_cublas_teardown), .run = OP_CUDA(group_attn_unfused) },
    { .base = { .name = NULL } },
};

/* ---- encoder ---- */

static enum op_status any(const struct encoder_problem *p, const char **why)
{
    if (p->layer.hidden > 2 * ENCODER_CHANNELS || p->layer.hidden % 8)
        return no(why, "hidden is no multiple of 8 up to 256");
    return channels(&p->layer, why);
}

static enum op_status groups_unfused(const struct encoder_problem *p, const char **why)
{
    return short_groups(&p->layer, why) == OP_OK ? any(p, why) : OP_EUNSUPPORTED;
}

static enum op_status windows_unfused(const struct encoder_problem *p, const char **why)
{
    if (p->window * p->window > ENCODER_KEYS_MAX)
        return no(why, "a window has more than 256 cells");
    return any(p, why);
}

const struct encoder_impl encoder_baselines[] = {
    { .base = { .name = "flatformer", .title = "as published", .role = OP_PAPER,
                .origin = "FlatFormer, arXiv 2301.08739, published code: a kernel each step, mixed "
                          "precision, attention in tiles",
                .sm_min = 80, .sm_max = 999 },
      .scheme = ENCODER_GROUPS, .supports = any, .setup = OP_CUDA(encoder_published_setup),
      .teardown = OP_CUDA(encoder_cublas_teardown), .run = OP_CUDA(encoder_cublas_run) },
    { .base = { .name = "flatformer_eager", .title = "as published, no graph", .role = OP_PAPER,
                .origin = "the same, launched kernel by kernel", .sm_min = 80, .sm_max = 999,
                .flags = OP_SYNCS },
      .scheme = ENCODER_GROUPS, .supports = any, .setup = OP_CUDA(encoder_published_setup),
      .teardown = OP_CUDA(encoder_cublas_teardown), .run = OP_CUDA(encoder_cublas_run) },
    { .base = { .name = "flatformer_unfused", .title = "as published, attention by cuBLAS",
                .role = OP_PAPER,
                .origin = "the same with batched products and a softmax kernel for attention",
                .sm_min = 80, .sm_max = 999 },
      .scheme = ENCODER_GROUPS, .supports = groups_unfused,
      .setup = OP_CUDA(encoder_published_unfused_setup),
      .teardown = OP_CUDA(encoder_cublas_teardown), .run = OP_CUDA(encoder_cublas_run) },
    { .base = { .name = "cublas_flash", .title = "cuBLAS, attention in tiles",
                .role = OP_BASELINE,
                .origin = "groups; half everywhere, one gather a layer, cublasLt products with "
                          "bias, additions in the norms",
                .sm_min = 80, .sm_max = 999 },
      .scheme = ENCODER_GROUPS, .supports = any, .setup = OP_CUDA(encoder_groups_setup),
      .teardown = OP_CUDA(encoder_cublas_teardown), .run = OP_CUDA(encoder_cublas_run) },
    { .base = { .name = "cublas_unfused", .title = "cuBLAS", .role = OP_BASELINE,
                .origin = "the same with batched products and a softmax kernel for attention",
                .sm_min = 80, .sm_max = 999 },
      .scheme = ENCODER_GROUPS, .supports = groups_unfused,
      .setup = OP_CUDA(encoder_groups_unfused_setup),
      .teardown = OP_CUDA(encoder_cublas_teardown), .run = OP_CUDA(encoder_cublas_run) },
    { .base = { .name = "sst", .title = "SST", .role = OP_BASELINE,
                .origin = "published code of SST, arXiv 2112.06375: windows padded to 30, 60, 100 "
                          "or their area, masked; a kernel each step, mixed precision, attention "
                          "as batched products; embedding of the cell in the grid",
                .sm_min = 80, .sm_max = 999 },
      .scheme = ENCODER_WINDOWS, .supports = windows_unfused, .setup = OP_CUDA(encoder_sst_setup),
      .teardown = OP_CUDA(encoder_cublas_teardown), .run = OP_CUDA(encoder_cublas_run) },
    { .base = { .name = "sst_unfused", .title = "padded windows, cuBLAS", .role = OP_BASELINE,
                .origin = "windows padded as SST does, masked; steps as of cublas_unfused",
                .sm_min = 80, .sm_max = 999 },
      .scheme = ENCODER_WINDOWS, .supports = windows_unfused,
      .setup = OP_CUDA(encoder_padded_unfused_setup),
      .teardown = OP_CUDA(encoder_cublas_teardown), .run = OP_CUDA(encoder_cublas_run) },
    { .base = { .name = "sst_flash", .title = "padded windows, attention in tiles",
                .role = OP_BASELINE,
                .origin = "windows padded as SST does, in the products before attention and behind "
                          "it; attention in tiles over the rows that are there",
                .sm_min = 80, .sm_max = 999 },
      .scheme = ENCODER_WINDOWS, .supports = any, .setup = OP_CUDA(encoder_padded_setup),
      .teardown = OP_CUDA(encoder_cublas_teardown), .run = OP_CUDA(encoder_cublas_run) },
    { .base = { .name = "windows_flash", .title = "exact windows, attention in tiles",
                .role = OP_BASELINE,
                .origin = "windows as sequences of varying length, no padding; steps as of "
                          "cublas_flash",
                .sm_min = 80, .sm_max = 999 },
      .scheme = ENCODER_WINDOWS, .supports = any, .setup = OP_CUDA(encoder_windows_setup),
      .teardown = OP_CUDA(encoder_cublas_teardown), .run = OP_CUDA(encoder_cublas_run) },
    { .base = { .name = NULL } },
};
