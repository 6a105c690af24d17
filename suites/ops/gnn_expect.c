/*
 * gnn_expect.c - what a step has to give: the step in double, and how far a float may be from it.
 *
 * A ReLU takes a number that rounding moved across 0 the other way, and the gradient of that
 * element changes by all of itself.  About one in a million does, so gradients are judged by the
 * norm of each tensor: its relative error is then the root of that share, 1e-3, whatever the size
 * of the graph.  What does not jump is judged closely: the loss, the scores of a forward pass,
 * and, element by element, every aggregation (gnn_aggregate.c).
 */
#include <math.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "gnn_part.h"

static const double LOSS = 1e-5;      /* relative */
static const double SCORES = 1e-4;    /* of the norm of a node's scores */
static const double GRADIENT = 1e-2;  /* of the norm of a tensor */
static const double ELEMENT = 0.5;    /* of one element: in units of the tensor's mean square */

/* ---- the reference ---- */

static struct gnn_graph graph_of(const struct spmm_matrix *m)
{
    return (struct gnn_graph){ m->row_ptr, m->col, m->val };
}

#ifdef WITH_CUDA
struct reference {
    struct gnn_context base; /* first */
    const struct gnn_operands *o;
};

static enum op_status product(void *context, int at, int bt, int m, int n, int k, const void *a,
                              const void *b, int add, void *c)
{
    const struct reference *r = context;
    return gnn_dense_product(r->o->dense, sizeof(double), at, bt, m, n, k, a, b, add, c);
}

static enum op_status aggregate(void *context, const struct gnn_aggregation *a)
{
    const struct reference *r = context;
    const struct gnn_graph g = graph_of(a->backward ? &r->o->on_t : &r->o->on_a);
    return gnn_cuda_aggregate_f64(r->o->net.nodes, &g, a->width, a->from, a->to, r->base.stream);
}

static int widened(const struct op_memory *memory, size_t n, const void *from, const void **to,
                   op_stream s)
{
    double *p = memory->take(memory->context, n * sizeof *p);
    if (!p)
        return cb_error("oom: %zu doubles of the reference", n);
    *to = p;
    return op_result(gnn_cuda_widen(n, from, p, s), "reference", "launch");
}

/* The steps of net.c with every element a double; its memory is given back. */
static int compute_on_gpu(const struct gnn_operands *o, double *want)
{
    struct op_pool pool = { .device = o->device };
    const struct op_memory memory = op_pool_memory(&pool);
    const op_stream s = cb_device_stream(o->device);
    static const struct gnn_ops ops = { product, aggregate, gnn_cuda_bias, gnn_cuda_relu_back,
                                        gnn_cuda_loss, gnn_cuda_finish };
    struct gnn_buffers b = { .label = o->b.label };
    struct reference r = { { &o->net, &b, s }, o };
    const size_t x = (size_t)o->net.nodes * (size_t)o->net.layer[0].in;
    int status = gnn_buffers_open(&o->net, sizeof(double), &memory, &b) ||
                 widened(&memory, x, o->b.x, &b.x, s) ||
                 widened(&memory, (size_t)gnn_parameters(&o->net), o->b.parameter, &b.parameter, s);
    if (!status)
        status = op_result(gnn_step(&o->net, &b, &ops, &r), "reference", "launch");
    if (!status)
        status = cb_download(o->device, want, b.result,
                             (size_t)gnn_result_size(&o->net) * sizeof *want);
    op_pool_free(&pool);
    return status ? -1 : 0;
}
#endif

static int compute(const struct gnn_operands *o, double *want)
{
    const struct gnn_graph a = graph_of(&o->on_a), t = graph_of(&o->on_t);
#ifdef WITH_CUDA
    if (o->dense)
        return compute_on_gpu(o, want);
#endif
    return op_result(gnn_ref(&o->net, &a, &t, o->b.x, o->b.label, o->b.parameter, want),
                     "reference", "call");
}

/* ---- how far from it ---- */

static double norm2(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

static void bound_scores(const struct gnn_net *net, const double *want, float *bound)
{
    const size_t width = (size_t)net->layer[net->layers - 1].out, nodes = (size_t)net->nodes;
    const double all = sqrt(norm2(want, nodes * width) / (double)(nodes * width));
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < nodes; i++) {
        const double own = sqrt(norm2(want + i * width, width) / (double)width);
        for (size_t j = 0; j < width; j++)
            bound[i * width + j] = (float)(SCORES * (own + 0.1 * all));
    }
}

/* Tensors of the gradient: w, v and b of every layer.  first and count of tensor i; 0: past
 * the last. */
static int tensor_of(const struct gnn_net *net, int i, long *first, long *count)
{
    for (int l = 0; l < net->layers; l++) {
        const struct gnn_layer *layer = &net->layer[l];
        const long weights = (long)layer->in * layer->out;
        const long at[3] = { layer->w, layer->v, layer->b };
        for (int k = 0; k < 3; k++) {
            if (at[k] < 0 || i--)
                continue;
            *first = at[k];
            *count = k == 2 ? layer->out : weights;
            return 1;
        }
    }
    return 0;
}

static void bound_step(const struct gnn_net *net, const double *want, float *bound)
{
    const double *gradient = want + GNN_GRADIENT, *updated = want + gnn_updated_at(net);
    float *of_gradient = bound + GNN_GRADIENT, *of_updated = bound + gnn_updated_at(net);
    long first, count;
    for (int k = 0; k < GNN_GRADIENT; k++)
        bound[k] = k == GNN_LOSS ? (float)(LOSS * fabs(want[k])) : 0;
    for (int t = 0; tensor_of(net, t, &first, &count); t++) {
        const double size = sqrt(norm2(gradient + first, (size_t)count) / (double)count);
        for (long i = first; i < first + count; i++) {
            of_gradient[i] = (float)(ELEMENT * (size + fabs(gradient[i])));
            of_updated[i] = (float)(net->rate * of_gradient[i] + 0x1p-22 * fabs(updated[i]));
        }
    }
}

int gnn_expectation_open(struct gnn_expectation *e, const struct gnn_operands *o)
{
    const size_t count = (size_t)gnn_result_size(&o->net);
    *e = (struct gnn_expectation){ .pool.device = o->device };
    e->want = malloc(count * sizeof *e->want);
    e->bound = malloc(count * sizeof *e->bound);
    if (!e->want || !e->bound)
        return cb_error("no memory for %zu results", count);
    if (compute(o, e->want))
        return -1;
    if (o->net.pass == GNN_TRAIN) {
        bound_step(&o->net, e->want, e->bound);
        return 0;
    }
    bound_scores(&o->net, e->want, e->bound);
    const struct op_memory memory = op_pool_memory(&e->pool);
    e->on_want = memory.take(memory.context, count * sizeof *e->want);
    e->on_bound = memory.take(memory.context, count * sizeof *e->bound);
    if (!e->on_want || !e->on_bound ||
        cb_upload(o->device, e->on_want, e->want, count * sizeof *e->want) ||
        cb_upload(o->device, e->on_bound, e->bound, count * sizeof *e->bound))
        return -1;
    return 0;
}

void gnn_expectation_close(struct gnn_expectation *e)
{
    free(e->want);
    free(e->bound);
    op_pool_free(&e->pool);
    *e = (struct gnn_expectation){ 0 };
}

/* ---- comparison ---- */

static int check_scores(const struct gnn_expectation *e, const struct gnn_operands *o,
                        struct cb_accuracy *a, double *limit)
{
    const struct gnn_net *net = &o->net;
    const struct cb_view got = { o->b.result, CB_F32, net->nodes, net->layer[net->layers - 1].out,
                                 false };
    *limit = SCORES;
    return cb_compare(o->device, &got, e->on_want, e->on_bound, a);
}

static double tensor_error(const double *want, const float *got, long count)
{
    double off = 0, size = norm2(want, (size_t)count);
    for (long i = 0; i < count; i++)
        off += (got[i] - want[i]) * (got[i] - want[i]);
    return size > 0 ? sqrt(off / size) : sqrt(off);
}

static int check_step(const struct gnn_expectation *e, const struct gnn_operands *o,
                      struct cb_accuracy *a, double *limit)
{
    const struct gnn_net *net = &o->net;
    const long count = gnn_result_size(net);
    float *got = malloc((size_t)count * sizeof *got);
    double worst = 0;
    long first, length;
    if (!got)
        return cb_error("no memory for %ld results", count);
    if (cb_download(o->device, got, o->b.result, (size_t)count * sizeof *got)) {
        free(got);
        return -1;
    }
    for (long i = 0; i < count; i++)
        cb_accuracy_add(a, i, got[i], e->want[i], e->bound[i]);
    cb_accuracy_finish(a);
    for (int t = 0; tensor_of(net, t, &first, &length); t++)
        worst = fmax(worst, tensor_error(e->want + GNN_GRADIENT + first, got + GNN_GRADIENT + first,
                                         length));
    a->rel_fro = worst;
    *limit = GRADIENT;
    free(got);
    return 0;
}

int gnn_expectation_check(const struct gnn_expectation *e, const struct gnn_operands *o,
                          struct cb_accuracy *a, double *limit)
{
    *a = (struct cb_accuracy){ .worst = -1 };
    return o->net.pass == GNN_FORWARD ? check_scores(e, o, a, limit) : check_step(e, o, a, limit);
}
