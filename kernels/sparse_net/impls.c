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

int sparse_net_flow_fits(const struct sparse_net_flow *flow, const struct sparse_net_problem *p,
                         int group)
{
    const struct spconv_impl *row = flow->layer ? spconv_find(flow->layer) : NULL;
    const char *why;
    for (int i = 0; i < p->net->layers; i++) {
        const struct sparse_layer *l = &p->net->layer[i];
        if (l->step < 0 || sparse_net_group(p->maps, l->step) != group)
            continue;
        const struct spconv_problem layer = sparse_net_layer_problem(p->net, p->maps, p->host, i);
        if (flow->splits > l->taps || (row && row->supports(&layer, &why)))
            return 0;
    }
    return 1;
}

/* Its first flow must cover every group: it is what runs unless a tuner chose. */
static enum op_status layers_covered(const struct sparse_net_impl *impl,
                                     const struct sparse_net_problem *p, const char **why)
{
    const enum op_status status = has_builder(impl, p, why);
    for (int g = 0; !status && g < sparse_net_groups(p->maps); g++)
        if (!sparse_net_flow_fits(impl->flow, p, g)) {
            *why = "a layer that its dataflow does not cover";
            return OP_EUNSUPPORTED;
        }
    return status;
}

/* ---- flows ---- */

/* The published space.  Gather-scatter is off in it by default; here it is tried too, with the
 * middle of its grid of settings. */
static const struct sparse_net_flow published[] = {
    { "s1", "implicit_s1", 1, 0 }, { "s0", "implicit_s0", 0, 0 }, { "s2", "implicit_s2", 2, 0 },
    { "s3", "implicit_s3", 3, 0 }, { "s4", "implicit_s4", 4, 0 }, { "fetch", "fetch", 0, 1 },
    { "fetch_tap", "fetch_offset", 0, 1 }, { "gather", "gather_grouped", 0, 1 },
};
static const struct sparse_net_flow gather_tap[] = { { "gather_tap", "gather_tap", 0, 1 } };

/* Ranges of taps of this suite's own layer; 0: by the width of the layers. */
static const struct sparse_net_flow own[] = {
    { "auto", NULL, 0, 0 }, { "o1", NULL, 1, 0 }, { "o2", NULL, 2, 0 }, { "o3", NULL, 3, 0 },
};

static const struct sparse_net_flow on_cpu[] = {
    { "rows", NULL, 0, 0 }, { "taps", NULL, 0, 1 }, { "rows_32", NULL, 0, 0 },
};

enum { S1, S0, S2, S3, S4, FETCH, FETCH_TAP, GATHER };

#define ON_DEVICE(name_, title_, origin_, role_, flow_, flows_, flags_)                         \
    { .base = { .name = name_, .title = title_, .origin = origin_, .role = role_, .sm_min = 80, \
                .sm_max = 999, .flags = OP_SYNCS | OP_NO_CAPTURE | (flags_) },                  \
      .maps = { "hash_fly" }, .flow = flow_, .flows = flows_, .half_sums = 1,                   \
      .supports = layers_covered, .setup = OP_CUDA(sparse_net_listed_setup),                    \
      .teardown = OP_CUDA(sparse_net_listed_teardown),                                          \
      .choose = OP_CUDA(sparse_net_listed_choose), .run = OP_CUDA(sparse_net_listed_run) }
#define LISTED(name_, title_, origin_, role_, flow_)                                            \
    ON_DEVICE(name_, title_, origin_, role_, flow_, 1, 0)
#define OWN(name_, title_, origin_, flows_, flags_)                                             \
    { .base = { .name = name_, .title = title_, .role = OP_OWN, .sm_min = 90, .sm_max = 90,     \
                .origin = origin_, .symbol = "own_spconv", .flags = flags_ },                   \
      .maps = { "octree", "grid" }, .flow = own, .flows = flows_, .supports = has_builder,      \
      .setup = OP_CUDA(sparse_net_own_setup), .teardown = OP_CUDA(sparse_net_own_teardown),     \
      .choose = OP_CUDA(sparse_net_own_choose), .run = OP_CUDA(sparse_net_own_run) }
#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))
#define PUBLISHED "TorchSparse++, arXiv 2311.12862, maps by hash on the fly, "

const struct sparse_net_impl sparse_net_rows[] = {
    { .base = { .name = "ref_net", .title = "definition in double", .origin = "definition",
                .role = OP_REFERENCE },
      .supports = on_host },

    LISTED("gather_grouped", "gather-scatter grouped",
           "TorchSparse (arXiv 2204.10319): fused gather and scatter, cuBLAS by adaptive grouping",
           OP_BASELINE, published + GATHER),
    LISTED("gather_tap", "gather-scatter by tap",
           "gather, cublasGemmEx, scatter a tap, as SpConv 1 does", OP_BASELINE, gather_tap),

    LISTED("implicit_s0", "implicit GEMM", PUBLISHED "implicit GEMM unsorted", OP_PAPER,
           published + S0),
    LISTED("implicit_s1", "implicit GEMM S=1", PUBLISHED "implicit GEMM sorted, one range",
           OP_PAPER, published + S1),
    LISTED("implicit_s2", "implicit GEMM S=2", PUBLISHED "implicit GEMM sorted, two ranges",
           OP_PAPER, published + S2),
    LISTED("implicit_s3", "implicit GEMM S=3", PUBLISHED "implicit GEMM sorted, three ranges",
           OP_PAPER, published + S3),
    LISTED("fetch", "fetch-on-demand", PUBLISHED "fetch-on-demand, taps fused", OP_PAPER,
           published + FETCH),
    ON_DEVICE("autotuned", "autotuned", PUBLISHED "a dataflow a group, chosen greedily end to end",
              OP_PAPER, published, COUNT(published), OP_CHOOSES),

    OWN("own", "own",
        "maps by octree or bit grid, plans on the device, wgmma with bias, residual and ReLU in "
        "it; one graph", 1, 0),
    OWN("own_tuned", "own, tuned", "the same, ranges of taps of every group chosen end to end",
        COUNT(own), OP_CHOOSES),

    { .base = { .name = "autotuned_host", .title = "autotuned on the host", .role = OP_OWN,
                .origin = "maps by definition, OpenBLAS in float by rows or by tap",
                .flags = OP_CHOOSES },
      .flow = on_cpu, .flows = COUNT(on_cpu), .supports = on_host,
      .setup = sparse_net_host_setup, .teardown = sparse_net_host_teardown,
      .choose = sparse_net_host_choose, .run = sparse_net_host_run },
    { .base = { .name = NULL } },
};
