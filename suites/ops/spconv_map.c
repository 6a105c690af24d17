/* spconv_map.c - see spconv_map.h. */
#include "spconv_map.h"

#include <stdio.h>
#include <string.h>

#include "../../harness/error.h"
#include "../data/scan.h"

/* The maps of the last case. */
static struct {
    char scan[CB_PATH_MAX];
    int network, batch;
    uint64_t seed;
    bool there;
    struct kmap_plan plan;
    struct kmap_host_net net;
} kept;

static int status_error(enum op_status s, const char *what)
{
    return s ? cb_error("%s%s: %s", s == OP_ENOMEM ? "oom: " : "", what, op_status_name(s)) : 0;
}

static int load_voxels(const char *scan, enum spconv_network network, int batch, uint64_t seed,
                       struct voxels *out)
{
    const enum scan_task task = network == SPCONV_CENTERPOINT ? SCAN_DETECTION : SCAN_SEGMENTATION;
    struct voxels list[8] = { 0 };
    int status = 0;
    for (int i = 0; i < batch && !status; i++)
        status = scan_voxels(scan, task, seed + (uint64_t)i, &list[i]);
    if (!status)
        status = voxels_join(list, batch, out);
    for (int i = 0; i < batch; i++)
        voxels_free(&list[i]);
    return status;
}

static int maps_keep(const struct spconv_params *q, uint64_t seed)
{
    char why[256];
    struct voxels v = { 0 };
    if (kept.there && kept.network == q->network && kept.batch == q->batch && kept.seed == seed &&
        !strcmp(kept.scan, q->scan))
        return 0;
    if (kept.there)
        kmap_host_net_free(&kept.net);
    memset(&kept, 0, sizeof kept);
    if (!scan_available(q->scan, why, sizeof why))
        return cb_error("not available: %s", why);
    if (load_voxels(q->scan, (enum spconv_network)q->network, q->batch, seed, &v))
        return -1;
    enum op_status s =
        q->network == SPCONV_CENTERPOINT
            ? kmap_plan_centerpoint(v.size, v.batch, v.n, &kept.plan)
            : kmap_plan_minkunet(v.size, v.batch, v.n, v.sorted, false, &kept.plan);
    if (!s)
        s = kmap_host_net(&kept.plan, v.coord, &kept.net);
    voxels_free(&v);
    if (s)
        return status_error(s, q->scan);
    snprintf(kept.scan, sizeof kept.scan, "%s", q->scan);
    kept.network = q->network;
    kept.batch = q->batch;
    kept.seed = seed;
    kept.there = true;
    return 0;
}

/* The step of the plan that a layer at this stride uses; -1: none. */
static int find_step(const struct spconv_params *q)
{
    int level = 0;
    while (1 << level < q->stride)
        level++;
    for (int i = 0; i < kept.plan.steps; i++) {
        const struct kmap_step *s = &kept.plan.step[i];
        if (s->from == level && !s->transpose && (s->to == level) == (q->layer == SPCONV_SAME))
            return 1 << level == q->stride ? i : -1;
    }
    return -1;
}

int spconv_map_open(const struct spconv_params *q, uint64_t seed, struct spconv_layer_map *m)
{
    *m = (struct spconv_layer_map){ 0 };
    if (maps_keep(q, seed))
        return -1;
    const int step = find_step(q);
    if (step < 0)
        return cb_error("the network has no such layer at stride %d", q->stride);
    struct kmap_host *h = &kept.net.map[step];
    enum op_status s = kmap_host_transpose(&h->map, &m->transpose);
    struct kmap_host *own = q->layer == SPCONV_UP ? &m->transpose : h;
    if (!s && !own->map.pairs.in)
        s = kmap_host_pairs(own);
    if (s)
        return status_error(s, "kernel map");
    m->forward = &own->map;
    const struct kmap *back = q->layer == SPCONV_UP ? &h->map : &m->transpose.map;
    m->map = (struct spconv_map){ own->map.table.index, back->table.index, own->map.pairs.start,
                                  own->map.pairs.in, own->map.pairs.out };
    return 0;
}

void spconv_map_close(struct spconv_layer_map *m)
{
    kmap_host_free(&m->transpose);
}
