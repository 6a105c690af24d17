/* prefill_impls.c - the table of prefill attention. */
#include "prefill.h"

static enum op_status shape(const struct attn_problem *p, const char **why)
{
    if (p->head_dim == 64 || p->head_dim == 96 || p->head_dim == 128)
        return OP_OK;
    *why = "head_dim is none of 64, 96, 128";
    return OP_EUNSUPPORTED;
}

/* K and V once more, for the second kernel. */
static double reread(const struct attn_problem *p)
{
    return attn_cache_bytes(p, ATTN_KV16);
}

#define FUSED(what, text, kind)                                                                   \
    { .base = { .name = #what "_prefill", .title = "prefill, " text ", one kernel",               \
                .role = OP_OWN, .sm_min = 80, .sm_max = 999,                                      \
                .origin = "online softmax; the cache is written from tiles in shared memory" },   \
      .scheme = kind, .supports = shape, .run = OP_CUDA(prefill_##what) }
#define APART(what, text, kind)                                                                   \
    { .base = { .name = #what "_prefill_apart", .title = "prefill, " text ", two kernels",        \
                .role = OP_BASELINE, .sm_min = 80, .sm_max = 999,                                 \
                .origin = "the same attention without the cache, and a kernel that writes it" },  \
      .scheme = kind, .supports = shape, .run = OP_CUDA(prefill_##what##_apart),                  \
      .extra_bytes = reread }

const struct prefill_impl prefill_kernels[] = {
    FUSED(kv4, "KV4", ATTN_KV4),
    FUSED(kv8, "KV8", ATTN_KV8),
    FUSED(kv16, "KV16", ATTN_KV16),
    APART(kv4, "KV4", ATTN_KV4),
    APART(kv8, "KV8", ATTN_KV8),
    APART(kv16, "KV16", ATTN_KV16),
    { .base = { .name = NULL } },
};
