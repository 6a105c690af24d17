/*
 * gnn.c - a step of a graph neural network, bound to the harness.
 *
 * The rows of a case share the graph, the inputs, the dense products and every
 * buffer; they differ by the row of spmm that aggregates.  A step leaves its
 * inputs as they are, so it can be repeated, and a graph holds all of it.
 */
#include "../../kernels/gnn/gnn.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "gnn_part.h"

struct gnn_params {
    char graph[CB_PATH_MAX];
    int model, hidden, features, classes, pass;
};

static const char *const model_names[] = { "gcn", "sage", "gin", NULL };
static const char *const pass_names[] = { "train", "forward", NULL };
static const struct cb_param params[] = {
    { "graph", CB_PATH, offsetof(struct gnn_params, graph), 0, 0, 0, NULL, true,
      "a square matrix, as of spmm; its values do not matter" },
    { "model", CB_CHOICE, offsetof(struct gnn_params, model), 0, 0, 0, model_names, true,
      "two layers of it" },
    { "hidden", CB_INT, offsetof(struct gnn_params, hidden), 0, 4, GNN_WIDTH_MAX, NULL, true,
      "numbers of a node between the layers, a multiple of 4" },
    { "features", CB_INT, offsetof(struct gnn_params, features), 128, 4, 1 << 20, NULL, false,
      "numbers of a node that come in, a multiple of 4" },
    { "classes", CB_INT, offsetof(struct gnn_params, classes), 16, 4, GNN_CLASSES_MAX, NULL, false,
      "scores of a node that come out, a multiple of 4" },
    { "pass", CB_CHOICE, offsetof(struct gnn_params, pass), GNN_TRAIN, 0, 0, pass_names, false,
      "a whole step of training, or scores only" },
    { 0 },
};

static const float RATE = 0.1f; /* of gradient descent */

/* The graph of the last case, and A of the last model with its transpose: many cases follow one
 * another on them. */
static struct matrix kept;
static char kept_spec[CB_PATH_MAX];
static struct adjacency kept_a, kept_t;
static int kept_model = -1;

static void drop_model(void)
{
    adjacency_free(&kept_a);
    adjacency_free(&kept_t);
    kept_model = -1;
}

static int keep(const char *spec, enum gnn_model model)
{
    char why[256];
    if (!kept.rows || strcmp(kept_spec, spec)) {
        drop_model();
        matrix_free(&kept);
        if (!matrix_available(spec, why, sizeof why))
            return cb_error("not available: %s", why);
        if (matrix_load(spec, &kept))
            return -1;
        snprintf(kept_spec, sizeof kept_spec, "%s", spec);
    }
    if (kept_model == (int)model)
        return 0;
    drop_model();
    if (adjacency_of(&kept, model, &kept_a))
        return -1;
    if (adjacency_transpose(&kept_a, &kept_t)) {
        drop_model();
        return -1;
    }
    if (adjacency_equal(&kept_a, &kept_t))
        adjacency_free(&kept_t); /* symmetric: one serves for both */
    kept_model = (int)model;
    return 0;
}

struct instance {
    struct gnn_operands o;
    struct gnn_expectation e;
    bool expected;
};

struct bound {
    struct instance *in;
    const struct gnn_impl *impl;
    struct aggregator g[AGGREGATIONS_MAX]; /* by aggregator_index */
    int order[AGGREGATIONS_MAX], count;    /* indices as a step comes to them */
    struct op_pool pool;
    bool checked; /* its aggregations, one by one */
    char choice[64];
};

static const struct op_impl *impl_at(int i)
{
    for (int k = 0; gnn_rows[k].base.name; k++)
        if (k == i)
            return &gnn_rows[k].base;
    return NULL;
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    gnn_expectation_close(&in->e);
    gnn_operands_close(&in->o);
    free(in);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct gnn_params *q = given;
    const struct gnn_problem p = { 1, q->features, q->hidden, q->classes,
                                   (enum gnn_model)q->model, (enum gnn_pass)q->pass, RATE };
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    if (op_result(gnn_net_of(&p, &in->o.net), "features, hidden, classes", "multiples of 4") ||
        keep(q->graph, p.model) || spmm_use_models(&kept)) {
        free(in);
        return -1;
    }
    in->o.net.nodes = kept_a.nodes;
    in->o.device = in->e.pool.device = c->device;
    in->o.seed = c->seed;
    in->o.a = &kept_a;
    in->o.t = kept_t.nodes ? &kept_t : &kept_a;
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct gnn_net *net = &((struct instance *)instance)->o.net;
    out[0] = (struct cb_input){ .name = "G", .dtype = "f32",
                                .shape = { kept.rows, kept.cols, kept.nnz } };
    snprintf(out[0].gen, sizeof out[0].gen, "%s", kept.gen);
    snprintf(out[0].source, sizeof out[0].source, "%s", kept.source);
    memcpy(out[0].sha256, kept.sha256, sizeof out[0].sha256);
    out[1] = (struct cb_input){ .name = "X", .dtype = "f32", .gen = "uniform [-1, 1)",
                                .source = "generated", .shape = { net->nodes, net->layer[0].in } };
    out[2] = (struct cb_input){ .name = "parameters", .dtype = "f32", .gen = "uniform, Glorot",
                                .source = "generated", .shape = { gnn_parameters(net) } };
    return 3;
}

static int statistics(void *instance, struct cb_figure *out)
{
    (void)instance;
    return matrix_figures(&kept, out);
}

/* ---- which rows ---- */

/* Collects the aggregations of a step without running it. */
struct seen {
    struct gnn_aggregation a[AGGREGATIONS_MAX];
    int count;
};

static enum op_status see(void *context, const struct gnn_aggregation *a)
{
    struct seen *s = context;
    s->a[s->count++] = *a;
    return OP_OK;
}

static struct seen aggregations_of(const struct gnn_net *net, const struct gnn_buffers *b)
{
    static const struct gnn_ops ops = { .aggregate = see };
    struct seen s = { .count = 0 };
    gnn_step(net, b, &ops, &s);
    return s;
}

/* Before there are buffers: widths only, all pointers into a buffer of nothing. */
static bool all_covered(const struct gnn_impl *impl, const struct gnn_operands *o)
{
    static char nothing;
    const struct gnn_buffers none = { .parameter = &nothing, .partial = &nothing,
                                      .result = &nothing };
    const struct seen s = aggregations_of(&o->net, &none);
    for (int i = 0; i < s.count; i++) {
        const struct spmm_problem p = aggregator_problem(s.a[i].backward ? o->t : o->a,
                                                         s.a[i].width);
        if (!aggregator_covered(impl, o->device, &p))
            return false;
    }
    return true;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct instance *in = instance;
    const struct gnn_impl *impl = (const struct gnn_impl *)i;
    *why = "no row of spmm that it names does all aggregations here";
    if (!impl->aggregate || all_covered(impl, &in->o))
        return OP_OK;
    return OP_EUNSUPPORTED;
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct gnn_operands *o = &((struct instance *)instance)->o;
    struct cb_work w = { .peak = "fp32_fma", .accumulate = CB_F32 };
    (void)i;
    gnn_work(&o->net, o->a->nnz, &w.flops, &w.bytes_min, &w.bytes_model);
    w.weight_bytes = 4.0 * (double)gnn_parameters(&o->net);
    w.core_ops = w.flops;
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct gnn_operands *o = &((struct instance *)instance)->o;
    gnn_operands_bytes(&o->net, o->a, o->t, weights, ins, outs);
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    if (weight_sets > 1 || input_sets > 1)
        return cb_error("unsupported: a step has one set of operands, measure it hot");
    if (gnn_operands_open(&in->o))
        return -1;
    return cb_sync(c->device);
}

/* ---- one row ---- */

static void unbind(void *bound)
{
    struct bound *b = bound;
    if (!b)
        return;
    for (int i = 0; i < b->count; i++)
        aggregator_close(&b->g[b->order[i]]);
    op_pool_free(&b->pool);
    free(b);
}

/* "own_row,own_merge": every name once, without what all of them have in common. */
static void describe(struct bound *b)
{
    size_t used = 0;
    for (int i = 0; i < b->count; i++) {
        const char *name = aggregator_choice(&b->g[b->order[i]]);
        bool new = true;
        for (int k = 0; k < i; k++)
            new = new && strcmp(name, aggregator_choice(&b->g[b->order[k]]));
        if (!strncmp(name, "cusparse_", 9))
            name += 9;
        if (new && used < sizeof b->choice)
            used += (size_t)snprintf(b->choice + used, sizeof b->choice - used, "%s%s",
                                     used ? "," : "", name);
    }
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    struct instance *in = instance;
    struct bound *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b)
        return cb_error("no memory to bind %s", i->name);
    b->in = in;
    b->impl = (const struct gnn_impl *)i;
    b->pool.device = c->device;
    const struct seen s = aggregations_of(&in->o.net, &in->o.b);
    int status = gnn_operands_poison(&in->o);
    for (int k = 0; b->impl->aggregate && !status && k < s.count; k++) {
        const int at = aggregator_index(&s.a[k]);
        b->g[at] = gnn_aggregator_of(&in->o, &s.a[k]);
        status = aggregator_open(&b->g[at], b->impl, c->device, &b->pool);
        if (!status)
            b->order[b->count++] = at;
    }
    if (!status)
        status = gnn_operands_poison(&in->o); /* what was timed wrote */
    if (status) {
        unbind(b);
        return -1;
    }
    describe(b);
    *out = b;
    return 0;
}

/* The row ref_step: the definition, rounded. */
static int run_reference(struct instance *in)
{
    const struct gnn_operands *o = &in->o;
    const struct gnn_graph a = { o->on_a.row_ptr, o->on_a.col, o->on_a.val };
    const struct gnn_graph t = { o->on_t.row_ptr, o->on_t.col, o->on_t.val };
    const size_t count = (size_t)gnn_result_size(&o->net);
    double *result = malloc(count * sizeof *result);
    int status = result ? op_result(gnn_ref(&o->net, &a, &t, o->b.x, o->b.label, o->b.parameter,
                                            result), "ref_step", "call")
                        : cb_error("no memory for %zu results", count);
    for (size_t i = 0; !status && i < count; i++)
        ((float *)o->b.result)[i] = (float)result[i];
    free(result);
    return status;
}

static int run(void *bound, int weights, int ins)
{
    struct bound *b = bound;
    (void)weights, (void)ins;
    return b->impl->aggregate ? gnn_operands_step(&b->in->o, b->g) : run_reference(b->in);
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct gnn_operands *o = &((struct bound *)bound)->in->o;
    (void)weights, (void)ins, (void)max;
    out[0] = (struct cb_region){ o->b.result, 4 * (size_t)gnn_result_size(&o->net) };
    return 1;
}

/* There is one set, so its reference is computed once a case. */
static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    (void)c, (void)weights, (void)ins;
    if (!in->expected && gnn_expectation_open(&in->e, &in->o))
        return -1;
    in->expected = true;
    return 0;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    struct bound *b = bound;
    (void)weights, (void)ins, (void)r2;
    if (gnn_expectation_check(&b->in->e, &b->in->o, r1, limit))
        return -1;
    for (int i = 0; i < b->count && !b->checked; i++) {
        struct cb_accuracy a;
        if (aggregator_check(&b->g[b->order[i]], c->device, &a))
            return -1;
        r1->compared += a.compared;
        r1->bad += a.bad;
        r1->nonfinite += a.nonfinite;
    }
    if (!b->checked && b->count && gnn_operands_step(&b->in->o, b->g))
        return -1; /* as the step had left it: what follows looks at the result */
    b->checked = true;
    return cb_sync(c->device);
}

static const char *choice(void *bound)
{
    const struct bound *b = bound;
    return b->impl->base.flags & OP_CHOOSES ? b->choice : NULL;
}

/* The aggregations alone, one by one: what is left of the step is the same in every row. */
static int figures(void *bound, struct cb_figure *out)
{
    const struct bound *b = bound;
    double sum = 0, us;
    if (!b->count)
        return 0;
    for (int i = 0; i < b->count; i++) {
        if (aggregator_time(&b->g[b->order[i]], b->in->o.device, INFINITY, &us))
            return 0;
        sum += us;
    }
    out[0] = (struct cb_figure){ .name = "aggregations", .unit = "us", .value = sum, .low = sum,
                                 .high = sum };
    return 1;
}

const struct cb_op op_gnn = {
    .name = "gnn", .title = "step of a graph neural network",
    .params = params, .params_size = sizeof(struct gnn_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check, .choice = choice,
    .figures = figures, .unbind = unbind, .close = close_instance,
};
