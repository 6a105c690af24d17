/* own_impls.c - our own rows of group_attn and encoder. */
#include <stdlib.h>

#include "own.h"

static enum op_status groups_fit(const struct group_attn_problem *p, const char **why)
{
    *why = p->head != OWN_HEAD          ? "heads have 16 channels"
           : p->heads % 4               ? "heads go by fours"
           : p->group > OWN_GROUP_MAX   ? "a group's keys are in shared memory: 384 at most"
                                        : NULL;
    return *why ? OP_EUNSUPPORTED : OP_OK;
}

static enum op_status layers_fit(const struct encoder_problem *p, const char **why)
{
    if (groups_fit(&p->layer, why) != OP_OK)
        return OP_EUNSUPPORTED;
    *why = p->layer.heads * p->layer.head != OWN_CHANNELS ? "128 channels"
           : p->layer.hidden != OWN_HIDDEN                ? "256 hidden channels"
                                                          : NULL;
    return *why ? OP_EUNSUPPORTED : OP_OK;
}

const struct group_attn_impl group_attn_own[] = {
    { .base = { .name = "own", .title = "own", .role = OP_OWN,
                .origin = "a group and four heads a block, scores of 80 keys at once", .sm_min = 80,
                .sm_max = 999, .symbol = "group_attention" },
      .supports = groups_fit, .setup = OP_CUDA(group_attn_own_setup),
      .run = OP_CUDA(group_attn_own_run) },
    { .base = { .name = "own_sm90", .title = "own, overlapping", .role = OP_OWN,
                .origin = "the row own, launched before the one before has ended", .sm_min = 90,
                .sm_max = 90, .symbol = "group_attention" },
      .supports = groups_fit, .setup = OP_CUDA(group_attn_own_sm90_setup),
      .run = OP_CUDA(group_attn_own_sm90_run) },
    { .base = { .name = "own_even", .title = "own, even", .role = OP_OWN,
                .origin = "the row own_sm90, equal shares to all blocks, keys fetched ahead",
                .sm_min = 90, .sm_max = 90, .symbol = "group_attention_even" },
      .supports = groups_fit, .setup = OP_CUDA(group_attn_own_even_setup), .teardown = free,
      .run = OP_CUDA(group_attn_own_even_run) },
    { .base = { .name = "own_staged", .title = "own, staged", .role = OP_OWN,
                .origin = "the row own_even, keys by the bulk copy engine", .sm_min = 90,
                .sm_max = 90, .symbol = "group_attention_staged" },
      .supports = groups_fit, .setup = OP_CUDA(group_attn_own_staged_setup), .teardown = free,
      .run = OP_CUDA(group_attn_own_staged_run) },
    { .base = { .name = NULL } },
};

const struct encoder_impl encoder_own[] = {
    { .base = { .name = "own", .title = "own, portable", .role = OP_OWN,
                .origin = "two kernels a layer: attention, and all that goes row by row",
                .sm_min = 80, .sm_max = 999, .symbol = "encoder_rows" },
      .scheme = ENCODER_GROUPS, .supports = layers_fit, .setup = OP_CUDA(encoder_own_setup),
      .teardown = free, .run = OP_CUDA(encoder_own_run) },
    { .base = { .name = "own_sm90", .title = "own", .role = OP_OWN,
                .origin = "two kernels a layer, wgmma, weights by clusters, launches overlapping",
                .sm_min = 90, .sm_max = 90, .symbol = "encoder_rows" },
      .scheme = ENCODER_GROUPS, .supports = layers_fit, .setup = OP_CUDA(encoder_own_sm90_setup),
      .teardown = free, .run = OP_CUDA(encoder_own_sm90_run) },
    { .base = { .name = "own_even", .title = "own, even", .role = OP_OWN,
                .origin = "the row own_sm90, attention in equal shares to all blocks", .sm_min = 90,
                .sm_max = 90, .symbol = "encoder_rows" },
      .scheme = ENCODER_GROUPS, .supports = layers_fit, .setup = OP_CUDA(encoder_own_even_setup),
      .teardown = free, .run = OP_CUDA(encoder_own_even_run) },
    { .base = { .name = "own_wide", .title = "own, even and wide", .role = OP_OWN,
                .origin = "the row own_even in brief code, four tiles of rows at a time in a block",
                .sm_min = 90, .sm_max = 90, .symbol = "encoder_rows" },
      .scheme = ENCODER_GROUPS, .supports = layers_fit, .setup = OP_CUDA(encoder_own_wide_setup),
      .teardown = free, .run = OP_CUDA(encoder_own_wide_run) },
    { .base = { .name = "own_lean", .title = "own, lean", .role = OP_OWN,
                .origin = "the row own_sm90, GELU of pairs in half, sums that begin as biases",
                .sm_min = 90, .sm_max = 90, .symbol = "encoder_rows" },
      .scheme = ENCODER_GROUPS, .supports = layers_fit, .setup = OP_CUDA(encoder_own_lean_setup),
      .teardown = free, .run = OP_CUDA(encoder_own_lean_run) },
    { .base = { .name = "own_staged", .title = "own, lean and staged", .role = OP_OWN,
                .origin = "the row own_lean, attention even, keys by the bulk copy engine",
                .sm_min = 90, .sm_max = 90, .symbol = "encoder_rows" },
      .scheme = ENCODER_GROUPS, .supports = layers_fit,
      .setup = OP_CUDA(encoder_own_staged_setup), .teardown = free,
      .run = OP_CUDA(encoder_own_staged_run) },
    { .base = { .name = "own_fit", .title = "own, fitting", .role = OP_OWN,
                .origin = "own_lean, own_even, own_wide or own_staged by pillars and group",
                .sm_min = 90, .sm_max = 90, .symbol = "encoder_rows" },
      .scheme = ENCODER_GROUPS, .supports = layers_fit, .setup = OP_CUDA(encoder_own_fit_setup),
      .teardown = free, .run = OP_CUDA(encoder_own_fit_run) },
    { .base = { .name = NULL } },
};
