/* impls.c - the table of networks: who builds the maps, and who does the layers. */
#include <string.h>

#include "run.h"

const struct kmap_impl *sparse_net_builder(const struct sparse_net_impl *impl,
                                           const struct kmap_plan *maps)
{
    const char *why;
    for (int k = 0; k < 2 && impl->maps[k]; k++)
        for (const struct kmap_impl *i = kmap_builders; i->base.name; i++)
            if (!strcmp(i->base.name, impl->maps[k]) && i->supports(maps, &why) == OP_OK)
                return i;
    return NULL;
}

static enum op_status on_host(const struct sparse_net_impl *impl,
                              const struct sparse_net_problem *p, const char **why)
{
    (void)impl, (void)p, (void)why;
    return OP_OK;
}

static enum op_status has_builder(const struct sparse_net_impl *impl,
                                  const struct sparse_net_problem *p, const char **why)
{
    *why = !impl->run                           ? "not built"
           : !sparse_net_builder(impl, p->maps) ? "no builder that it names covers these maps"
                                                : NULL;
    return *why ? OP_EUNSUPPORTED : OP_OK;
}

/* As a row of spconv without a state is asked. */
static enum op_status layers_covered(const struct sparse_net_impl *impl,
                                     const struct sparse_net_problem *p, const char **why)
{
    const struct spconv_impl *row = spconv_find(impl->layer);
    enum op_status status = has_builder(impl, p, why);
    for (int i = 0; !status && i < p->net->layers; i++) {
        const struct sparse_layer *l = &p->net->layer[i];
        const struct spconv_problem layer = {
            p->host->n[p->net->tensor[l->from].level], p->host->n[p->net->tensor[l->to].level],
            l->channels, l->columns, l->taps, sparse_net_pairs(p->net, p->host, i), 0,
            SPCONV_FORWARD, SPCONV_F16
        };
        if (l->step >= 0)
            status = row->supports(&layer, why);
    }
    return status;
}

#define LISTED(name_, title_, origin_, role_, layer_, splits_, pairs_)                          \
    { .base = { .name = name_, .title = title_, .origin = origin_, .role = role_, .sm_min = 80, \
                .sm_max = 999, .flags = OP_SYNCS | OP_NO_CAPTURE },                             \
      .maps = { "hash_fly" }, .layer = layer_, .splits = splits_, .pairs = pairs_,              \
      .half_sums = 1, .supports = layers_covered, .setup = OP_CUDA(sparse_net_listed_setup),    \
      .teardown = OP_CUDA(sparse_net_listed_teardown), .run = OP_CUDA(sparse_net_listed_run) }
#define PUBLISHED "TorchSparse++, arXiv 2311.12862, maps by hash on the fly, "

const struct sparse_net_impl sparse_net_rows[] = {
    { .base = { .name = "ref_net", .title = "definition in double", .origin = "definition",
                .role = OP_REFERENCE },
      .supports = on_host },

    LISTED("gather_grouped", "gather-scatter grouped",
           "TorchSparse (arXiv 2204.10319): fused gather and scatter, cuBLAS by adaptive grouping",
           OP_BASELINE, "gather_grouped", 0, 1),
    LISTED("gather_tap", "gather-scatter by tap",
           "gather, cublasGemmEx, scatter a tap, as SpConv 1 does", OP_BASELINE, "gather_tap", 0,
           1),

    LISTED("implicit_s0", "implicit GEMM", PUBLISHED "implicit GEMM unsorted", OP_PAPER,
           "implicit_s0", 0, 0),
    LISTED("implicit_s1", "implicit GEMM S=1", PUBLISHED "implicit GEMM sorted, one range",
           OP_PAPER, "implicit_s1", 1, 0),
    LISTED("implicit_s2", "implicit GEMM S=2", PUBLISHED "implicit GEMM sorted, two ranges",
           OP_PAPER, "implicit_s2", 2, 0),
    LISTED("implicit_s3", "implicit GEMM S=3", PUBLISHED "implicit GEMM sorted, three ranges",
           OP_PAPER, "implicit_s3", 3, 0),
    LISTED("fetch", "fetch-on-demand", PUBLISHED "fetch-on-demand, taps fused", OP_PAPER, "fetch",
           0, 1),

    { .base = { .name = "own", .title = "own", .role = OP_OWN, .sm_min = 90, .sm_max = 90,
                .origin = "maps by octree or bit grid, plans on the device, wgmma with bias, "
                          "residual and ReLU in it; one graph",
                .symbol = "own_spconv" },
      .maps = { "octree", "grid" }, .supports = has_builder,
      .setup = OP_CUDA(sparse_net_own_setup), .teardown = OP_CUDA(sparse_net_own_teardown),
      .run = OP_CUDA(sparse_net_own_run) },
    { .base = { .name = NULL } },
};
