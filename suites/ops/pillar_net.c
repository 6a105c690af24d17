/*
 * pillar_net.c - points to pillars and their vectors, bound to the harness.
 *
 * A problem is the points of a generated street; sets of operands hold mirror images of it in turn.
 * Weights are drawn at random, those of coordinates smaller as after normalisation.  All
 * implementations of a case write the same memory.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/sha.h"
#include "../../kernels/pillar/pillar.h"
#include "../data/pillars.h"
#include "../data/street.h"
#include "bind.h"
#include "ops.h"

enum { MIRRORS = 4, TENSOR_W1 = 1, TENSOR_B1, TENSOR_W2, TENSOR_B2 };
enum { W1 = PILLAR_HIDDEN * PILLAR_RAW, W2 = PILLAR_OUT * 2 * PILLAR_HIDDEN };

struct net_params {
    int frames, frame, points;
};

static const struct cb_param params[] = {
    { "frames", CB_INT, offsetof(struct net_params, frames), 1, 1, STREET_FRAMES, NULL, false,
      "frames of the generated street" },
    { "frame", CB_INT, offsetof(struct net_params, frame), 0, 0, 1000000, NULL, false,
      "number of the street" },
    { "points", CB_INT, offsetof(struct net_params, points), 0, 0, 1 << 24, NULL, false,
      "so many at most, taken evenly; 0: all" },
    { 0 },
};

struct weights {
    float w1[W1], b1[PILLAR_HIDDEN], b2[PILLAR_OUT];
    half_bits w2[W2];
};

struct instance {
    struct net_params q;
    struct pillar_problem p;
    struct cb_device *device;
    uint64_t seed;
    char sha256[65];
    float *in;                       /* [points][PILLAR_IN], as made */
    int pillars[MIRRORS];            /* 0: not counted yet */
    int fullest;
    long inside;
    struct op_sets weight;           /* struct weights */
    struct op_sets points;           /* input */
    struct op_sets count, cell, out; /* output */
    struct pillar_want want;         /* of the set last expected */
    double *want_out;                /* on the device [pillars][PILLAR_OUT] */
    float *bound, *loose;
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { pillar_references, pillar_impls };
    return op_row_at(table, 2, sizeof(struct pillar_impl), i);
}

static size_t in_bytes(const struct instance *in)
{
    return (size_t)in->p.points * PILLAR_IN * sizeof(float);
}

static size_t cell_bytes(int pillars)
{
    return (size_t)pillars * sizeof(struct flatten_cell);
}

static size_t out_bytes(int pillars)
{
    return (size_t)pillars * PILLAR_OUT * sizeof(half_bits);
}

/* ---- problems ---- */

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    op_sets_close(in->device, &in->weight);
    op_sets_close(in->device, &in->points);
    op_sets_close(in->device, &in->count);
    op_sets_close(in->device, &in->cell);
    op_sets_close(in->device, &in->out);
    cb_free(in->device, in->want_out);
    cb_free(in->device, in->bound);
    cb_free(in->device, in->loose);
    pillar_want_free(&in->want);
    free(in->in);
    free(in);
}

/* One frame: elongation is the fifth number; more: minus the frame's age. */
static int read_points(struct instance *in)
{
    struct points p;
    if (street_generate((uint64_t)in->q.frame, 0, in->q.frames, &p))
        return -1;
    const long n = in->q.points && in->q.points < p.n ? in->q.points : p.n;
    in->p.points = (int)n;
    in->p.grid = pillars_waymo;
    in->in = malloc(in_bytes(in));
    for (long i = 0; in->in && i < n; i++) {
        const float *v = p.v + i * p.n / n * STREET_CHANNELS;
        float *to = in->in + i * PILLAR_IN;
        memcpy(to, v, 4 * sizeof *to);
        to[4] = in->q.frames > 1 ? -v[5] : v[4];
    }
    points_free(&p);
    return in->in ? 0 : cb_error("no memory for %ld points", n);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->q = *(const struct net_params *)given;
    in->device = c->device;
    in->seed = c->seed;
    int status = read_points(in);
    if (!status)
        status = cb_sha256(in->in, in_bytes(in), in->sha256);
    if (!status) {
        const struct pillar_args a = { .in = in->in };
        status = op_result(pillar_reference(&in->p, &a, 0, &in->want), "pillar_net", "cells");
        in->pillars[0] = in->want.n;
        in->fullest = in->want.fullest;
        in->inside = in->want.points;
    }
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
    static const struct cb_input weights[] = {
        { .name = "W1", .dtype = "f32", .shape = { PILLAR_HIDDEN, PILLAR_RAW }, .tensor_id = TENSOR_W1 },
        { .name = "b1", .dtype = "f32", .shape = { PILLAR_HIDDEN }, .tensor_id = TENSOR_B1 },
        { .name = "W2", .dtype = "f16", .shape = { PILLAR_OUT, 2 * PILLAR_HIDDEN }, .tensor_id = TENSOR_W2 },
        { .name = "b2", .dtype = "f32", .shape = { PILLAR_OUT }, .tensor_id = TENSOR_B2 },
    };
    out[0] = (struct cb_input){ .name = "points", .dtype = "f32",
                                .shape = { in->p.points, PILLAR_IN } };
    snprintf(out[0].source, sizeof out[0].source, "generated");
    snprintf(out[0].gen, sizeof out[0].gen, "street %df seed %d", in->q.frames, in->q.frame);
    memcpy(out[0].sha256, in->sha256, sizeof out[0].sha256);
    for (int i = 0; i < 4; i++) {
        out[1 + i] = weights[i];
        snprintf(out[1 + i].source, sizeof out[0].source, "generated");
        snprintf(out[1 + i].gen, sizeof out[0].gen, "uniform, scaled as after normalisation");
    }
    return 5;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct instance *in = instance;
    op_figure(&out[0], "points_inside", "", (double)in->inside);
    op_figure(&out[1], "cells", "", in->pillars[0]);
    op_figure(&out[2], "fullest", "", in->fullest);
    return 3;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    (void)instance;
    return op_is_built(((const struct pillar_impl *)i)->run != NULL, why) ? OP_OK : OP_EUNSUPPORTED;
}

/* The definition's products: both layers at every point. */
static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct instance *in = instance;
    struct cb_work w = { .weight_bytes = sizeof(struct weights), .peak = "tensor_fp16",
                         .accumulate = CB_F32 };
    (void)i;
    w.flops = 2.0 * (double)in->inside * (W1 + W2);
    w.tensor_ops = 2.0 * (double)in->inside * W2;
    w.bytes_min = (double)in_bytes(in) + w.weight_bytes +
                  (double)(cell_bytes(in->pillars[0]) + out_bytes(in->pillars[0]));
    w.bytes_model = w.bytes_min;
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    *weights = sizeof(struct weights);
    *ins = (double)in_bytes(in);
    *outs = (double)(cell_bytes(in->pillars[0]) + out_bytes(in->pillars[0]));
}

/* ---- operands ---- */

static float draw(const struct instance *in, int set, int tensor, int i)
{
    return cb_random_at(CB_UNIFORM, in->seed, (uint32_t)tensor, (uint32_t)set, (uint64_t)i);
}

/* Xavier's ranges; inputs of the first layer scaled to about 1. */
static void draw_weights(const struct instance *in, int set, struct weights *w)
{
    static const float scale[PILLAR_RAW] = { 1.f / 40, 1.f / 40, .5f, 1, 1, 3, 3, 1, 4, 4, 1 };
    const float first = sqrtf(6.f / (PILLAR_RAW + PILLAR_HIDDEN));
    const float second = sqrtf(6.f / (2 * PILLAR_HIDDEN + PILLAR_OUT));
    for (int i = 0; i < W1; i++)
        w->w1[i] = first * scale[i % PILLAR_RAW] * draw(in, set, TENSOR_W1, i);
    for (int i = 0; i < PILLAR_HIDDEN; i++)
        w->b1[i] = .5f * draw(in, set, TENSOR_B1, i);
    for (int i = 0; i < W2; i++)
        w->w2[i] = half_from_float(second * draw(in, set, TENSOR_W2, i));
    for (int i = 0; i < PILLAR_OUT; i++)
        w->b2[i] = .5f * draw(in, set, TENSOR_B2, i);
}

/* Points of a set: x or y or both mirrored. */
static float *mirrored(const struct instance *in, int set)
{
    float *v = malloc(in_bytes(in));
    if (!v) {
        cb_error("no memory for %d points", in->p.points);
        return NULL;
    }
    memcpy(v, in->in, in_bytes(in));
    for (int i = 0; i < in->p.points; i++) {
        v[(size_t)i * PILLAR_IN] *= set & 1 ? -1 : 1;
        v[(size_t)i * PILLAR_IN + 1] *= set & 2 ? -1 : 1;
    }
    return v;
}

static int make_weights(struct instance *in, int set)
{
    struct weights *w = malloc(sizeof *w);
    if (!w)
        return cb_error("no memory for weights");
    draw_weights(in, set, w);
    const int status = cb_alloc(in->device, sizeof *w, &in->weight.set[set]) ||
                       cb_upload(in->device, in->weight.set[set], w, sizeof *w);
    free(w);
    return status ? -1 : 0;
}

/* Memory for outputs is that of the most pillars; how many a set has is counted. */
static int make_inputs(struct instance *in, int set)
{
    float *v = mirrored(in, set);
    int status = v ? 0 : -1;
    const int mirror = set % MIRRORS;
    if (!status && !in->pillars[mirror]) {
        struct pillar_want w;
        const struct pillar_args a = { .in = v };
        status = op_result(pillar_reference(&in->p, &a, 0, &w), "pillar_net", "cells");
        in->pillars[mirror] = w.n;
        pillar_want_free(&w);
    }
    const int pillars = pillar_most(&in->p);
    if (!status)
        status = cb_alloc(in->device, in_bytes(in), &in->points.set[set]) ||
                         cb_upload(in->device, in->points.set[set], v, in_bytes(in)) ||
                         cb_alloc(in->device, sizeof(int32_t), &in->count.set[set]) ||
                         cb_alloc(in->device, cell_bytes(pillars), &in->cell.set[set]) ||
                         cb_alloc(in->device, out_bytes(pillars), &in->out.set[set])
                     ? -1
                     : 0;
    free(v);
    return status;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    struct cb_device *d = in->device;
    (void)c;
    if (op_sets_open(&in->weight, weight_sets) || op_sets_open(&in->points, input_sets) ||
        op_sets_open(&in->count, input_sets) || op_sets_open(&in->cell, input_sets) ||
        op_sets_open(&in->out, input_sets))
        return -1;
    for (int s = 0; s < weight_sets; s++)
        if (make_weights(in, s))
            return -1;
    for (int s = 0; s < input_sets; s++)
        if (make_inputs(in, s))
            return -1;
    int most = 0;
    for (int m = 0; m < MIRRORS; m++)
        most = in->pillars[m] > most ? in->pillars[m] : most;
    const size_t count = (size_t)most * PILLAR_OUT;
    if (cb_alloc(d, count * sizeof *in->want_out, (void **)&in->want_out) ||
        cb_alloc(d, count * sizeof *in->bound, (void **)&in->bound) ||
        cb_alloc(d, count * sizeof *in->loose, (void **)&in->loose))
        return -1;
    return cb_sync(d);
}

static struct pillar_args args_of(const struct instance *in, int weights, int ins)
{
    const struct weights *w = in->weight.set[weights];
    return (struct pillar_args){ in->points.set[ins], w->w1, w->b1, w->w2, w->b2,
                                 in->count.set[ins], in->cell.set[ins], in->out.set[ins] };
}

/* A state for each set of weights: some keep them in another form. */
static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct pillar_impl *impl = b->impl;
    const struct pillar_args a = args_of(in, set, 0);
    (void)args;
    return impl->setup ? impl->setup(&in->p, &a, memory, b->stream, state) : OP_OK;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    return op_bind(c, instance, i, ((struct instance *)instance)->weight.count, 0, set_up,
                   ((const struct pillar_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct pillar_impl *impl = b->impl;
    const struct pillar_args a = args_of(in, weights, ins);
    return op_launched(b, impl->run(&in->p, &a, b->states.state[weights], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct instance *in = ((struct op_bound *)bound)->in;
    const int pillars = in->pillars[ins % MIRRORS];
    (void)weights, (void)max;
    out[0] = (struct cb_region){ in->count.set[ins], sizeof(int32_t) };
    out[1] = (struct cb_region){ in->cell.set[ins], cell_bytes(pillars) };
    out[2] = (struct cb_region){ in->out.set[ins], out_bytes(pillars) };
    return 3;
}

/* ---- correctness ---- */

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    struct weights *w = malloc(sizeof *w);
    float *v = mirrored(in, ins);
    int status = w && v ? 0 : cb_error("no memory for the reference");
    pillar_want_free(&in->want);
    if (!status) {
        draw_weights(in, weights, w);
        const struct pillar_args a = { .in = v, .w1 = w->w1, .b1 = w->b1, .w2 = w->w2,
                                       .b2 = w->b2 };
        status = op_result(pillar_reference(&in->p, &a, 1, &in->want), "pillar_net", "reference");
    }
    const size_t count = (size_t)in->want.n * PILLAR_OUT;
    if (!status)
        status = cb_upload(c->device, in->want_out, in->want.out, count * sizeof(double)) ||
                         cb_upload(c->device, in->bound, in->want.bound, count * sizeof(float)) ||
                         cb_upload(c->device, in->loose, in->want.loose, count * sizeof(float))
                     ? -1
                     : cb_sync(c->device);
    free(w);
    free(v);
    return status;
}

/* Wrong entries of the exact part: number of pillars and cells. */
static int wrong_cells(struct cb_context *c, const struct instance *in, int ins, long *wrong)
{
    const struct pillar_want *w = &in->want;
    int32_t count = -1;
    struct flatten_cell *cell = malloc(cell_bytes(w->n) + 1);
    int status = cell ? 0 : cb_error("no memory for %d cells", w->n);
    if (!status)
        status = cb_download(c->device, &count, in->count.set[ins], sizeof count) ||
                         cb_download(c->device, cell, in->cell.set[ins], cell_bytes(w->n))
                     ? -1
                     : 0;
    *wrong = count != w->n;
    for (int i = 0; !status && i < w->n; i++)
        *wrong += cell[i].x != w->cell[i].x || cell[i].y != w->cell[i].y;
    free(cell);
    return status;
}

/* Second gate: 1e-3, and 3e-3 where products are of TF32. */
static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const bool tf32 = ((const struct pillar_impl *)b->impl)->tf32;
    const struct cb_view got = { in->out.set[ins], CB_F16, in->want.n, PILLAR_OUT, false };
    long wrong = 0;
    (void)weights, (void)r2;
    *limit = tf32 ? 3e-3 : 1e-3;
    if (wrong_cells(c, in, ins, &wrong) ||
        cb_compare(c->device, &got, in->want_out, tf32 ? in->loose : in->bound, r1))
        return -1;
    r1->bad += wrong;
    return 0;
}

const struct cb_op op_pillar_net = {
    .name = "pillar_net", .title = "points to pillars",
    .params = params, .params_size = sizeof(struct net_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check,
    .unbind = op_unbind, .close = close_instance,
};
