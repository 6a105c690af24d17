/*
 * kmap.c - building kernel maps, bound to the harness.
 *
 * A problem is a scan and a set of maps: one, or all of a network.  The reference counts the
 * outputs of every level, and operand sets have room for so many rows: every implementation writes
 * all of it.  All implementations of a case write the same memory; rows may be numbered
 * differently, which the comparison sees through.  Sets hold the same scan: a new one would have
 * other sizes.
 */
#include "../../kernels/kmap/build.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/sha.h"
#include "../data/scan.h"
#include "bind.h"
#include "ops.h"

enum maps { K3S1, K2S2, K3S2, K3S2_FLOOR, K131, MINKUNET, MINKUNET_INVERSE, CENTERPOINT };

struct kmap_params {
    char scan[CB_PATH_MAX];
    int maps, task, frame;
};

static const char *const map_names[] = { "k3s1", "k2s2", "k3s2", "k3s2_floor", "k131", "minkunet",
                                         "minkunet_inverse", "centerpoint", NULL };
static const char *const task_names[] = { "segmentation", "detection", NULL };
static const struct cb_param params[] = {
    { "scan", CB_PATH, offsetof(struct kmap_params, scan), 0, 0, 0, NULL, true,
      "a generated scan, a known file, or FORMAT:PATH (suites/data/scan.h)" },
    { "maps", CB_CHOICE, offsetof(struct kmap_params, maps), 0, 0, 0, map_names, true,
      "one map of level 0, or all of a network; k131 is kernel (1,3,1) stride (1,2,1)" },
    { "task", CB_CHOICE, offsetof(struct kmap_params, task), 0, 0, 0, task_names, false,
      "how points become voxels; detection has a fixed grid and shuffled rows" },
    { "frame", CB_INT, offsetof(struct kmap_params, frame), 0, 0, 1000000, NULL, false,
      "number of a generated scan" },
    { 0 },
};

struct instance {
    struct kmap_params q;
    struct voxels v;
    struct kmap_plan p;
    struct kmap_host_net want;
    struct cb_device *device;
    char sha256[65];
    struct op_sets in, source, count, tables, masks, coord[KMAP_LEVELS_MAX]; /* per input set */
    size_t table_at[KMAP_STEPS_MAX + 1], mask_at[KMAP_STEPS_MAX + 1]; /* bytes; the last: of all */
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { kmap_references, kmap_builders };
    return op_row_at(table, 2, sizeof(struct kmap_impl), i);
}

/* ---- problems ---- */

static enum op_status make_plan(struct instance *in)
{
    const struct voxels *v = &in->v;
    struct kmap_shape s = kmap_same(3, v->size, v->batch);
    switch ((enum maps)in->q.maps) {
    case MINKUNET:
    case MINKUNET_INVERSE:
        return kmap_plan_minkunet(v->size, v->batch, v->n, v->sorted,
                                  in->q.maps == MINKUNET_INVERSE, &in->p);
    case CENTERPOINT: return kmap_plan_centerpoint(v->size, v->batch, v->n, &in->p);
    case K2S2: s = kmap_half(v->size, v->batch); break;
    case K131:
        s = (struct kmap_shape){ .rule = KMAP_SPCONV, .kernel = { 1, 3, 1 }, .stride = { 1, 2, 1 },
                                 .batch = v->batch };
        memcpy(s.size, v->size, sizeof s.size);
        break;
    case K3S2:
    case K3S2_FLOOR:
        s.rule = in->q.maps == K3S2 ? KMAP_SPCONV : KMAP_FLOOR;
        s.stride[0] = s.stride[1] = s.stride[2] = 2;
        break;
    case K3S1: break;
    }
    return kmap_plan_single(&s, v->n, v->sorted, &in->p);
}

/* Offsets of tables and masks in one piece of memory each; both are multiples of 256 bytes. */
static void lay_out(struct instance *in)
{
    for (int i = 0; i < in->p.steps; i++) {
        const size_t rows = (size_t)kmap_step_rows(&in->p, i);
        const size_t taps = (size_t)kmap_taps(&in->p.step[i].shape);
        in->table_at[i + 1] = in->table_at[i] + rows * taps * sizeof(int32_t);
        in->mask_at[i + 1] = in->mask_at[i] + rows * sizeof(uint32_t);
    }
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    struct op_sets *all[] = { &in->in, &in->source, &in->count, &in->tables, &in->masks };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        op_sets_close(in->device, all[i]);
    for (int l = 0; l < KMAP_LEVELS_MAX; l++)
        op_sets_close(in->device, &in->coord[l]);
    kmap_host_net_free(&in->want);
    voxels_free(&in->v);
    free(in);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    char why[256];
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->q = *(const struct kmap_params *)given;
    in->device = c->device;
    int status =
        scan_available(in->q.scan, why, sizeof why) ? 0 : cb_error("not available: %s", why);
    if (!status)
        status = scan_voxels(in->q.scan, in->q.task ? SCAN_DETECTION : SCAN_SEGMENTATION,
                             (uint64_t)in->q.frame, &in->v);
    if (!status)
        status = op_result(make_plan(in), "kmap", "problem");
    if (!status)
        status = op_result(kmap_host_net(&in->p, in->v.coord, &in->want), "kmap", "reference");
    if (!status)
        status = cb_sha256(in->v.coord, (size_t)in->v.n * sizeof *in->v.coord, in->sha256);
    if (status) {
        close_instance(in);
        return -1;
    }
    for (int l = 1; l < in->p.levels; l++)
        in->p.cap[l] = in->want.n[l];
    lay_out(in);
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "coordinates", .dtype = "i32", .shape = { in->v.n, 4 } };
    scan_origin(in->q.scan, (uint64_t)in->q.frame, out[0].source, out[0].gen);
    memcpy(out[0].sha256, in->sha256, sizeof out[0].sha256);
    return 1;
}

static void figure(struct cb_figure *out, int *n, const char *unit, double value, const char *name,
                   int number)
{
    struct cb_figure *f = &out[(*n)++];
    *f = (struct cb_figure){ .value = value, .low = value, .high = value };
    snprintf(f->name, sizeof f->name, number < 0 ? "%s" : "%s_%d", name, number);
    snprintf(f->unit, sizeof f->unit, "%s", unit);
}

/* Sizes of levels and maps, and for the first map what sorting saves. */
static int statistics(void *instance, struct cb_figure *out)
{
    struct instance *in = instance;
    struct kmap_host *first = &in->want.map[0];
    int n = 0;
    for (int l = 0; l < in->p.levels; l++)
        figure(out, &n, "", in->want.n[l], "voxels", l);
    for (int i = 0; i < in->p.steps && n < CB_FIGURES_MAX - 8; i++)
        figure(out, &n, "", (double)in->want.map[i].map.pairs_total, "pairs", i);
    figure(out, &n, "", (double)first->map.pairs_total / first->map.n_out, "neighbours", -1);
    first->map.order.splits = 0;
    for (int s = 0; s <= KMAP_SPLITS_MAX; s++)
        if (!s || kmap_host_order(first, s, 128) == OP_OK)
            figure(out, &n, "", kmap_redundancy(&first->map), "redundancy", s);
    return n;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const struct kmap_impl *impl = (const struct kmap_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    return impl->supports(&in->p, why);
}

/* ---- bytes ---- */

static double level_bytes(const struct instance *in)
{
    double bytes = sizeof(int32_t) * ((double)in->p.n_in + in->p.levels);
    for (int l = 0; l < in->p.levels; l++)
        bytes += (double)in->p.cap[l] * sizeof(struct kmap_coord);
    return bytes;
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct instance *in = instance;
    (void)i;
    struct cb_work w = { .peak = "", .accumulate = CB_I32 };
    w.bytes_min = (double)in->p.n_in * sizeof(struct kmap_coord) + level_bytes(in) +
                  (double)in->table_at[in->p.steps];
    w.bytes_model = w.bytes_min;
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    *weights = 0;
    *ins = (double)in->p.n_in * sizeof(struct kmap_coord);
    *outs = level_bytes(in) + (double)(in->table_at[in->p.steps] + in->mask_at[in->p.steps]);
}

/* ---- operands ---- */

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    struct cb_device *d = in->device;
    const size_t n = (size_t)in->p.n_in, coord = sizeof(struct kmap_coord);
    (void)c, (void)weight_sets;
    const struct {
        struct op_sets *sets;
        size_t bytes;
    } list[] = {
        { &in->in, n * coord },
        { &in->source, n * sizeof(int32_t) },
        { &in->count, KMAP_LEVELS_MAX * sizeof(int32_t) },
        { &in->tables, in->table_at[in->p.steps] },
        { &in->masks, in->mask_at[in->p.steps] },
    };
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
        if (op_sets_open(list[k].sets, input_sets))
            return -1;
        for (int s = 0; s < input_sets; s++)
            if (cb_alloc(d, list[k].bytes, &list[k].sets->set[s]))
                return -1;
    }
    for (int l = 0; l < in->p.levels; l++) {
        if (op_sets_open(&in->coord[l], input_sets))
            return -1;
        for (int s = 0; s < input_sets; s++)
            if (cb_alloc(d, (size_t)in->p.cap[l] * coord, &in->coord[l].set[s]))
                return -1;
    }
    for (int s = 0; s < input_sets; s++)
        if (cb_upload(d, in->in.set[s], in->v.coord, n * coord))
            return -1;
    return cb_sync(d);
}

static struct kmap_args args_of(const struct instance *in, int set)
{
    struct kmap_args a = { .in = in->in.set[set], .source = in->source.set[set],
                           .count = in->count.set[set] };
    for (int l = 0; l < in->p.levels; l++)
        a.coord[l] = in->coord[l].set[set];
    for (int i = 0; i < in->p.steps; i++) {
        a.table[i] = (int32_t *)((char *)in->tables.set[set] + in->table_at[i]);
        a.mask[i] = (uint32_t *)((char *)in->masks.set[set] + in->mask_at[i]);
    }
    return a;
}

static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    (void)set, (void)args;
    return ((const struct kmap_impl *)b->impl)->setup(&((struct instance *)b->in)->p, memory, state);
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    return op_bind(c, instance, i, 1, 0, set_up, ((const struct kmap_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct kmap_impl *impl = b->impl;
    const struct kmap_args a = args_of(in, ins);
    (void)weights;
    return op_launched(b, impl->run(&in->p, &a, b->states.state[0], b->stream));
}

/* The published builder leaves masks to sorting. */
static bool writes_masks(const struct op_bound *b)
{
    return ((const struct op_impl *)b->impl)->role != OP_PAPER;
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    int n = 0;
    (void)weights;
    out[n++] = (struct cb_region){ in->tables.set[ins], in->table_at[in->p.steps] };
    out[n++] = (struct cb_region){ in->source.set[ins], (size_t)in->p.n_in * sizeof(int32_t) };
    out[n++] = (struct cb_region){ in->count.set[ins], (size_t)in->p.levels * sizeof(int32_t) };
    if (writes_masks(b))
        out[n++] = (struct cb_region){ in->masks.set[ins], in->mask_at[in->p.steps] };
    for (int l = 0; l < in->p.levels && n < max; l++) /* of five levels the first four: room */
        out[n++] = (struct cb_region){ in->coord[l].set[ins],
                                       (size_t)in->p.cap[l] * sizeof(struct kmap_coord) };
    return n;
}

/* ---- correctness ---- */

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    (void)c, (void)instance, (void)weights, (void)ins;
    return 0; /* the reference was built with the problem, and is the same for all sets */
}

/* A copy of device memory; NULL after cb_error. */
static void *fetch(struct cb_device *d, const void *from, size_t bytes)
{
    void *p = malloc(bytes + 1);
    if (!p)
        cb_error("no memory for %zu bytes", bytes);
    if (p && cb_download(d, p, from, bytes)) {
        free(p);
        return NULL;
    }
    return p;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    struct cb_region region[5 + KMAP_LEVELS_MAX];
    void *host[5 + KMAP_LEVELS_MAX] = { 0 };
    struct kmap_result got = { 0 };
    char text[128];
    const int n = outputs(bound, weights, ins, region, writes_masks(b) ? 4 : 3);
    int status = 0;
    (void)r2;
    for (int k = 0; k < n; k++)
        status |= !(host[k] = fetch(c->device, region[k].data, region[k].bytes));
    for (int l = 0; l < in->p.levels; l++) {
        host[4 + l] = fetch(c->device, in->coord[l].set[ins],
                            (size_t)in->p.cap[l] * sizeof(struct kmap_coord));
        got.coord[l] = host[4 + l];
        status |= !host[4 + l];
    }
    got.source = host[1];
    got.count = host[2];
    for (int i = 0; !status && i < in->p.steps; i++) {
        got.table[i] = (const int32_t *)((const char *)host[0] + in->table_at[i]);
        got.mask[i] = host[3] ? (const uint32_t *)((const char *)host[3] + in->mask_at[i]) : NULL;
    }
    if (!status) {
        const long wrong = kmap_compare(&in->p, &in->want, &got, text, sizeof text);
        *r1 = (struct cb_accuracy){ .compared = (long)(in->table_at[in->p.steps] / sizeof(int32_t)),
                                    .bad = wrong, .worst = -1 };
        *limit = 0;
        if (wrong < 0)
            status = cb_error("no memory to compare maps");
    }
    for (size_t k = 0; k < sizeof host / sizeof *host; k++)
        free(host[k]);
    return status ? -1 : 0;
}

const struct cb_op op_kmap = {
    .name = "kmap", .title = "kernel maps of sparse convolution",
    .params = params, .params_size = sizeof(struct kmap_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check,
    .unbind = op_unbind, .close = close_instance,
};
