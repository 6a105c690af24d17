/*
 * rgcn.c - relational graph convolution over a whole graph, bound to the harness.
 *
 * There is one set of operands: a graph does not change between calls.  The reference is that of
 * the host, in double, computed once a case.
 */
#include "../../kernels/rgcn/rgcn.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../data/relations.h"
#include "bind.h"
#include "ops.h"

struct rgcn_params {
    char graph[CB_PATH_MAX];
    int hidden, features, classes;
};

static const struct cb_param params[] = {
    { "graph", CB_PATH, offsetof(struct rgcn_params, graph), 0, 0, 0, NULL, true,
      "aifb, mutag, bgs, am, biokg, wordnet: generated; aifb_triples; gen:relations,...; or a file" },
    { "hidden", CB_INT, offsetof(struct rgcn_params, hidden), 64, 4, RGCN_WIDTH_MAX, NULL, false,
      "numbers of a node between the layers, a multiple of 4" },
    { "features", CB_INT, offsetof(struct rgcn_params, features), 16, 4, RGCN_WIDTH_MAX, NULL,
      false, "numbers of a node that come in, a multiple of 4" },
    { "classes", CB_INT, offsetof(struct rgcn_params, classes), 16, 4, RGCN_WIDTH_MAX, NULL, false,
      "scores of a node that come out, a multiple of 4" },
    { 0 },
};

enum { TENSOR_X = 1, TENSOR_W1 = 2, TENSOR_W2 = 3 };

static const double LIMIT = 1e-5; /* relative error of all scores */

/* The graph of the last case, every relation both ways and loops: cases follow one another on it. */
static struct kept {
    char spec[CB_PATH_MAX];
    struct relations r;
    float *norm;
    int targets, sources; /* pairs of a relation and a node */
} kept;

static struct rgcn_graph graph_of(const struct relations *r, const float *norm)
{
    return (struct rgcn_graph){ r->start, r->src, r->dst, norm };
}

static void drop(void)
{
    relations_free(&kept.r);
    free(kept.norm);
    kept = (struct kept){ .targets = 0 };
}

/* Pairs, counted as set-up counts them. */
static int count_pairs(const struct rgcn_problem *p, const struct rgcn_graph *g)
{
    struct rgcn_pairs pairs;
    if (rgcn_targets(p, g, &pairs) != OP_OK)
        return cb_error("no memory to count pairs");
    kept.targets = pairs.count;
    rgcn_pairs_free(&pairs);
    if (rgcn_sources(p, g, &pairs) != OP_OK)
        return cb_error("no memory to count pairs");
    kept.sources = pairs.count;
    rgcn_pairs_free(&pairs);
    return 0;
}

static int load(const char *spec)
{
    struct relations one_way;
    char why[256];
    if (!relations_available(spec, why, sizeof why))
        return cb_error("not available: %s", why);
    if (relations_load(spec, &one_way))
        return -1;
    int status = relations_with_inverse(&one_way, &kept.r);
    relations_free(&one_way);
    if (status)
        return -1;
    const struct rgcn_problem p = { kept.r.nodes, kept.r.relations, kept.r.edges, 4, 4, 4 };
    const struct rgcn_graph g = graph_of(&kept.r, NULL);
    kept.norm = malloc((size_t)kept.r.edges * sizeof *kept.norm);
    if (!kept.norm)
        return cb_error("no memory for %ld norms", kept.r.edges);
    rgcn_norms(&p, &g, kept.norm);
    snprintf(kept.spec, sizeof kept.spec, "%s", spec);
    return count_pairs(&p, &g);
}

/* ---- a case ---- */

struct instance {
    struct rgcn_problem p;
    struct cb_device *device;
    uint64_t seed;
    struct rgcn_graph host;
    struct rgcn_args args;
    struct op_pool pool;
    double *want; /* [nodes][out] on the device; NULL until it is expected */
    float *bound;
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { rgcn_references, rgcn_baselines, rgcn_kernels };
    return op_row_at(table, 3, sizeof(struct rgcn_impl), i);
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    op_pool_free(&in->pool);
    free(in);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct rgcn_params *q = given;
    struct instance *in = calloc(1, sizeof *in);
    *out = NULL;
    if (!in)
        return cb_error("no memory for a problem");
    if (!kept.r.nodes || strcmp(kept.spec, q->graph)) {
        drop();
        if (load(q->graph)) {
            drop();
            free(in);
            return -1;
        }
    }
    in->p = (struct rgcn_problem){ kept.r.nodes, kept.r.relations, kept.r.edges,
                                   q->features,  q->hidden,        q->classes };
    if (op_result(rgcn_check(&in->p), "features, hidden, classes", "multiples of 4")) {
        free(in);
        return -1;
    }
    in->device = in->pool.device = c->device;
    in->seed = c->seed;
    in->host = graph_of(&kept.r, kept.norm);
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct rgcn_problem *p = &((struct instance *)instance)->p;
    out[0] = (struct cb_input){ .name = "graph", .dtype = "i32",
                                .shape = { p->nodes, p->relations, p->edges } };
    snprintf(out[0].gen, sizeof out[0].gen, "%s", kept.r.gen);
    snprintf(out[0].source, sizeof out[0].source, "%s", kept.r.source);
    out[1] = (struct cb_input){ .name = "X", .dtype = "f32", .gen = "uniform [-1, 1)",
                                .source = "generated", .shape = { p->nodes, p->in },
                                .tensor_id = TENSOR_X };
    out[2] = (struct cb_input){ .name = "W1", .dtype = "f32", .gen = "uniform [-1, 1)",
                                .source = "generated", .shape = { p->relations, p->in, p->hidden },
                                .tensor_id = TENSOR_W1 };
    out[3] = (struct cb_input){ .name = "W2", .dtype = "f32", .gen = "uniform [-1, 1)",
                                .source = "generated", .shape = { p->relations, p->hidden, p->out },
                                .tensor_id = TENSOR_W2 };
    return 4;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct rgcn_problem *p = &((struct instance *)instance)->p;
    op_figure(&out[0], "nodes", "", p->nodes);
    op_figure(&out[1], "relations", "", p->relations);
    op_figure(&out[2], "edges", "", (double)p->edges);
    op_figure(&out[3], "target_pairs", "", kept.targets);
    op_figure(&out[4], "source_pairs", "", kept.sources);
    return 5;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const struct rgcn_impl *impl = (const struct rgcn_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    return impl->supports ? impl->supports(&((struct instance *)instance)->p, why) : OP_OK;
}

/* Of the cheaper order of each layer, whatever a row does: see figures. */
static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct rgcn_problem *p = &((struct instance *)instance)->p;
    struct cb_work w = { .peak = "fp32_fma", .accumulate = CB_F32 };
    (void)i;
    rgcn_work(p, kept.targets, kept.sources, &w.flops, &w.bytes_min, &w.bytes_model);
    w.weight_bytes = 4.0 * p->relations * p->hidden * (p->in + p->out);
    w.core_ops = w.flops;
    return w;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct rgcn_problem *p = &((struct instance *)instance)->p;
    *weights = 12 * (double)p->edges + 4.0 * p->relations * p->hidden * (p->in + p->out);
    *ins = 4.0 * p->nodes * p->in;
    *outs = 4.0 * p->nodes * p->out;
}

/* ---- operands ---- */

static void *take(struct instance *in, size_t bytes)
{
    const struct op_memory memory = op_pool_memory(&in->pool);
    return memory.take(memory.context, bytes);
}

static int upload_new(struct instance *in, const void *from, size_t bytes, const void **to)
{
    void *p = take(in, bytes);
    if (!p || cb_upload(in->device, p, from, bytes))
        return -1;
    *to = p;
    return 0;
}

static int make_graph(struct instance *in)
{
    const size_t edges = 4 * (size_t)in->p.edges;
    struct rgcn_graph *g = &in->args.graph;
    return upload_new(in, in->host.start, 4 * ((size_t)in->p.relations + 1),
                      (const void **)&g->start) ||
                   upload_new(in, in->host.src, edges, (const void **)&g->src) ||
                   upload_new(in, in->host.dst, edges, (const void **)&g->dst) ||
                   upload_new(in, in->host.norm, edges, (const void **)&g->norm)
               ? -1
               : 0;
}

/* As a node has a dozen relations, sums stay near one without a scale. */
static int make_tensor(struct instance *in, uint32_t id, long rows, long columns,
                       const float **out)
{
    float *p = take(in, 4 * (size_t)rows * (size_t)columns);
    if (!p || cb_random(in->device, p, CB_F32, CB_UNIFORM, in->seed, id, 0, rows, columns, false))
        return -1;
    *out = p;
    return 0;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    const struct rgcn_problem *p = &in->p;
    if (weight_sets > 1 || input_sets > 1)
        return cb_error("unsupported: a graph has one set of operands, measure it hot");
    in->args.y = take(in, 4 * (size_t)p->nodes * (size_t)p->out);
    if (!in->args.y || make_graph(in) || make_tensor(in, TENSOR_X, p->nodes, p->in, &in->args.x) ||
        make_tensor(in, TENSOR_W1, (long)p->relations * p->in, p->hidden, &in->args.w1) ||
        make_tensor(in, TENSOR_W2, (long)p->relations * p->hidden, p->out, &in->args.w2))
        return -1;
    return cb_sync(c->device);
}

/* ---- one row ---- */

static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct rgcn_impl *impl = b->impl;
    (void)set, (void)args;
    return impl->setup ? impl->setup(&in->p, &in->host, &in->args, memory, b->stream, state) : OP_OK;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    return op_bind(c, instance, i, 1, 0, set_up, ((const struct rgcn_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct rgcn_impl *impl = b->impl;
    (void)weights, (void)ins;
    return op_launched(b, impl->run(&in->p, &in->args, b->states.state[0], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct instance *in = ((struct op_bound *)bound)->in;
    (void)weights, (void)ins, (void)max;
    out[0] = (struct cb_region){ in->args.y, 4 * (size_t)in->p.nodes * (size_t)in->p.out };
    return 1;
}

/* ---- the reference ---- */

/* Operands in host memory, as the device has them. */
static int download_operands(const struct instance *in, float *x, float *w1, float *w2)
{
    const struct rgcn_problem *p = &in->p;
    const size_t relations = (size_t)p->relations * (size_t)p->hidden;
    if (!x || !w1 || !w2)
        return cb_error("no memory for the reference");
    return cb_download(in->device, x, in->args.x, 4 * (size_t)p->nodes * (size_t)p->in) ||
                   cb_download(in->device, w1, in->args.w1, 4 * relations * (size_t)p->in) ||
                   cb_download(in->device, w2, in->args.w2, 4 * relations * (size_t)p->out)
               ? -1
               : 0;
}

static int compute(struct instance *in, double *want, float *bound)
{
    const struct rgcn_problem *p = &in->p;
    const size_t relations = (size_t)p->relations * (size_t)p->hidden;
    const size_t count = (size_t)p->nodes * (size_t)p->out;
    float *x = malloc(4 * (size_t)p->nodes * (size_t)p->in);
    float *w1 = malloc(4 * relations * (size_t)p->in), *w2 = malloc(4 * relations * (size_t)p->out);
    const struct rgcn_args host = { in->host, x, w1, w2, NULL };
    int status = download_operands(in, x, w1, w2);
    if (!status)
        status = op_result(rgcn_ref(p, &host, want, bound), "reference", "call");
    if (!status) {
        double *on_want = take(in, count * sizeof *on_want);
        in->bound = take(in, count * sizeof *in->bound);
        if (!on_want || !in->bound || cb_upload(in->device, on_want, want, count * sizeof *want) ||
            cb_upload(in->device, in->bound, bound, count * sizeof *bound))
            status = -1;
        in->want = status ? NULL : on_want;
    }
    free(x);
    free(w1);
    free(w2);
    return status;
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    const size_t count = (size_t)in->p.nodes * (size_t)in->p.out;
    (void)c, (void)weights, (void)ins;
    if (in->want)
        return 0;
    double *want = malloc(count * sizeof *want);
    float *bound = malloc(count * sizeof *bound);
    const int status = want && bound ? compute(in, want, bound)
                                     : cb_error("no memory for %zu scores", count);
    free(want);
    free(bound);
    return status;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct instance *in = ((struct op_bound *)bound)->in;
    const struct cb_view got = { in->args.y, CB_F32, in->p.nodes, in->p.out, false };
    (void)weights, (void)ins, (void)r2;
    *limit = LIMIT;
    return cb_compare(c->device, &got, in->want, in->bound, r1);
}

/* Device memory beside the operands; rows multiplied by weights, over the pairs that have to be. */
static int figures(void *bound, struct cb_figure *out)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct rgcn_impl *impl = b->impl;
    const int least = kept.targets < kept.sources ? kept.targets : kept.sources;
    struct rgcn_counts counts;
    op_figure(&out[0], "memory", "B", (double)b->states.pool.bytes);
    if (!impl->counts)
        return 1;
    impl->counts(&in->p, b->states.state[0], &counts);
    op_figure(&out[1], "redundancy", "", counts.rows / (2.0 * least));
    op_figure(&out[2], "extra_bytes", "B", counts.extra_bytes);
    return 3;
}

const struct cb_op op_rgcn = {
    .name = "rgcn", .title = "relational graph convolution, two layers",
    .params = params, .params_size = sizeof(struct rgcn_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check, .figures = figures,
    .unbind = op_unbind, .close = close_instance,
};
