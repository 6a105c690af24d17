/*
 * spconv.c - one layer of sparse convolution on a scan, bound to the harness.
 *
 * A set of weights has a copy of the map too: it is read as they are.  All implementations of
 * a case write the same y.
 */
#include "../../kernels/spconv/spconv.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../data/scan.h"
#include "bind.h"
#include "ops.h"
#include "spconv_map.h"

enum { TENSOR_X = 1, TENSOR_W = 2, TENSOR_G = 3 };

static const char *const networks[] = { "minkunet_1x", "minkunet_0.5x", "centerpoint", NULL };
static const char *const layers[] = { "same", "down", "up", NULL };
static const char *const precisions[] = { "f16", "tf32", "f32", NULL };
static const char *const passes[] = { "forward", "dgrad", "wgrad", NULL };
#define AT(member) offsetof(struct spconv_params, member)
static const struct cb_param params[] = {
    { "scan", CB_PATH, AT(scan), 0, 0, 0, NULL, true,
      "a generated frame (semantickitti_1f), a file by name, or kitti:PATH nuscenes:PATH ..." },
    { "network", CB_CHOICE, AT(network), SPCONV_MINKUNET_1X, 0, 0, networks, false,
      "whose voxels and levels" },
    { "layer", CB_CHOICE, AT(layer), SPCONV_SAME, 0, 0, layers, false,
      "kernel 3 on a level, its strided map to the next level, or the transpose of that" },
    { "stride", CB_INT, AT(stride), 1, 1, 16, NULL, false, "of the finer level: 1 2 4 8 16" },
    { "batch", CB_INT, AT(batch), 1, 1, 8, NULL, false, "scans" },
    { "cin", CB_INT, AT(cin), 0, 1, 1024, NULL, true, "channels of the input" },
    { "cout", CB_INT, AT(cout), 0, 1, 1024, NULL, true, "channels of the output" },
    { "precision", CB_CHOICE, AT(precision), SPCONV_F16, 0, 0, precisions, false,
      "of operands and results; half ones are summed in float" },
    { "pass", CB_CHOICE, AT(pass), SPCONV_FORWARD, 0, 0, passes, false,
      "the layer, or the gradient of its input or of its weights" },
    { 0 },
};

/* ---- a case ---- */

enum { BY_OUT, BY_IN, START, PAIR_IN, PAIR_OUT, PARTS };

struct instance {
    struct spconv_params q;
    struct spconv_problem p;
    struct cb_device *device;
    enum cb_dtype dtype;
    bool exact;
    uint64_t seed;
    struct spconv_layer_map map;
    struct op_sets part[PARTS], w; /* per weight set */
    struct op_sets x, g, y;        /* per input set */
    double *want;                  /* [rows][columns] on the device */
    float *bound, *loose;
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { spconv_references, spconv_kernels, spconv_baselines };
    return op_row_at(table, 3, sizeof(struct spconv_impl), i);
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    for (int i = 0; i < PARTS; i++)
        op_sets_close(in->device, &in->part[i]);
    op_sets_close(in->device, &in->w);
    op_sets_close(in->device, &in->x);
    op_sets_close(in->device, &in->g);
    op_sets_close(in->device, &in->y);
    cb_free(in->device, in->want);
    cb_free(in->device, in->bound);
    cb_free(in->device, in->loose);
    spconv_map_close(&in->map);
    free(in);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct spconv_params *q = given;
    struct instance *in;
    *out = NULL;
    in = calloc(1, sizeof *in);
    if (!in)
        return cb_error("no memory for a problem");
    in->q = *q;
    in->device = c->device;
    in->dtype = q->precision == SPCONV_F16 ? CB_F16 : CB_F32;
    in->exact = c->exact;
    in->seed = c->seed;
    if (spconv_map_open(q, c->seed, &in->map)) {
        close_instance(in);
        return -1;
    }
    const struct kmap *m = in->map.forward;
    in->p = (struct spconv_problem){ m->n_in, m->n_out, q->cin, q->cout, m->taps, m->pairs_total,
                                     q->layer == SPCONV_SAME, (enum spconv_pass)q->pass,
                                     (enum spconv_dtype)q->precision };
    *out = in;
    return 0;
}

static size_t element(const struct instance *in)
{
    return (size_t)cb_dtype_bytes(in->dtype);
}

static bool reads_x(const struct instance *in) { return in->p.pass != SPCONV_DGRAD; }
static bool reads_g(const struct instance *in) { return in->p.pass != SPCONV_FORWARD; }
static bool reads_w(const struct instance *in) { return in->p.pass != SPCONV_WGRAD; }

static int inputs(void *instance, struct cb_input *out)
{
    const struct instance *in = instance;
    const struct spconv_problem *p = &in->p;
    int n = 0;
    out[n] = (struct cb_input){ .name = "map", .dtype = "i32",
                                .shape = { p->in, p->out, p->taps, p->pairs } };
    scan_origin(in->q.scan, in->seed, out[n].source, out[n].gen);
    n++;
    if (reads_x(in))
        out[n++] = (struct cb_input){ .name = "X", .shape = { p->in, p->cin },
                                      .tensor_id = TENSOR_X };
    if (reads_w(in))
        out[n++] = (struct cb_input){ .name = "W", .shape = { p->taps, p->cin, p->cout },
                                      .tensor_id = TENSOR_W };
    if (reads_g(in))
        out[n++] = (struct cb_input){ .name = "G", .shape = { p->out, p->cout },
                                      .tensor_id = TENSOR_G };
    for (int i = 1; i < n; i++) {
        snprintf(out[i].dtype, sizeof out[i].dtype, "%s", precisions[p->dtype]);
        snprintf(out[i].gen, sizeof out[i].gen, "uniform [-1, 1)");
        snprintf(out[i].source, sizeof out[i].source, "generated");
    }
    return n;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct spconv_problem *p = &((struct instance *)instance)->p;
    op_figure(&out[0], "points_in", "", p->in);
    op_figure(&out[1], "points_out", "", p->out);
    op_figure(&out[2], "pairs", "", (double)p->pairs);
    op_figure(&out[3], "pairs_per_output", "", (double)p->pairs / p->out);
    return 4;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const struct spconv_impl *impl = (const struct spconv_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    return impl->supports(&in->p, why);
}

static double map_bytes(const struct instance *in)
{
    return 8.0 * (double)in->p.pairs;
}

static double weight_bytes(const struct instance *in)
{
    const struct spconv_problem *p = &in->p;
    return map_bytes(in) +
           (reads_w(in) ? (double)element(in) * p->taps * p->cin * p->cout : 0);
}

static double input_bytes(const struct instance *in)
{
    const struct spconv_problem *p = &in->p;
    return (double)element(in) * ((reads_x(in) ? (double)p->in * p->cin : 0) +
                                  (reads_g(in) ? (double)p->out * p->cout : 0));
}

static double output_bytes(const struct instance *in)
{
    const struct spconv_size size = spconv_result(&in->p);
    return (double)size.rows * (double)size.columns *
           (in->p.pass == SPCONV_WGRAD ? 4.0 : (double)element(in));
}

/* Of the definition: what is executed depends on the order of rows, see figures. */
static struct cb_work work(void *instance, const struct op_impl *i)
{
    static const char *const peaks[] = { "tensor_fp16", "tensor_tf32", "fp32_fma" };
    const struct instance *in = instance;
    const struct spconv_problem *p = &in->p;
    struct cb_work w = { .flops = 2.0 * (double)p->pairs * p->cin * p->cout,
                         .weight_bytes = weight_bytes(in),
                         .peak = peaks[p->dtype],
                         .accumulate = CB_F32 };
    (void)i;
    w.bytes_min = w.weight_bytes + input_bytes(in) + output_bytes(in);
    w.bytes_model = w.bytes_min;
    if (p->dtype == SPCONV_F32)
        w.core_ops = w.flops;
    else
        w.tensor_ops = w.flops;
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    *weights = weight_bytes(in);
    *ins = input_bytes(in);
    *outs = output_bytes(in);
}

/* ---- operands ---- */

static int make_part(struct instance *in, enum cb_dtype t, struct op_sets *to, int set,
                     const void *from, size_t count)
{
    const size_t bytes = count * (size_t)cb_dtype_bytes(t);
    return cb_alloc(in->device, bytes + 16, &to->set[set]) ||
                   cb_upload(in->device, to->set[set], from, bytes)
               ? -1
               : 0;
}

static int make_map(struct instance *in, int set)
{
    const struct spconv_problem *p = &in->p;
    const struct spconv_map *m = &in->map.map;
    const void *const from[PARTS] = { m->by_out, m->by_in, m->start, m->pair_in, m->pair_out };
    const size_t count[PARTS] = { (size_t)p->out * p->taps, (size_t)p->in * p->taps,
                                  (size_t)p->taps + 1, (size_t)p->pairs, (size_t)p->pairs };
    for (int i = 0; i < PARTS; i++)
        if (make_part(in, CB_I32, &in->part[i], set, from[i], count[i]))
            return -1;
    return 0;
}

static int make_tensor(struct instance *in, struct op_sets *to, int set, uint32_t id, long rows,
                       long columns)
{
    const size_t bytes = (size_t)rows * (size_t)columns * element(in);
    if (cb_alloc(in->device, bytes, &to->set[set]))
        return -1;
    return cb_random(in->device, to->set[set], in->dtype, in->exact ? CB_EXACT : CB_UNIFORM,
                     in->seed, id, (uint32_t)set, rows, columns, false);
}

static int make_inputs(struct instance *in, int set)
{
    const struct spconv_problem *p = &in->p;
    if (reads_x(in) && make_tensor(in, &in->x, set, TENSOR_X, p->in, p->cin))
        return -1;
    if (reads_g(in) && make_tensor(in, &in->g, set, TENSOR_G, p->out, p->cout))
        return -1;
    return cb_alloc(in->device, (size_t)output_bytes(in), &in->y.set[set]);
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    const struct spconv_size size = spconv_result(&in->p);
    const size_t count = (size_t)(size.rows * size.columns);
    (void)c;
    for (int i = 0; i < PARTS; i++)
        if (op_sets_open(&in->part[i], weight_sets))
            return -1;
    if (op_sets_open(&in->w, weight_sets) || op_sets_open(&in->x, input_sets) ||
        op_sets_open(&in->g, input_sets) || op_sets_open(&in->y, input_sets))
        return -1;
    for (int s = 0; s < weight_sets; s++)
        if (make_map(in, s) ||
            (reads_w(in) && make_tensor(in, &in->w, s, TENSOR_W, (long)in->p.taps * in->p.cin,
                                        in->p.cout)))
            return -1;
    for (int s = 0; s < input_sets; s++)
        if (make_inputs(in, s))
            return -1;
    if (cb_alloc(in->device, count * sizeof *in->want, (void **)&in->want) ||
        cb_alloc(in->device, count * sizeof *in->bound, (void **)&in->bound) ||
        cb_alloc(in->device, count * sizeof *in->loose, (void **)&in->loose))
        return -1;
    return cb_sync(in->device);
}

static struct spconv_args args_of(const struct instance *in, int weights, int ins)
{
    const struct op_sets *part = in->part;
    return (struct spconv_args){
        { part[BY_OUT].set[weights], part[BY_IN].set[weights], part[START].set[weights],
          part[PAIR_IN].set[weights], part[PAIR_OUT].set[weights] },
        in->x.set[ins], in->w.set[weights], in->g.set[ins], in->y.set[ins]
    };
}

static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct spconv_impl *impl = b->impl;
    struct spconv_args *a = args;
    *a = args_of(in, set % in->w.count, set % in->y.count);
    return impl->setup ? impl->setup(&in->p, &in->map.map, a, memory, b->stream, state) : OP_OK;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    const struct instance *in = instance;
    return op_bind(c, instance, i, op_set_of(in->w.count, in->y.count), sizeof(struct spconv_args),
                   set_up, ((const struct spconv_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct spconv_impl *impl = b->impl;
    const struct spconv_args *args = b->args;
    const int s = op_set_of(weights, ins);
    return op_launched(b, impl->run(&in->p, &args[s], b->states.state[s], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct instance *in = ((const struct op_bound *)bound)->in;
    (void)weights, (void)max;
    out[0] = (struct cb_region){ in->y.set[ins], (size_t)output_bytes(in) };
    return 1;
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    const struct spconv_args a = args_of(in, weights, ins);
    enum op_status s;
#ifdef WITH_CUDA
    if (cb_device_info(c->device)->sm)
        s = spconv_ref_cuda(&in->p, &a, in->want, in->bound, in->loose,
                            cb_device_stream(c->device));
    else
#endif
        s = spconv_ref(&in->p, &a, in->want, in->bound, in->loose);
    return op_result(s, "reference", "launch") || cb_sync(c->device) ? -1 : 0;
}

/* Second gate: 1e-3 for half and TF32, 1e-5 for float, 5e-3 where sums pass through half, as those
 * of wgrad do nowhere. */
static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct spconv_impl *impl = b->impl;
    const struct spconv_size size = spconv_result(&in->p);
    const bool half_out = in->dtype == CB_F16 && in->p.pass != SPCONV_WGRAD;
    const bool half_sums = impl->half_sums && half_out;
    const struct cb_view got = { in->y.set[ins], half_out ? CB_F16 : CB_F32, size.rows,
                                 size.columns, false };
    (void)weights, (void)r2;
    *limit = half_sums ? 5e-3 : in->p.dtype == SPCONV_F32 ? 1e-5 : 1e-3;
    return cb_compare(c->device, &got, in->want,
                      in->exact ? NULL : half_sums ? in->loose : in->bound, r1);
}

/* executed over useful multiplications */
static int figures(void *bound, struct cb_figure *out)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct spconv_impl *impl = b->impl;
    struct spconv_counts counts = { (double)in->p.pairs, 0 };
    if (impl->counts)
        impl->counts(&in->p, b->states.state[0], &counts);
    op_figure(&out[0], "redundancy", "", counts.slots / (double)in->p.pairs);
    op_figure(&out[1], "extra_bytes", "B", counts.extra_bytes);
    return 2;
}

const struct cb_op op_spconv = {
    .name = "spconv", .title = "sparse convolution over points",
    .params = params, .params_size = sizeof(struct spconv_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check, .figures = figures,
    .unbind = op_unbind, .close = close_instance,
};
