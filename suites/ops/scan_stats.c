/*
 * scan_stats.c - what a scan looks like to a network: an experiment that is not timed.
 *
 * Voxels, neighbours and what sorted splits would execute, at one level of MinkUNet (segmentation)
 * or of CenterPoint's encoder (detection), counted on the host, on any machine; tables set them
 * against those of real scans.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../kernels/kmap/build.h"
#include "../data/scan.h"
#include "bind.h"
#include "ops.h"

struct scan_params {
    char scan[CB_PATH_MAX];
    int task, level, frame;
};

static const char *const task_names[] = { "segmentation", "detection", NULL };
static const struct cb_param params[] = {
    { "scan", CB_PATH, offsetof(struct scan_params, scan), 0, 0, 0, NULL, true, "as of kmap" },
    { "task", CB_CHOICE, offsetof(struct scan_params, task), 0, 0, 0, task_names, false,
      "as of kmap" },
    { "level", CB_INT, offsetof(struct scan_params, level), 0, 0, 4, NULL, false,
      "how often the coordinates are strided; detection has none after 3" },
    { "frame", CB_INT, offsetof(struct scan_params, frame), 0, 0, 1000000, NULL, false,
      "number of a generated scan" },
    { 0 },
};

static const struct op_impl stats_row = {
    .name = "scan_counts", .title = "counted", .origin = "definition", .role = OP_REFERENCE,
    .sm_min = 0, .sm_max = 999,
};

struct instance {
    struct scan_params q;
    struct voxels v;
    long points;
    int voxels, inputs; /* of the level, of level 0 */
    struct kmap_host map;
};

static const struct op_impl *impl_at(int i)
{
    return i == 0 ? &stats_row : NULL;
}

static void close_scan(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    voxels_free(&in->v);
    kmap_host_free(&in->map);
    free(in);
}

/* The map of kernel 3 at the level, levels in between built and dropped. */
static enum op_status build_level(struct instance *in)
{
    struct kmap_plan p;
    struct kmap_host_net net;
    enum op_status status =
        in->q.task ? kmap_plan_centerpoint(in->v.size, in->v.batch, in->v.n, &p)
                   : kmap_plan_minkunet(in->v.size, in->v.batch, in->v.n, in->v.sorted, false, &p);
    if (status || (in->q.task && in->q.level > 3))
        return status ? status : OP_EINVAL;
    status = kmap_host_net(&p, in->v.coord, &net);
    if (status)
        return status;
    const int step = 2 * in->q.level; /* kernel 3 of a level stands before what leads to the next */
    in->voxels = net.n[in->q.level];
    in->map = net.map[step];
    net.map[step] = (struct kmap_host){ 0 };
    kmap_host_net_free(&net);
    return OP_OK;
}

static int open_scan(struct cb_context *c, const void *given, void **out)
{
    char why[256];
    struct points p;
    struct instance *in = calloc(1, sizeof *in);
    (void)c;
    *out = NULL;
    if (!in)
        return cb_error("no memory for a scan");
    in->q = *(const struct scan_params *)given;
    const uint64_t seed = (uint64_t)in->q.frame;
    int status =
        scan_available(in->q.scan, why, sizeof why) ? 0 : cb_error("not available: %s", why);
    if (!status)
        status = scan_points(in->q.scan, seed, &p);
    if (!status) {
        in->points = p.n;
        points_free(&p);
        status =
            scan_voxels(in->q.scan, in->q.task ? SCAN_DETECTION : SCAN_SEGMENTATION, seed, &in->v);
    }
    if (!status)
        status = op_result(build_level(in), "scan_stats", "levels");
    if (status) {
        close_scan(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "points", .dtype = "f32", .shape = { in->points } };
    scan_origin(in->q.scan, (uint64_t)in->q.frame, out[0].source, out[0].gen);
    return 1;
}

static void put(struct cb_figure *out, int *n, const char *name, double value)
{
    struct cb_figure *f = &out[(*n)++];
    *f = (struct cb_figure){ .value = value, .low = value, .high = value };
    snprintf(f->name, sizeof f->name, "%s", name);
}

static double isolated(const struct kmap *m)
{
    long alone = 0;
    for (int k = 0; k < m->n_out; k++) {
        int taps = 0;
        for (int d = 0; d < m->taps; d++)
            taps += m->table.index[(size_t)k * (size_t)m->taps + (size_t)d] >= 0;
        alone += taps == 1;
    }
    return (double)alone / m->n_out;
}

static int figures(void *bound, struct cb_figure *out)
{
    struct instance *in = bound;
    const struct kmap *m = &in->map.map;
    int n = 0;
    put(out, &n, "points", (double)in->points);
    put(out, &n, "voxels", in->voxels);
    put(out, &n, "pairs", (double)m->pairs_total);
    put(out, &n, "neighbours", (double)m->pairs_total / in->voxels);
    put(out, &n, "isolated", isolated(m));
    for (int tile = 128; tile >= 32; tile /= 4)
        for (int s = tile < 128; s <= KMAP_SPLITS_MAX; s++) {
            char name[32];
            if (s && kmap_host_order(&in->map, s, tile))
                return n;
            snprintf(name, sizeof name, "redundancy_%d_s%d", tile, s);
            put(out, &n, name, kmap_redundancy(m));
        }
    return n;
}

const struct cb_op op_scan_stats = {
    .name = "scan_stats", .title = "voxels and neighbours of a scan", .params = params,
    .params_size = sizeof(struct scan_params), .untimed = true, .impl = impl_at, .open = open_scan,
    .inputs = inputs, .ready = op_ready_always, .bind = op_bind_self, .figures = figures,
    .unbind = op_unbind_self, .close = close_scan,
};
