/* impls.c - the table of attn. */
#include "kernels.h"

static enum op_status no(const char **why, const char *text)
{
    *why = text;
    return OP_EUNSUPPORTED;
}

static enum op_status dims_three(const struct attn_problem *p, const char **why)
{
    return p->head_dim == 64 || p->head_dim == 96 || p->head_dim == 128
               ? OP_OK
               : no(why, "head_dim is none of 64, 96, 128");
}

/* Scores and weights of a whole sequence stand in shared memory: 6 bytes a token. */
static enum op_status published_shape(const struct attn_problem *p, const char **why)
{
    if (p->head_dim != 128)
        return no(why, "head_dim is not 128, the only one published");
    return p->length <= 32768 ? OP_OK
                              : no(why, "more than 32768 tokens: scores exceed shared memory");
}

/* The cache again for each further query head of a KV head. */
static double reread_kv4(const struct attn_problem *p)
{
    return attn_cache_bytes(p, ATTN_KV4) * (p->heads / p->kv_heads - 1);
}

static double reread_kv8(const struct attn_problem *p)
{
    return attn_cache_bytes(p, ATTN_KV8) * (p->heads / p->kv_heads - 1);
}

#define PUBLISHED(what, text, where, kind)                                                        \
    { .base = { .name = #what, .title = text, .role = OP_PAPER, .sm_min = 80, .sm_max = 999,      \
                .origin = "QServe, arXiv 2405.04532, " where, .symbol = "decode_attention" },     \
      .scheme = kind == 4 ? ATTN_KV4 : ATTN_KV8, .rounding = ATTN_ROUNDS_SCORES,                  \
      .supports = published_shape, .extra_bytes = kind == 4 ? reread_kv4 : reread_kv8,            \
      .run = OP_CUDA(attn_##what) }

#define OWN(what, text, kind)                                                                     \
    { .base = { .name = #what "_own", .title = text ", split sequence, tensor cores",             \
                .role = OP_OWN, .sm_min = 80, .sm_max = 999, .symbol = "split_attention",         \
                .origin = "all query heads of a KV head in a block, scales and zero points "      \
                          "outside of the products" },                                            \
      .scheme = kind, .rounding = ATTN_ROUNDS_P, .supports = dims_three,                          \
      .setup = OP_CUDA(attn_##what##_setup), .teardown = OP_CUDA(attn_split_teardown),            \
      .extra_bytes = OP_CUDA(attn_##what##_extra_bytes), .run = OP_CUDA(attn_split) }

const struct attn_impl attn_kernels[] = {
    PUBLISHED(kv4_published, "KV4 of QServe", "code published with it, its race mended", 4),
    PUBLISHED(kv8_published, "KV8 of QServe", "code published with it, its race mended", 8),
    PUBLISHED(kv4_naive, "KV4, naive", "ablation of its attention, start", 4),
    PUBLISHED(kv4_bits, "KV4, + bit tricks", "ablation of its attention, step 1", 4),
    PUBLISHED(kv4_control, "KV4, + simpler control flow", "ablation of its attention, step 2", 4),
    PUBLISHED(kv4_half_scores, "KV4, + FP16 QK", "ablation of its attention, step 3", 4),
    PUBLISHED(kv4_half_values, "KV4, + FP16 SV", "ablation of its attention, step 4", 4),
    OWN(kv4, "KV4", ATTN_KV4),
    OWN(kv8, "KV8", ATTN_KV8),
    OWN(kv8_static, "KV8, one scale a tensor", ATTN_KV8_STATIC),
    { .base = { .name = NULL } },
};
