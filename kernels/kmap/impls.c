/* impls.c - the builders of kernel maps, and which plans each covers. */
#include <stdlib.h>

#include "device.h"

int kmap_step_to(const struct kmap_plan *p, int level)
{
    for (int i = 0; i < p->steps; i++)
        if (!p->step[i].transpose && p->step[i].to == level && p->step[i].from != level)
            return i;
    return -1;
}

int kmap_bits(double n)
{
    int bits = 0;
    while ((double)(1ull << bits) < n)
        bits++;
    return bits;
}

void kmap_teardown(void *state)
{
    free(state); /* device memory belongs to whoever gave it */
}

static enum op_status no(const char **why, const char *text)
{
    *why = text;
    return OP_EUNSUPPORTED;
}

static enum op_status any_plan(const struct kmap_plan *p, const char **why)
{
    (void)p, (void)why;
    return OP_OK;
}

static enum op_status one_map(const struct kmap_plan *p, const char **why)
{
    const struct kmap_shape *s = &p->step[0].shape;
    double cells = p->batch, candidates = p->n_in;
    for (int a = 0; a < 3; a++) {
        cells *= s->size[a] + 2.0 * s->kernel[a];
        if (s->rule == KMAP_SPCONV)
            candidates *= (s->kernel[a] + s->stride[a] - 1) / s->stride[a];
    }
    if (p->steps != 1)
        return no(why, "one map only");
    if (cells > 0x1p62 || candidates > 0x1p30)
        return no(why, "too many cells, or outputs to look at");
    return OP_OK;
}

static int is_cube(const struct kmap_shape *s, int k)
{
    return s->kernel[0] == k && s->kernel[1] == k && s->kernel[2] == k;
}

/* Levels that halve, kernel 3 at every level or at none. */
static enum op_status halving(const struct kmap_plan *p, const char **why)
{
    int same = 0, down = 0;
    for (int i = 0; i < p->steps; i++) {
        const struct kmap_shape *s = &p->step[i].shape;
        if (s->rule == KMAP_SAME && is_cube(s, 3) && !p->step[i].transpose)
            same++;
        else if (s->rule == KMAP_FLOOR && is_cube(s, 2) && s->stride[0] == 2 && s->stride[1] == 2 &&
                 s->stride[2] == 2 && !s->pad[0] && !s->pad[1] && !s->pad[2])
            down += !p->step[i].transpose;
        else
            return no(why, "maps 3x3x3 at stride 1 and 2x2x2 at stride 2 only");
    }
    if (!down || down != p->levels - 1 || (same && same != p->levels))
        return no(why, "needs halvings, and kernel 3 at every level or none");
    for (int a = 0; a < 3; a++)
        if (3 * kmap_bits(p->size[0][a]) + kmap_bits(p->batch) > 60)
            return no(why, "coordinates do not fit into a key");
    return OP_OK;
}

/* Every level as one bit a cell. */
static enum op_status small_grid(const struct kmap_plan *p, const char **why)
{
    for (int l = 0; l < p->levels; l++)
        if ((double)p->batch * p->size[l][0] * p->size[l][1] * p->size[l][2] > 0x1p30)
            return no(why, "more than 2^30 cells");
    return OP_OK;
}

const struct kmap_impl kmap_builders[] = {
    { .base = { .name = "hash_fly", .title = "hash on the fly", .role = OP_PAPER,
                .origin = "TorchSparse++, arXiv 2311.12862, default map builder",
                .sm_min = 80, .sm_max = 999, .flags = OP_SYNCS | OP_NO_CAPTURE,
                .symbol = "hash_probe" },
      .supports = any_plan, .setup = OP_CUDA(kmap_hash_fly_setup), .teardown = kmap_teardown,
      .run = OP_CUDA(kmap_hash_fly) },
    { .base = { .name = "search", .title = "sorted keys, one search a column", .role = OP_OWN,
                .origin = "packed sorted keys; bounds per block, then per row",
                .sm_min = 80, .sm_max = 999, .symbol = "search_table" },
      .supports = one_map, .setup = OP_CUDA(kmap_search_setup), .teardown = kmap_teardown,
      .run = OP_CUDA(kmap_search) },
    { .base = { .name = "octree", .title = "octree, all levels from one sort", .role = OP_OWN,
                .origin = "Morton order; neighbours from those of the parent",
                .sm_min = 80, .sm_max = 999, .symbol = "octree_descend" },
      .supports = halving, .setup = OP_CUDA(kmap_octree_setup), .teardown = kmap_teardown,
      .run = OP_CUDA(kmap_octree) },
    { .base = { .name = "grid", .title = "bit grid with ranks", .role = OP_OWN,
                .origin = "one bit a cell, rows by counting bits",
                .sm_min = 80, .sm_max = 999, .symbol = "grid_tables" },
      .supports = small_grid, .setup = OP_CUDA(kmap_grid_setup), .teardown = kmap_teardown,
      .run = OP_CUDA(kmap_grid) },
    { .base = { .name = NULL } },
};
