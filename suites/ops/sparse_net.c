/*
 * sparse_net.c - a whole network of sparse convolutions on a scan, bound to the harness.
 *
 * A run starts from coordinates: all maps, what the layers read of them, all layers.  Weights are
 * random and of a size that keeps rows between the layers near 1; features are random too.
 * Memory has room for the rows of its scan.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../data/scan.h"
#include "ops.h"
#include "sparse_net_case.h"

/* Of the Frobenius error; where more is rounded to half than what layers store, the larger. */
static const double LIMIT = 3e-3, LIMIT_HALF = 2e-2;

const char *const sparse_net_networks[] = { "minkunet_1x", "minkunet_0.5x", "centerpoint", NULL };
const char *const sparse_net_precisions[] = { "f16", NULL };
const char *const sparse_net_passes[] = { "infer", "train", NULL };
#define AT(member) offsetof(struct sparse_net_params, member)
static const struct cb_param params[] = {
    { "scan", CB_PATH, AT(scan), 0, 0, 0, NULL, true,
      "a generated scan, a known file, or FORMAT:PATH (suites/data/scan.h)" },
    { "network", CB_CHOICE, AT(network), SPARSE_NET_MINKUNET_1X, 0, 0, sparse_net_networks, false,
      "centerpoint: its 3D encoder, on voxels of detection" },
    { "precision", CB_CHOICE, AT(precision), 0, 0, 0, sparse_net_precisions, false,
      "half rows and weights, float sums" },
    { "pass", CB_CHOICE, AT(pass), 0, 0, 0, sparse_net_passes, false,
      "inference, norms folded; training: forward and the gradients of all weights" },
    { "batch", CB_INT, AT(batch), 1, 1, 8, NULL, false, "scans" },
    { "voxels", CB_INT, AT(voxels), 0, 0, 1 << 26, NULL, false,
      "only the first so many of a scan; 0: all" },
    { "samples", CB_INT, AT(samples), 20, 1, 1000, NULL, false, "runs of a trial of a tuner" },
    { 0 },
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { sparse_net_rows };
    return op_row_at(table, 1, sizeof(struct sparse_net_impl), i);
}

/* ---- a case ---- */

static void close_instance(void *instance)
{
    net_case_close(instance);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    struct net_case *in;
    const int status = net_case_open(c, given, &in);
    *out = in;
    return status;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct net_case *in = instance;
    const struct net_scene *s = &in->scene[0];
    out[0] = (struct cb_input){ .name = "coordinates", .dtype = "i32", .shape = { s->v.n, 4 } };
    scan_origin(in->q.scan, in->seed, out[0].source, out[0].gen);
    memcpy(out[0].sha256, in->sha256, sizeof out[0].sha256);
    out[1] = (struct cb_input){ .name = "X", .dtype = "f16", .gen = "uniform [-1, 1)",
                                .source = "generated", .shape = { s->v.n, s->v.channels },
                                .tensor_id = NET_TENSOR_X };
    out[2] = (struct cb_input){ .name = "W", .dtype = "f16", .gen = "uniform, by fan-in",
                                .source = "generated", .shape = { (long)s->net.weights },
                                .tensor_id = NET_TENSOR_W };
    if (s->train)
        out[3] = (struct cb_input){ .name = "G", .dtype = "f16", .gen = "uniform [-.1, .1)",
                                    .source = "generated",
                                    .shape = { net_out_rows(s), net_out_columns(s) },
                                    .tensor_id = NET_TENSOR_G };
    return s->train ? 4 : 3;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct net_scene *s = &((struct net_case *)instance)->scene[0];
    char name[32];
    int n = 0;
    for (int l = 0; l < s->maps.levels; l++) {
        snprintf(name, sizeof name, "voxels_%d", l);
        op_figure(&out[n++], name, "", s->host_maps.n[l]);
    }
    op_figure(&out[n++], "layers", "", s->net.layers);
    op_figure(&out[n++], "operations", "flop", sparse_net_flops(&s->net, &s->host_maps));
    return n;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct sparse_net_impl *impl = (const struct sparse_net_impl *)i;
    const struct sparse_net_problem p = net_problem_of(&((struct net_case *)instance)->scene[0]);
    *why = NULL;
    return impl->supports(impl, &p, why);
}

/* Rows of every layer written and read, and maps written and read. */
static double bytes_between(const struct net_scene *s)
{
    double bytes = 0;
    for (int i = 0; i < s->net.layers; i++) {
        const struct sparse_layer *l = &s->net.layer[i];
        bytes += 2.0 * l->channels * s->host_maps.n[s->net.tensor[l->from].level] +
                 2.0 * l->columns * s->host_maps.n[s->net.tensor[l->to].level] *
                     (l->residual < 0 ? 1 : 2);
    }
    for (int i = 0; i < s->maps.steps; i++)
        bytes += 8.0 * kmap_step_rows(&s->maps, i) * kmap_taps(&s->maps.step[i].shape);
    return bytes;
}

static void operand_bytes(const struct net_scene *s, double *weights, double *ins, double *outs)
{
    *weights = 2.0 * (double)s->net.weights + 4.0 * (double)s->net.biases;
    *ins = (double)s->v.n * ((double)sizeof *s->v.coord + 2.0 * s->v.channels);
    *outs = (double)net_out_bytes(s) + (s->train ? 4.0 * (double)s->net.weights : 0);
}

/* What a row has for every scan at least: maps, and memory that rows of layers share. */
static double own_bytes(const struct net_scene *s)
{
    double bytes = 0;
    for (int i = 0; i < s->net.slots; i++)
        bytes += (double)sparse_net_slot_bytes(&s->net, s->maps.cap, i);
    for (int i = 0; i < s->maps.steps; i++)
        bytes += 4.0 * kmap_step_rows(&s->maps, i) * kmap_taps(&s->maps.step[i].shape);
    return bytes;
}

/* Training keeps the rows of all layers: an execution writes and reads them beside its operands.
 * Where scans rotate each has memory of its own for what comes between, which leaves the L2 as its
 * operands do. */
static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct net_case *in = instance;
    const struct net_scene *s = &in->scene[0];
    operand_bytes(s, weights, ins, outs);
    *outs += s->train ? 3 * bytes_between(s) : in->rotates ? own_bytes(s) : 0;
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct net_scene *s = &((struct net_case *)instance)->scene[0];
    struct cb_work w = { .flops = (s->train ? 3 : 1) * sparse_net_flops(&s->net, &s->host_maps),
                         .peak = "tensor_fp16", .accumulate = CB_F32 };
    double ins, outs;
    (void)i;
    operand_bytes(s, &w.weight_bytes, &ins, &outs);
    w.bytes_min = w.weight_bytes + ins + outs;
    w.bytes_model = w.bytes_min + (s->train ? 3 : 1) * bytes_between(s);
    w.tensor_ops = w.flops;
    return w;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    (void)c;
    return net_case_prepare(instance, weight_sets, input_sets);
}

/* ---- one row ---- */

void net_unbind(void *bound)
{
    struct net_bound *b = bound;
    if (!b)
        return;
    op_states_close(&b->states);
    free(b);
}

static int open_states(struct cb_context *c, struct net_bound *b)
{
    const struct net_case *in = b->in;
    const int sets = in->scenes > in->weight_sets ? in->scenes : in->weight_sets;
    if (op_states_open(&b->states, c->device, sets, b->impl->teardown))
        return -1;
    for (int s = 0; b->impl->setup && s < sets; s++) {
        const struct op_memory memory = op_pool_memory(&b->states.pool);
        const struct sparse_net_problem p = net_problem_of(&in->scene[s % in->scenes]);
        const struct sparse_net_args a = net_args_of(in, s % in->weight_sets, s % in->scenes);
        if (op_result(b->impl->setup(b->impl, &p, &a, &memory, cb_device_stream(c->device),
                                     &b->states.state[s]),
                      b->impl->base.name, "set-up"))
            return -1;
    }
    return 0;
}

int net_bind(struct cb_context *c, struct net_case *in, const struct sparse_net_impl *impl,
             struct net_bound **out)
{
    struct net_bound *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b)
        return cb_error("no memory to bind %s", impl->base.name);
    b->in = in;
    b->impl = impl;
    if (open_states(c, b)) {
        net_unbind(b);
        return -1;
    }
    *out = b;
    return 0;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    struct net_bound *b;
    *out = NULL;
    if (net_bind(c, instance, (const struct sparse_net_impl *)i, &b))
        return -1;
    if (i->flags & OP_CHOOSES && net_tune(b)) {
        net_unbind(b);
        return -1;
    }
    *out = b;
    return 0;
}

static const char *choice(void *bound)
{
    const struct net_bound *b = bound;
    return b->choice[0] ? b->choice : NULL;
}

/* y of the definition in double on the host; the caller frees.  NULL after cb_error. */
static double *reference(const struct net_case *in, int ins)
{
    const struct net_scene *s = &in->scene[ins];
    const struct sparse_net_problem p = net_problem_of(s);
    const struct sparse_net_args a = { .x = s->x, .w = in->w, .b = in->b };
    const size_t count = (size_t)(net_out_rows(s) * net_out_columns(s));
    double *y = malloc(count * sizeof *y);
    if (!y)
        cb_error("no memory for %zu results", count);
    if (y && op_result(sparse_net_ref_keep(&p, &a, y, s->train ? in->act : NULL), "ref_net",
                       "call")) {
        free(y);
        y = NULL;
    }
    return y;
}

/* The same of the GPU where it runs there: into in->want, and a copy of it. */
static double *expected(struct net_case *in, int ins)
{
    const struct net_scene *s = &in->scene[ins];
    const size_t bytes = (size_t)(net_out_rows(s) * net_out_columns(s)) * sizeof *in->want;
    double *y = NULL;
    cb_free(in->device, in->want);
    in->want = NULL;
    if (cb_alloc(in->device, bytes, (void **)&in->want))
        return NULL;
#ifdef WITH_CUDA
    if (cb_device_info(in->device)->sm) {
        const struct sparse_net_problem p = net_problem_of(s);
        const struct sparse_net_args a = net_args_of(in, 0, ins);
        struct op_pool pool = { .device = in->device };
        const struct op_memory memory = op_pool_memory(&pool);
        y = malloc(bytes);
        const int failed =
            (!y && cb_error("no memory for %zu bytes", bytes)) ||
            op_result(sparse_net_ref_cuda(&p, &a, &memory, in->want, cb_device_stream(in->device)),
                      "reference", "call") ||
            cb_download(in->device, y, in->want, bytes);
        op_pool_free(&pool);
        if (failed) {
            free(y);
            y = NULL;
        }
        return y;
    }
#endif
    y = s->train && net_act_open(in, ins) ? NULL : reference(in, ins);
    if (y && (cb_upload(in->device, in->want, y, bytes) || cb_sync(in->device))) {
        free(y);
        y = NULL;
    }
    return y;
}

/* The row ref_net: the definition, rounded. */
static int run_reference(struct net_case *in, int ins)
{
    const struct net_scene *s = &in->scene[ins];
    if (s->train)
        return net_gradients_run(in, ins);
    double *y = reference(in, ins);
    for (long i = 0; y && i < net_out_rows(s) * net_out_columns(s); i++)
        ((half_bits *)s->y_on)[i] = half_from_float((float)y[i]);
    free(y);
    return y ? 0 : -1;
}

int net_run_parts(const struct net_bound *b, int weights, int ins, int parts)
{
    const struct sparse_net_problem p = net_problem_of(&b->in->scene[ins]);
    const struct sparse_net_args a = net_args_of(b->in, weights, ins);
    const enum op_status status =
        b->impl->run(&p, &a, b->states.state[weights > ins ? weights : ins], parts,
                     cb_device_stream(b->in->device));
    return status == OP_OK ? 0 : op_result(status, b->impl->base.name, "launch");
}

static int run(void *bound, int weights, int ins)
{
    const struct net_bound *b = bound;
    return b->impl->run ? net_run_parts(b, weights, ins, SPARSE_NET_ALL)
                        : run_reference(b->in, ins);
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct net_scene *s = &((struct net_bound *)bound)->in->scene[ins];
    (void)weights;
    out[0] = (struct cb_region){ s->y_on, net_out_bytes(s) };
    return s->train ? 1 + net_gradients_regions(((struct net_bound *)bound)->in, ins, out + 1,
                                                max - 1)
                    : 1;
}

/* ---- correctness ---- */

/* Errors of layers add up to noise of the size of a row: bounds follow the mean square of the row
 * and that of all rows. */
static void make_bounds(const double *want, long rows, long columns, double limit, float *bound)
{
    double all = 0;
#pragma omp parallel for schedule(static) reduction(+ : all)
    for (long i = 0; i < rows * columns; i++)
        all += want[i] * want[i];
    all = sqrt(all / (double)(rows * columns));
#pragma omp parallel for schedule(static)
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
    cb_free(d, *to);
    *to = NULL;
    return cb_alloc(d, bytes, to) || cb_upload(d, *to, from, bytes) || cb_sync(d) ? -1 : 0;
}

/* Kept until that of another set is asked for. */
static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct net_case *in = instance;
    const long rows = net_out_rows(&in->scene[ins]), columns = net_out_columns(&in->scene[ins]);
    const size_t count = (size_t)(rows * columns);
    (void)weights;
    if (in->want_of == ins)
        return 0;
    in->want_of = -1;
    double *want = expected(in, ins);
    float *bound = malloc(count * sizeof *bound);
    int status = want && bound ? 0 : -1;
    if (want && !bound)
        cb_error("no memory for %zu bounds", count);
    if (!status) {
        make_bounds(want, rows, columns, LIMIT, bound);
        status = send(c->device, bound, count * sizeof *bound, (void **)&in->bound);
    }
    if (!status) {
        make_bounds(want, rows, columns, LIMIT_HALF, bound);
        status = send(c->device, bound, count * sizeof *bound, (void **)&in->loose);
    }
    in->want_of = status ? -1 : ins;
    free(want);
    free(bound);
    return status ? -1 : 0;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct net_bound *b = bound;
    const struct net_case *in = b->in;
    const struct net_scene *s = &in->scene[ins];
    const struct cb_view got = { s->y_on, CB_F16, net_out_rows(s), net_out_columns(s), false };
    (void)r2;
    *limit = b->impl->half_sums ? LIMIT_HALF : LIMIT;
    if (cb_compare(c->device, &got, in->want, b->impl->half_sums ? in->loose : in->bound, r1))
        return -1;
    if (!s->train || r1->bad || !(r1->rel_fro <= *limit))
        return 0;
    *r1 = (struct cb_accuracy){ .worst = -1 };
    return net_gradients_check(b, weights, ins, *limit, r1);
}

static int figures(void *bound, struct cb_figure *out)
{
    return net_time_figures(bound, out);
}

const struct cb_op op_sparse_net = {
    .name = "sparse_net", .title = "network of sparse convolutions",
    .params = params, .params_size = sizeof(struct sparse_net_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check, .choice = choice,
    .figures = figures, .unbind = net_unbind, .close = close_instance,
};
