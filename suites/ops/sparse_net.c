/*
 * sparse_net.c - a whole network of sparse convolutions on a scan, bound to the harness.
 *
 * A run starts from coordinates: all maps, what the layers read of them, all layers.  Weights are
 * random and of a size that keeps rows between the layers near 1; features are random too.
 * Memory has room for the rows of this scan; there is one set of it.
 */
#include "../../kernels/sparse_net/sparse_net.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/sha.h"
#include "../../kernels/common/half.h"
#include "../data/scan.h"
#include "bind.h"
#include "ops.h"

enum { TENSOR_X = 1, TENSOR_W = 2, TENSOR_B = 3 };
enum { WINDOWS = 15 }; /* whose median is the time of a part */

/* Of the Frobenius error; where more is rounded to half than what layers store, the larger. */
static const double LIMIT = 3e-3, LIMIT_HALF = 2e-2;

struct sparse_net_params {
    char scan[CB_PATH_MAX];
    int network, precision, pass, voxels;
};

static const char *const networks[] = { "minkunet_1x", "minkunet_0.5x", "centerpoint", NULL };
static const char *const precisions[] = { "f16", NULL };
static const char *const passes[] = { "infer", NULL };
#define AT(member) offsetof(struct sparse_net_params, member)
static const struct cb_param params[] = {
    { "scan", CB_PATH, AT(scan), 0, 0, 0, NULL, true,
      "a generated scan, a known file, or FORMAT:PATH (suites/data/scan.h)" },
    { "network", CB_CHOICE, AT(network), SPARSE_NET_MINKUNET_1X, 0, 0, networks, false,
      "centerpoint: its 3D encoder, on voxels of detection" },
    { "precision", CB_CHOICE, AT(precision), 0, 0, 0, precisions, false,
      "half rows and weights, float sums" },
    { "pass", CB_CHOICE, AT(pass), 0, 0, 0, passes, false, "inference, norms folded" },
    { "voxels", CB_INT, AT(voxels), 0, 0, 1 << 26, NULL, false,
      "only the first so many of the scan; 0: all" },
    { 0 },
};

struct instance {
    struct sparse_net_params q;
    struct cb_device *device;
    uint64_t seed;
    struct voxels v;
    struct kmap_plan maps;
    struct kmap_host_net host_maps;
    struct sparse_net net;
    char sha256[65];
    half_bits *x, *w; /* host */
    float *b;
    void *on[5];      /* coordinates, x, w, b, y on the device */
    double *want;     /* on the device, once computed */
    float *bound, *loose;
};

struct bound {
    struct instance *in;
    const struct sparse_net_impl *impl;
    struct op_states states;
};

static const struct op_impl *impl_at(int i)
{
    for (int k = 0; sparse_net_rows[k].base.name; k++)
        if (k == i)
            return &sparse_net_rows[k].base;
    return NULL;
}

static struct sparse_net_problem problem_of(const struct instance *in)
{
    return (struct sparse_net_problem){ &in->net, &in->maps, &in->host_maps };
}

static struct sparse_net_args args_of(const struct instance *in)
{
    return (struct sparse_net_args){ in->on[0], in->on[1], in->on[2], in->on[3], in->on[4] };
}

static long out_rows(const struct instance *in)
{
    return in->host_maps.n[in->net.tensor[in->net.output].level];
}

static long out_columns(const struct instance *in)
{
    return in->net.tensor[in->net.output].channels;
}

/* Bytes of coordinates, x, w, b and y. */
static void sizes_of(const struct instance *in, size_t bytes[5])
{
    bytes[0] = (size_t)in->v.n * sizeof *in->v.coord;
    bytes[1] = 2 * (size_t)in->v.n * (size_t)in->v.channels;
    bytes[2] = 2 * in->net.weights;
    bytes[3] = sizeof(float) * in->net.biases;
    bytes[4] = 2 * (size_t)(out_rows(in) * out_columns(in));
}

/* ---- a case ---- */

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    for (int i = 0; i < 5; i++)
        cb_free(in->device, in->on[i]);
    cb_free(in->device, in->want);
    cb_free(in->device, in->bound);
    cb_free(in->device, in->loose);
    kmap_host_net_free(&in->host_maps);
    voxels_free(&in->v);
    free(in->x);
    free(in->w);
    free(in->b);
    free(in);
}

static int make_maps(struct instance *in)
{
    const struct voxels *v = &in->v;
    const bool detection = in->q.network == SPARSE_NET_CENTERPOINT;
    enum op_status s =
        detection ? kmap_plan_centerpoint(v->size, v->batch, v->n, &in->maps)
                  : kmap_plan_minkunet(v->size, v->batch, v->n, v->sorted, true, &in->maps);
    if (!s)
        s = kmap_host_net(&in->maps, v->coord, &in->host_maps);
    for (int i = 0; !s && i < in->maps.steps; i++)
        s = kmap_host_pairs(&in->host_maps.map[i]);
    for (int l = 0; !s && l < in->maps.levels; l++)
        in->maps.cap[l] = in->host_maps.n[l];
    if (!s)
        s = sparse_net_of((enum sparse_net_kind)in->q.network, &in->maps, v->channels, &in->net);
    return op_result(s, "sparse_net", in->q.scan);
}

/* Uniform weights of a width between two: that which keeps the variance of an average row through
 * a ReLU, with which rows that have all neighbours grow layer by layer until half overflows, and
 * that which keeps it for those rows, with which lonely ones fade.  Half of it where the sum with
 * a residual follows. */
static void make_weights(struct instance *in, const struct sparse_layer *l, long pairs, int rows)
{
    const double fan = sqrt((double)pairs / rows * l->taps) * l->channels;
    const float width = (float)(sqrt(6 / fan) * (l->last ? .5 : 1));
    const size_t count = (size_t)l->taps * (size_t)l->channels * (size_t)l->columns;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++)
        in->w[l->w + i] = half_from_float(
            width * cb_random_at(CB_UNIFORM, in->seed, TENSOR_W, 0, l->w + i));
    for (int c = 0; c < l->columns; c++)
        in->b[l->b + (size_t)c] =
            .1f * cb_random_at(CB_UNIFORM, in->seed, TENSOR_B, 0, l->b + (size_t)c);
}

static int make_operands(struct instance *in)
{
    const size_t features = (size_t)in->v.n * (size_t)in->v.channels;
    in->x = malloc(features * sizeof *in->x);
    in->w = calloc(in->net.weights, sizeof *in->w);
    in->b = calloc(in->net.biases, sizeof *in->b);
    if (!in->x || !in->w || !in->b)
        return cb_error("no memory for %zu weights", in->net.weights);
    for (size_t i = 0; i < features; i++)
        in->x[i] = half_from_float(cb_random_at(CB_UNIFORM, in->seed, TENSOR_X, 0, i));
    for (int i = 0; i < in->net.layers; i++) {
        const struct sparse_layer *l = &in->net.layer[i];
        make_weights(in, l, sparse_net_pairs(&in->net, &in->host_maps, i),
                     in->host_maps.n[in->net.tensor[l->to].level]);
    }
    return 0;
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    char why[256];
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    in->q = *(const struct sparse_net_params *)given;
    in->device = c->device;
    in->seed = c->seed;
    int status =
        scan_available(in->q.scan, why, sizeof why) ? 0 : cb_error("not available: %s", why);
    if (!status)
        status = scan_voxels(in->q.scan,
                             in->q.network == SPARSE_NET_CENTERPOINT ? SCAN_DETECTION
                                                                     : SCAN_SEGMENTATION,
                             c->seed, &in->v);
    if (!status && in->q.voxels && in->q.voxels < in->v.n)
        in->v.n = in->q.voxels;
    if (!status)
        status = cb_sha256(in->v.coord, (size_t)in->v.n * sizeof *in->v.coord, in->sha256);
    if (status || make_maps(in) || make_operands(in)) {
        close_instance(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    out[0] = (struct cb_input){ .name = "coordinates", .dtype = "i32", .shape = { in->v.n, 4 } };
    scan_origin(in->q.scan, in->seed, out[0].source, out[0].gen);
    memcpy(out[0].sha256, in->sha256, sizeof out[0].sha256);
    out[1] = (struct cb_input){ .name = "X", .dtype = "f16", .gen = "uniform [-1, 1)",
                                .source = "generated", .shape = { in->v.n, in->v.channels },
                                .tensor_id = TENSOR_X };
    out[2] = (struct cb_input){ .name = "W", .dtype = "f16", .gen = "uniform, by fan-in",
                                .source = "generated", .shape = { (long)in->net.weights },
                                .tensor_id = TENSOR_W };
    return 3;
}

static void figure(struct cb_figure *f, const char *name, const char *unit, double value)
{
    *f = (struct cb_figure){ .value = value, .low = value, .high = value };
    snprintf(f->name, sizeof f->name, "%s", name);
    snprintf(f->unit, sizeof f->unit, "%s", unit);
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct instance *in = instance;
    char name[32];
    int n = 0;
    for (int l = 0; l < in->maps.levels; l++) {
        snprintf(name, sizeof name, "voxels_%d", l);
        figure(&out[n++], name, "", in->host_maps.n[l]);
    }
    figure(&out[n++], "layers", "", in->net.layers);
    figure(&out[n++], "operations", "flop", sparse_net_flops(&in->net, &in->host_maps));
    return n;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct sparse_net_impl *impl = (const struct sparse_net_impl *)i;
    const struct sparse_net_problem p = problem_of(instance);
    *why = NULL;
    return impl->supports(impl, &p, why);
}

/* Rows of every layer written and read, and maps written and read. */
static double bytes_between(const struct instance *in)
{
    double bytes = 0;
    for (int i = 0; i < in->net.layers; i++) {
        const struct sparse_layer *l = &in->net.layer[i];
        bytes += 2.0 * l->channels * in->host_maps.n[in->net.tensor[l->from].level] +
                 2.0 * l->columns * in->host_maps.n[in->net.tensor[l->to].level] *
                     (l->residual < 0 ? 1 : 2);
    }
    for (int i = 0; i < in->maps.steps; i++)
        bytes += 8.0 * kmap_step_rows(&in->maps, i) * kmap_taps(&in->maps.step[i].shape);
    return bytes;
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct instance *in = instance;
    size_t bytes[5];
    struct cb_work w = { .flops = sparse_net_flops(&in->net, &in->host_maps),
                         .peak = "tensor_fp16", .accumulate = CB_F32 };
    (void)i;
    sizes_of(in, bytes);
    for (int k = 0; k < 5; k++)
        w.bytes_min += (double)bytes[k];
    w.weight_bytes = (double)(bytes[2] + bytes[3]);
    w.bytes_model = w.bytes_min + bytes_between(in);
    w.tensor_ops = w.flops;
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    size_t bytes[5];
    sizes_of(instance, bytes);
    *weights = (double)(bytes[2] + bytes[3]);
    *ins = (double)(bytes[0] + bytes[1]);
    *outs = (double)bytes[4];
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    const void *const from[4] = { in->v.coord, in->x, in->w, in->b };
    size_t bytes[5];
    sizes_of(in, bytes);
    if (weight_sets > 1 || input_sets > 1)
        return cb_error("unsupported: a network has one set of operands, measure it hot");
    for (int i = 0; i < 5; i++)
        if (cb_alloc(in->device, bytes[i], &in->on[i]) ||
            (i < 4 && cb_upload(in->device, in->on[i], from[i], bytes[i])))
            return -1;
    return cb_sync(c->device);
}

/* ---- one row ---- */

static void unbind(void *bound)
{
    struct bound *b = bound;
    if (!b)
        return;
    op_states_close(&b->states);
    free(b);
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    struct bound *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b)
        return cb_error("no memory to bind %s", i->name);
    b->in = instance;
    b->impl = (const struct sparse_net_impl *)i;
    int status = op_states_open(&b->states, c->device, 1, b->impl->teardown);
    if (!status && b->impl->setup) {
        const struct op_memory memory = op_pool_memory(&b->states.pool);
        const struct sparse_net_problem p = problem_of(b->in);
        const struct sparse_net_args a = args_of(b->in);
        status = op_result(b->impl->setup(b->impl, &p, &a, &memory, cb_device_stream(c->device),
                                          &b->states.state[0]),
                           i->name, "set-up");
    }
    if (status) {
        unbind(b);
        return -1;
    }
    *out = b;
    return 0;
}

/* y of the definition in double on the host; the caller frees.  NULL after cb_error. */
static double *reference(const struct instance *in)
{
    const struct sparse_net_problem p = problem_of(in);
    const struct sparse_net_args a = { NULL, in->x, in->w, in->b, NULL };
    const size_t count = (size_t)(out_rows(in) * out_columns(in));
    double *y = malloc(count * sizeof *y);
    if (!y)
        cb_error("no memory for %zu results", count);
    if (y && op_result(sparse_net_ref(&p, &a, y), "ref_net", "call")) {
        free(y);
        y = NULL;
    }
    return y;
}

/* The row ref_net: the definition, rounded. */
static int run_reference(struct instance *in)
{
    double *y = reference(in);
    for (long i = 0; y && i < out_rows(in) * out_columns(in); i++)
        ((half_bits *)in->on[4])[i] = half_from_float((float)y[i]);
    free(y);
    return y ? 0 : -1;
}

static int run_parts(const struct bound *b, int parts)
{
    const struct sparse_net_problem p = problem_of(b->in);
    const struct sparse_net_args a = args_of(b->in);
    const enum op_status status = b->impl->run(&p, &a, b->states.state[0], parts,
                                               cb_device_stream(b->in->device));
    return status == OP_OK ? 0 : op_result(status, b->impl->base.name, "launch");
}

static int run(void *bound, int weights, int ins)
{
    const struct bound *b = bound;
    (void)weights, (void)ins;
    return b->impl->run ? run_parts(b, SPARSE_NET_ALL) : run_reference(b->in);
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct instance *in = ((struct bound *)bound)->in;
    size_t bytes[5];
    (void)weights, (void)ins, (void)max;
    sizes_of(in, bytes);
    out[0] = (struct cb_region){ in->on[4], bytes[4] };
    return 1;
}

/* ---- correctness ---- */

/* Errors of layers add up to noise of the size of a row: bounds follow the mean square of the row
 * and that of all rows. */
static void make_bounds(const double *want, long rows, long columns, double limit, float *bound)
{
    double all = 0;
    for (long i = 0; i < rows * columns; i++)
        all += want[i] * want[i];
    all = sqrt(all / (double)(rows * columns));
    for (long i = 0; i < rows; i++) {
        double own = 0;
        for (long c = 0; c < columns; c++)
            own += want[i * columns + c] * want[i * columns + c];
        own = sqrt(own / (double)columns);
        for (long c = 0; c < columns; c++)
            bound[i * columns + c] = (float)(8 * limit * (own + all));
    }
}

static int send(struct cb_device *d, const void *from, size_t bytes, void **to)
{
    return cb_alloc(d, bytes, to) || cb_upload(d, *to, from, bytes) || cb_sync(d) ? -1 : 0;
}

/* There is one set, so its reference is computed once a case. */
static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    const long rows = out_rows(in), columns = out_columns(in);
    const size_t count = (size_t)(rows * columns);
    (void)weights, (void)ins;
    if (in->want)
        return 0;
    double *want = reference(in);
    float *bound = malloc(count * sizeof *bound);
    int status = want && bound ? 0 : -1;
    if (want && !bound)
        cb_error("no memory for %zu bounds", count);
    if (!status) {
        make_bounds(want, rows, columns, LIMIT, bound);
        status = send(c->device, want, count * sizeof *want, (void **)&in->want) ||
                 send(c->device, bound, count * sizeof *bound, (void **)&in->bound);
    }
    if (!status) {
        make_bounds(want, rows, columns, LIMIT_HALF, bound);
        status = send(c->device, bound, count * sizeof *bound, (void **)&in->loose);
    }
    free(want);
    free(bound);
    return status ? -1 : 0;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct bound *b = bound;
    const struct instance *in = b->in;
    const struct cb_view got = { in->on[4], CB_F16, out_rows(in), out_columns(in), false };
    (void)weights, (void)ins, (void)r2;
    *limit = b->impl->half_sums ? LIMIT_HALF : LIMIT;
    return cb_compare(c->device, &got, in->want, b->impl->half_sums ? in->loose : in->bound, r1);
}

/* ---- parts of the time ---- */

struct part {
    const struct bound *b;
    int parts;
};

static int enqueue_part(void *arg, int step)
{
    const struct part *p = arg;
    (void)step;
    return run_parts(p->b, p->parts);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of a few windows; as a graph where the row can be one. */
static int time_part(const struct bound *b, int parts, double *us)
{
    struct cb_device *d = b->in->device;
    struct part p = { b, parts };
    struct cb_graph *graph = NULL;
    struct cb_window w;
    double times[WINDOWS];
    int status = run_parts(b, parts) || cb_sync(d) ? -1 : 0;
    if (!status && !(b->impl->base.flags & OP_NO_CAPTURE))
        status = cb_graph_make(d, enqueue_part, &p, 1, &graph);
    for (int i = 0; !status && i < WINDOWS; i++) {
        status = graph ? cb_graph_window(d, graph, false, &w)
                       : cb_window(d, enqueue_part, &p, i, 1, false, &w);
        times[i] = w.us;
    }
    cb_graph_free(d, graph);
    if (status)
        return -1;
    qsort(times, WINDOWS, sizeof *times, by_value);
    *us = times[WINDOWS / 2];
    return 0;
}

/* Maps, orders and layers alone; what a whole run takes beyond them is copies of rows. */
static int figures(void *bound, struct cb_figure *out)
{
    static const struct {
        const char *name;
        int part;
    } list[] = { { "maps", SPARSE_NET_MAPS },
                 { "orders", SPARSE_NET_ORDERS },
                 { "convolutions", SPARSE_NET_LAYERS },
                 { "whole", SPARSE_NET_ALL } };
    const struct bound *b = bound;
    double us[4];
    if (!b->impl->run)
        return 0;
    for (int i = 0; i < 4; i++)
        if (time_part(b, list[i].part, &us[i]))
            return 0;
    for (int i = 0; i < 3; i++)
        figure(&out[i], list[i].name, "us", us[i]);
    figure(&out[3], "rest", "us", us[3] - us[0] - us[1] - us[2]);
    return 4;
}

const struct cb_op op_sparse_net = {
    .name = "sparse_net", .title = "network of sparse convolutions",
    .params = params, .params_size = sizeof(struct sparse_net_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check, .figures = figures,
    .unbind = unbind, .close = close_instance,
};
