/*
 * bev.c - the dense part of a detector, bound to the harness.
 *
 * A problem is a generated street on the published grid, or the middle of it: pillars, or for
 * CenterPoint the voxels that its sparse convolutions leave.  Features are what a
 * relu leaves, weights have Kaiming's range, so that all layers have numbers of about one size.
 * Half results are rounded after each of 13 layers: an element may be off by 2 % of itself and the
 * root mean square of its channel, all of them together by 0.3 %.
 */
#include "../../kernels/bev/bev.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/sha.h"
#include "../../kernels/kmap/build.h"
#include "../data/pillars.h"
#include "../data/street.h"
#include "../data/voxel.h"
#include "bind.h"
#include "ops.h"

enum { TENSOR_X = 1, TENSOR_W, TENSOR_B };

struct bev_params {
    int side, frames, frame, net;
};
static const char *const nets[] = { "flatformer", "centerpoint", NULL }; /* as enum bev_net */
enum { CENTER_SIDE = 188, CENTER_LEVEL = 4 };

static const struct cb_param params[] = {
    { "side", CB_INT, offsetof(struct bev_params, side), PILLARS_SIDE, 2, PILLARS_SIDE, NULL, false,
      "cells of the map's side, even: the middle of the street; centerpoint: 188 at most" },
    { "frames", CB_INT, offsetof(struct bev_params, frames), 1, 1, 12, NULL, false,
      "frames of the generated street" },
    { "frame", CB_INT, offsetof(struct bev_params, frame), 0, 0, 1000000, NULL, false,
      "number of the street" },
    { "net", CB_CHOICE, offsetof(struct bev_params, net), BEV_FLATFORMER, 0, 0, nets, false,
      "whose layers" },
    { 0 },
};

struct instance {
    struct bev_params q;
    struct bev_problem p;
    struct cb_device *device;
    uint64_t seed;
    char sha256[65];
    struct flatten_cell *in;  /* [pillars] host */
    void *cell;               /* the same on the device */
    struct op_sets w, b;      /* per weight set */
    struct op_sets x, y;      /* per input set */
    double *want;             /* on the device [side][side][out] */
    float *bound;
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { bev_references, bev_impls };
    return op_row_at(table, 2, sizeof(struct bev_impl), i);
}

static size_t x_count(const struct instance *in)
{
    return (size_t)in->p.pillars * BEV_IN;
}

static size_t y_count(const struct instance *in)
{
    return bev_map_size(&in->p, BEV_RESULT);
}

static size_t w_count(const struct instance *in)
{
    return bev_weight_at(bev_shape_of(&in->p)->end);
}

static size_t b_count(const struct instance *in)
{
    return bev_bias_at(bev_shape_of(&in->p)->end);
}

static size_t cell_bytes(const struct instance *in)
{
    return (size_t)in->p.pillars * sizeof *in->in;
}

/* ---- problems ---- */

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    op_sets_close(in->device, &in->w);
    op_sets_close(in->device, &in->b);
    op_sets_close(in->device, &in->x);
    op_sets_close(in->device, &in->y);
    cb_free(in->device, in->cell);
    cb_free(in->device, in->want);
    cb_free(in->device, in->bound);
    free(in->in);
    free(in);
}

static void keep_cell(struct instance *in, int x, int y, int height, int heights)
{
    if (x >= 0 && y >= 0 && x < in->p.side && y < in->p.side)
        in->in[in->p.pillars++] = (struct flatten_cell){ x * heights + height, y };
}

/* Pillars in the middle of the street. */
static int read_cells(struct instance *in)
{
    struct pillars v;
    const int low = (PILLARS_SIDE - in->q.side) / 2;
    if (pillars_generate(in->q.frames, (uint64_t)in->q.frame, 0, &v))
        return -1;
    in->in = malloc((size_t)v.n * sizeof *in->in + 1);
    for (int i = 0; in->in && i < v.n; i++)
        keep_cell(in, v.cell[i].x - low, v.cell[i].y - low, 0, 1);
    pillars_free(&v);
    return in->in ? 0 : cb_error("no memory for pillars");
}

/* What the sparse convolutions leave of its voxels: their second coordinate is the height. */
static int read_voxels(struct instance *in, const struct voxels *v)
{
    const int low = (CENTER_SIDE - in->q.side) / 2;
    struct kmap_plan plan;
    struct kmap_host_net maps = { 0 };
    enum op_status status = kmap_plan_centerpoint(v->size, 1, v->n, &plan);
    if (!status)
        status = kmap_host_net(&plan, v->coord, &maps);
    if (!status) {
        in->in = malloc((size_t)maps.n[CENTER_LEVEL] * sizeof *in->in + 1);
        status = in->in ? OP_OK : OP_ENOMEM;
    }
    for (int i = 0; !status && i < maps.n[CENTER_LEVEL]; i++) {
        const struct kmap_coord c = maps.coord[CENTER_LEVEL][i];
        keep_cell(in, c.x - low, c.z - low, c.y, bev_shape_of(&in->p)->heights);
    }
    kmap_host_net_free(&maps);
    return op_result(status, "bev", "voxels");
}

static int read_center(struct instance *in)
{
    struct points p;
    struct voxels v;
    if (in->q.side > CENTER_SIDE)
        return cb_error("bev: centerpoint's map has %d cells a side, not %d", CENTER_SIDE,
                        in->q.side);
    if (street_generate((uint64_t)in->q.frame, 0, in->q.frames, &p))
        return -1;
    int status = voxels_detect("street", &p, &voxel_grid_waymo, 0, &v);
    points_free(&p);
    if (!status)
        status = read_voxels(in, &v);
    voxels_free(&v);
    return status;
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->q = *(const struct bev_params *)given;
    in->device = c->device;
    in->seed = c->seed;
    in->p.side = in->q.side;
    in->p.net = (enum bev_net)in->q.net;
    int status = in->p.net == BEV_CENTERPOINT ? read_center(in) : read_cells(in);
    if (!status)
        status = op_result(bev_check(&in->p), "bev", "problem");
    if (!status)
        status = cb_sha256(in->in, cell_bytes(in), in->sha256);
    if (status) {
        close_instance(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "cells", .dtype = "i32", .shape = { in->p.pillars, 2 } };
    snprintf(out[0].gen, sizeof out[0].gen, "street %df seed %d, %s", in->q.frames, in->q.frame,
             in->p.net == BEV_CENTERPOINT ? "voxels behind the encoder" : "pillars");
    memcpy(out[0].sha256, in->sha256, sizeof out[0].sha256);
    out[1] = (struct cb_input){ .name = "X", .dtype = "f16", .shape = { in->p.pillars, BEV_IN },
                                .gen = "uniform, negative ones 0", .tensor_id = TENSOR_X };
    out[2] = (struct cb_input){ .name = "W", .dtype = "f16",
                                .shape = { (long)w_count(in) },
                                .gen = "uniform, Kaiming's range", .tensor_id = TENSOR_W };
    out[3] = (struct cb_input){ .name = "b", .dtype = "f32",
                                .shape = { (long)b_count(in) },
                                .gen = "uniform [-0.1, 0.1)", .tensor_id = TENSOR_B };
    for (int i = 0; i < 4; i++)
        snprintf(out[i].source, sizeof out[i].source, "generated");
    return 4;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct instance *in = instance;
    const double value[] = { in->p.pillars, 1e-9 * bev_flops(&in->p) };
    static const char *const name[] = { "cells", "gflop" };
    for (int i = 0; i < 2; i++)
        op_figure(&out[i], name[i], "", value[i]);
    return 2;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const struct bev_impl *impl = (const struct bev_impl *)i;
    return op_is_built(impl->run != NULL, why) ? bev_covers(impl, &in->p, why) : OP_EUNSUPPORTED;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    *weights = (double)(w_count(in) * sizeof(half_bits) + b_count(in) * sizeof(float));
    *ins = (double)(x_count(in) * sizeof(half_bits));
    *outs = (double)(y_count(in) * sizeof(half_bits));
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct instance *in = instance;
    struct cb_work w = { .flops = bev_flops(&in->p), .peak = "tensor_fp16", .accumulate = CB_F32 };
    double ins, outs;
    (void)i;
    set_bytes(instance, &w.weight_bytes, &ins, &outs);
    w.tensor_ops = w.flops;
    w.bytes_min = w.weight_bytes + ins + outs + (double)cell_bytes(in);
    w.bytes_model = w.bytes_min;
    const struct bev_shape *n = bev_shape_of(&in->p);
    for (int k = n->first; k < n->end; k++) /* maps between layers: written and read */
        w.bytes_model += 2.0 * sizeof(half_bits) *
                         (double)bev_map_size(&in->p, bev_layers[k].from);
    return w;
}

/* ---- operands ---- */

static float draw(const struct instance *in, int set, int tensor, size_t i)
{
    return cb_random_at(CB_UNIFORM, in->seed, (uint32_t)tensor, (uint32_t)set, (uint64_t)i);
}

static void draw_weights(const struct instance *in, int set, half_bits *w)
{
    const struct bev_shape *n = bev_shape_of(&in->p);
    for (int k = n->first; k < n->end; k++) {
        const struct bev_layer *l = &bev_layers[k];
        const size_t row = (size_t)(l->kernel * l->kernel * l->cin), at = bev_weight_at(k);
        const float range = sqrtf(6.f / (float)row);
        for (size_t i = 0; i < row * (size_t)l->rows; i++) {
            const int r = (int)(i / row);
            const bool empty = l->groups > 1 &&
                               r % BEV_BRANCH_ROWS >= n->branch_out[r / BEV_BRANCH_ROWS];
            w[at + i] = half_from_float(empty ? 0 : range * draw(in, set, TENSOR_W, at + i));
        }
    }
}

/* Sends what was drawn; frees it. */
static int send(struct instance *in, void **to, void *from, size_t bytes)
{
    int status = from ? 0 : cb_error("no memory for %zu bytes", bytes);
    if (!status)
        status = cb_alloc(in->device, bytes, to) || cb_upload(in->device, *to, from, bytes);
    free(from);
    return status ? -1 : 0;
}

static int make_weights(struct instance *in, int set)
{
    const size_t weights = w_count(in), biases = b_count(in);
    half_bits *w = malloc(weights * sizeof *w);
    float *b = malloc(biases * sizeof *b);
    if (w)
        draw_weights(in, set, w);
    for (size_t i = 0; b && i < biases; i++)
        b[i] = .1f * draw(in, set, TENSOR_B, i);
    const int status = send(in, &in->w.set[set], w, weights * sizeof *w);
    return send(in, &in->b.set[set], b, biases * sizeof *b) || status ? -1 : 0;
}

static int make_inputs(struct instance *in, int set)
{
    half_bits *x = malloc(x_count(in) * sizeof *x);
    for (size_t i = 0; x && i < x_count(in); i++)
        x[i] = half_from_float(fmaxf(draw(in, set, TENSOR_X, i), 0));
    if (send(in, &in->x.set[set], x, x_count(in) * sizeof *x))
        return -1;
    return cb_alloc(in->device, y_count(in) * sizeof(half_bits), &in->y.set[set]);
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    struct cb_device *d = in->device;
    (void)c;
    if (op_sets_open(&in->w, weight_sets) || op_sets_open(&in->b, weight_sets) ||
        op_sets_open(&in->x, input_sets) || op_sets_open(&in->y, input_sets))
        return -1;
    for (int s = 0; s < weight_sets; s++)
        if (make_weights(in, s))
            return -1;
    for (int s = 0; s < input_sets; s++)
        if (make_inputs(in, s))
            return -1;
    if (cb_alloc(d, cell_bytes(in), &in->cell) || cb_upload(d, in->cell, in->in, cell_bytes(in)) ||
        cb_alloc(d, y_count(in) * sizeof *in->want, (void **)&in->want) ||
        cb_alloc(d, y_count(in) * sizeof *in->bound, (void **)&in->bound))
        return -1;
    return cb_sync(d);
}

static struct bev_args args_of(const struct instance *in, int weights, int ins)
{
    return (struct bev_args){ in->x.set[ins], in->cell, in->w.set[weights], in->b.set[weights],
                              in->y.set[ins] };
}

/* A state for each set of weights. */
static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct bev_impl *impl = b->impl;
    const struct bev_args a = args_of(in, set, 0);
    (void)args;
    return impl->setup ? impl->setup(&in->p, &a, memory, b->stream, state) : OP_OK;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    return op_bind(c, instance, i, ((struct instance *)instance)->w.count, 0, set_up,
                   ((const struct bev_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct bev_impl *impl = b->impl;
    const struct bev_args a = args_of(in, weights, ins);
    return op_launched(b, impl->run(&in->p, &a, b->states.state[weights], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct instance *in = ((struct op_bound *)bound)->in;
    (void)weights, (void)max;
    out[0] = (struct cb_region){ in->y.set[ins], y_count(in) * sizeof(half_bits) };
    return 1;
}

/* ---- correctness ---- */

/* 2 % of an element and of the root mean square of its channel. */
static void bounds(const double *want, size_t count, int channels, float *bound)
{
    const size_t out = (size_t)channels;
    double square[BEV_OUT] = { 0 };
    for (size_t i = 0; i < count; i++)
        square[i % out] += want[i] * want[i];
    for (size_t i = 0; i < count; i++)
        bound[i] = (float)(.02 * (fabs(want[i]) +
                                  sqrt(square[i % out] / ((double)count / channels))));
}

/* Into in->want, on whichever device. */
static int reference(struct cb_context *c, struct instance *in, const struct bev_args *a)
{
#ifdef WITH_CUDA
    if (cb_device_info(c->device)->sm) {
        struct op_pool pool = { .device = c->device };
        const struct op_memory memory = op_pool_memory(&pool);
        int status = op_result(bev_reference_cuda(&in->p, a, &memory, in->want,
                                                  cb_device_stream(c->device)),
                               "bev", "reference");
        status = cb_sync(c->device) || status ? -1 : 0;
        op_pool_free(&pool);
        return status;
    }
#endif
    (void)c;
    return op_result(bev_reference(&in->p, a, in->want), "bev", "reference");
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    const struct bev_args a = args_of(in, weights, ins);
    const size_t count = y_count(in);
    double *want = malloc(count * sizeof *want);
    float *bound = malloc(count * sizeof *bound);
    int status = want && bound ? 0 : cb_error("no memory for the reference");
    if (!status)
        status = reference(c, in, &a);
    if (!status)
        status = cb_download(c->device, want, in->want, count * sizeof *want);
    if (!status) {
        bounds(want, count, bev_shape_of(&in->p)->out, bound);
        status = cb_upload(c->device, in->bound, bound, count * sizeof *bound) ||
                         cb_sync(c->device)
                     ? -1
                     : 0;
    }
    free(want);
    free(bound);
    return status;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct instance *in = ((struct op_bound *)bound)->in;
    const struct cb_view got = { in->y.set[ins], CB_F16, (long)in->p.side * in->p.side,
                                 bev_shape_of(&in->p)->out, false };
    (void)weights, (void)r2;
    *limit = 3e-3;
    return cb_compare(c->device, &got, in->want, in->bound, r1);
}

const struct cb_op op_bev = {
    .name = "bev", .title = "map from above: backbone and head",
    .params = params, .params_size = sizeof(struct bev_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check,
    .unbind = op_unbind, .close = close_instance,
};
