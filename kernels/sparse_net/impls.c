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

static enum op_status both_passes(const struct sparse_net_impl *impl,
                                  const struct sparse_net_problem *p, const char **why)
{
    (void)impl, (void)p, (void)why;
    return OP_OK;
}

static enum op_status on_host(const struct sparse_net_impl *impl,
                              const struct sparse_net_problem *p, const char **why)
{
    (void)impl;
    *why = p->train ? "inference only" : NULL;
    return p->train ? OP_EUNSUPPORTED : OP_OK;
}

static enum op_status has_builder(const struct sparse_net_impl *impl,
                                  const struct sparse_net_problem *p, const char **why)
{
    *why = !impl->run                           ? "not built"
           : p->train && !impl->rows            ? "inference only"
           : !p->train && impl->rows            ? "training only"
           : !sparse_net_builder(impl, p->maps) ? "no builder that it names covers these maps"
                                                : NULL;
    return *why ? OP_EUNSUPPORTED : OP_OK;
}

/* Whether a row of spconv does a pass of a layer.  The input has no gradient; where own_wgrad does
 * not cover it another row does its weights. */
static int covers(const char *name, const struct sparse_net_problem *p, int i,
                  enum spconv_pass pass)
{
    const struct spconv_impl *row = spconv_find(name);
    struct spconv_problem layer = sparse_net_layer_problem(p->net, p->maps, p->host, i);
    const char *why;
    layer.pass = pass;
    if (pass != SPCONV_FORWARD && p->net->layer[i].from == p->net->input)
        return 1;
    return row && !row->supports(&layer, &why);
}

int sparse_net_flow_fits(const struct sparse_net_flow *flow, const struct sparse_net_problem *p,
                         int group)
{
    const char *const name[] = { flow->layer, p->train ? flow->dgrad : NULL,
                                 p->train ? flow->wgrad : NULL };
    for (int i = 0; i < p->net->layers; i++) {
        const struct sparse_layer *l = &p->net->layer[i];
        if (l->step < 0 || sparse_net_group(p->maps, l->step) != group)
            continue;
        if (flow->splits > l->taps || flow->back > l->taps || flow->wback > l->taps)
            return 0;
        for (int pass = 0; pass < 3; pass++)
            if (name[pass] && !covers(name[pass], p, i, (enum spconv_pass)pass))
                return 0;
    }
    return 1;
}

int sparse_net_flows_same(const struct sparse_net_flow *a, const struct sparse_net_flow *b,
                          const struct sparse_net_problem *p, int group)
{
    const struct spconv_impl *row = a->layer ? spconv_find(a->layer) : NULL;
    if (!row || !row->same_setting || a->dgrad || !b->layer || strcmp(a->layer, b->layer))
        return 0;
    for (int i = 0; i < p->net->layers; i++) {
        const int step = p->net->layer[i].step;
        if (step < 0 || sparse_net_group(p->maps, step) != group)
            continue;
        const struct spconv_problem layer = sparse_net_layer_problem(p->net, p->maps, p->host, i);
        const struct spconv_map host = { .start = p->host->map[step].map.pairs.start };
        if (!row->same_setting(&layer, &host, a->setting, b->setting))
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

enum { S1, S0, S2, S3, S4, FETCH, FETCH_TAP, GATHER };

/* Adaptive grouping: taps that differ by at most e tenths, the largest below t thousand, or t and
 * a half for 7, 12, 17 and 22; settings of baselines/spconv_cublas.h. */
enum { T5, T7, T10, T12, T15, T17, T20, T22, T25 };
#define G(e, t)                                                                                 \
    { .name = "g" #e "t" #t, .layer = "gather_grouped", .pairs = 1,                             \
      .setting = 2 + 9 * e + T##t, .refines = 1 + GATHER }
#define SMALL(e) G(e, 5), G(e, 7), G(e, 10), G(e, 12)
#define LARGE(e) G(e, 17), G(e, 20), G(e, 22), G(e, 25)

/* The published space.  Gather-scatter is off in it by default; here it is tried too, first with
 * the middle of its grid of settings, then where a group chose it with all others that differ
 * there. */
static const struct sparse_net_flow published[] = {
    { .name = "s1", .layer = "implicit_s1", .splits = 1 },
    { .name = "s0", .layer = "implicit_s0" },
    { .name = "s2", .layer = "implicit_s2", .splits = 2 },
    { .name = "s3", .layer = "implicit_s3", .splits = 3 },
    { .name = "s4", .layer = "implicit_s4", .splits = 4 },
    { .name = "fetch", .layer = "fetch", .pairs = 1 },
    { .name = "fetch_tap", .layer = "fetch_offset", .pairs = 1 },
    { .name = "gather", .layer = "gather_grouped", .pairs = 1 },
    { .name = "g0t0", .layer = "gather_grouped", .pairs = 1, .setting = 1, .refines = 1 + GATHER },
    SMALL(0), G(0, 15), LARGE(0), SMALL(1), G(1, 15), LARGE(1), SMALL(2), G(2, 15), LARGE(2),
    SMALL(3), LARGE(3), SMALL(4), G(4, 15), LARGE(4), SMALL(5), G(5, 15), LARGE(5),
};
#undef G
#undef SMALL
#undef LARGE
static const struct sparse_net_flow gather_tap[] = {
    { .name = "gather_tap", .layer = "gather_tap", .pairs = 1 },
};

/* This suite's own layer: as its table says, and with so many ranges of taps, whole tiles, columns
 * shared by blocks. */
static const struct sparse_net_flow own[] = {
    { .name = "auto" },
    { .name = "o1", .splits = 1 },
    { .name = "o2", .splits = 2 },
    { .name = "o3", .splits = 3 },
    { .name = "o1_whole", .splits = 1, .most = 32 },
    { .name = "o1_shares", .splits = 1, .shape = OWN_SHARES },
};
_Static_assert(sizeof own / sizeof *own <= SPARSE_NET_OWN_FLOWS, "flows that own_cuda.c keeps");

static const struct sparse_net_flow on_cpu[] = {
    { .name = "rows" },
    { .name = "taps", .pairs = 1 },
    { .name = "rows_32" },
};

/* ---- flows of training ---- */

/* Ranges of taps of forward, dgrad and wgrad; 0: unsorted.  Rests refine the flow `of`. */
#define TRAIN(f, d, w, of)                                                                      \
    { .name = #f #d #w, .layer = "implicit_s" #f, .splits = f, .dgrad = "implicit_s" #d,        \
      .back = d, .wgrad = "wgrad_s" #w, .wback = w, .refines = of }
static const struct sparse_net_flow train_default[] = { TRAIN(1, 3, 3, 0) };
static const struct sparse_net_flow train_sorted[] = { TRAIN(1, 1, 1, 0) };
/* Bound: forward with dgrad, the same products, first with wgrad by three ranges; then wgrad is
 * free. */
#define FD(s, of) TRAIN(s, s, 0, of), TRAIN(s, s, 1, of), TRAIN(s, s, 2, of), TRAIN(s, s, 4, of)
static const struct sparse_net_flow train_fd[] = {
    TRAIN(1, 1, 3, 0), TRAIN(0, 0, 3, 0), TRAIN(2, 2, 3, 0), TRAIN(3, 3, 3, 0), TRAIN(4, 4, 3, 0),
    FD(1, 1), FD(0, 2), FD(2, 3), FD(3, 4), FD(4, 5)
};
/* Bound: dgrad with wgrad, the same order of the same map, first with forward by one range; then
 * forward is free. */
#define DW(s, of) TRAIN(0, s, s, of), TRAIN(2, s, s, of), TRAIN(3, s, s, of), TRAIN(4, s, s, of)
static const struct sparse_net_flow train_dw[] = {
    TRAIN(1, 1, 1, 0), TRAIN(1, 0, 0, 0), TRAIN(1, 2, 2, 0), TRAIN(1, 3, 3, 0), TRAIN(1, 4, 4, 0),
    DW(1, 1), DW(0, 2), DW(2, 3), DW(3, 4), DW(4, 5)
};
#undef FD
#undef DW
#undef TRAIN
static const struct sparse_net_flow train_gather_grouped[] = {
    { .name = "gather", .layer = "gather_grouped", .pairs = 1, .dgrad = "gather_grouped",
      .wgrad = "gather_grouped" },
};
static const struct sparse_net_flow train_gather_tap[] = {
    { .name = "gather_tap", .layer = "gather_tap", .pairs = 1, .dgrad = "gather_tap",
      .wgrad = "gather_tap" },
};
static const struct sparse_net_flow train_own[] = {
    { .name = "own", .layer = "own", .pairs = 1, .dgrad = "own", .wgrad = "own_wgrad" },
};

#define ON_DEVICE(name_, title_, origin_, role_, flow_, flows_, flags_)                         \
    { .base = { .name = name_, .title = title_, .origin = origin_, .role = role_, .sm_min = 80, \
                .sm_max = 999, .flags = OP_SYNCS | OP_NO_CAPTURE | (flags_) },                  \
      .maps = { "hash_fly" }, .flow = flow_, .flows = flows_, .alone = 1, .half_sums = 1,       \
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
#define STEP(name_, title_, origin_, role_, flow_, flows_, flags_)                              \
    { .base = { .name = name_, .title = title_, .origin = origin_, .role = role_, .sm_min = 80, \
                .sm_max = 999, .flags = OP_SYNCS | OP_NO_CAPTURE | (flags_) },                  \
      .maps = { "hash_fly" }, .flow = flow_, .flows = flows_, .alone = 1, .half_sums = 1,       \
      .supports = layers_covered, .setup = OP_CUDA(sparse_net_train_setup),                     \
      .teardown = OP_CUDA(sparse_net_train_teardown), .rows = OP_CUDA(sparse_net_train_rows),   \
      .choose = OP_CUDA(sparse_net_train_choose), .run = OP_CUDA(sparse_net_train_run) }
#define OWN_STEP(name_, title_, origin_, fused_)                                                \
    { .base = { .name = name_, .title = title_, .origin = origin_, .role = OP_OWN,              \
                .sm_min = 90, .sm_max = 90, .symbol = "own_wgrad" },                            \
      .maps = { "octree", "grid" }, .flow = train_own, .flows = 1, .fused = fused_,             \
      .half_sums = 1, .supports = layers_covered, .setup = OP_CUDA(sparse_net_train_setup),     \
      .teardown = OP_CUDA(sparse_net_train_teardown), .rows = OP_CUDA(sparse_net_train_rows),   \
      .choose = OP_CUDA(sparse_net_train_choose), .run = OP_CUDA(sparse_net_train_run) }
#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))
_Static_assert(COUNT(published) <= SPARSE_NET_FLOWS_MAX, "flows of a row");
#define PUBLISHED "TorchSparse++, arXiv 2311.12862, maps by hash on the fly, "

const struct sparse_net_impl sparse_net_rows[] = {
    { .base = { .name = "ref_net", .title = "definition in double", .origin = "definition",
                .role = OP_REFERENCE },
      .supports = both_passes },

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
    OWN("own_tuned", "own, tuned", "the same, the form of every group chosen end to end",
        COUNT(own), OP_CHOOSES),

    STEP("train_gather_grouped", "training, gather-scatter grouped",
         "TorchSparse (arXiv 2204.10319): fused gather and scatter, cuBLAS by adaptive grouping",
         OP_BASELINE, train_gather_grouped, 1, 0),
    STEP("train_gather_tap", "training, gather-scatter by tap",
         "gather, cublasGemmEx, scatter a tap, as SpConv 1 does", OP_BASELINE, train_gather_tap, 1,
         0),
    STEP("train_sorted", "training, implicit GEMM S=1",
         "masks sorted in one range of taps in all passes, as SpConv 2 does; published tiles",
         OP_BASELINE, train_sorted, 1, 0),
    STEP("train_implicit", "training, implicit GEMM",
         PUBLISHED "one range forward, three backward: its default", OP_PAPER, train_default, 1,
         0),
    STEP("train_bind_fd", "training, tuned, forward with dgrad",
         PUBLISHED "tuned, forward and dgrad bound", OP_PAPER, train_fd, COUNT(train_fd),
         OP_CHOOSES),
    STEP("train_bind_dw", "training, tuned, dgrad with wgrad",
         PUBLISHED "tuned, dgrad and wgrad bound", OP_PAPER, train_dw, COUNT(train_dw),
         OP_CHOOSES),
    OWN_STEP("train_own", "training, own",
             "maps by octree or bit grid, plans on the device, wgmma with masks of ReLU and "
             "residuals within the gradients' products; one graph", 1),
    OWN_STEP("train_own_apart", "training, own, masks apart",
             "the same, masks of ReLU and residuals as passes of their own", 0),

    { .base = { .name = "autotuned_host", .title = "autotuned on the host", .role = OP_OWN,
                .origin = "maps by definition, OpenBLAS in float by rows or by tap",
                .flags = OP_CHOOSES },
      .flow = on_cpu, .flows = COUNT(on_cpu), .alone = 1, .supports = on_host,
      .setup = sparse_net_host_setup, .teardown = sparse_net_host_teardown,
      .choose = sparse_net_host_choose, .run = sparse_net_host_run },
    { .base = { .name = NULL } },
};
