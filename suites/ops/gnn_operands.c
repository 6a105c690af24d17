/* gnn_operands.c - inputs of a step, the buffers between its steps, and running it. */
#include <math.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "gnn_part.h"

enum { TENSOR_X = 1, TENSOR_PARAMETERS = 2, TENSOR_LABELS = 3 };

/* ---- memory ---- */

static int take(struct op_pool *pool, size_t bytes, void **out)
{
    const struct op_memory memory = op_pool_memory(pool);
    *out = memory.take(memory.context, bytes ? bytes : 16);
    return *out ? 0 : -1;
}

static int upload_new(struct op_pool *pool, const void **to, const void *from, size_t bytes)
{
    void *p;
    if (take(pool, bytes, &p) || cb_upload(pool->device, p, from, bytes))
        return -1;
    *to = p;
    return 0;
}

static int upload_matrix(struct op_pool *pool, const struct adjacency *a, struct spmm_matrix *out)
{
    const size_t entries = (size_t)a->nnz * sizeof(int);
    const void *row_ptr, *col, *row, *val;
    if (upload_new(pool, &row_ptr, a->row_ptr, ((size_t)a->nodes + 1) * sizeof(int)) ||
        upload_new(pool, &col, a->col, entries) || upload_new(pool, &row, a->row, entries) ||
        upload_new(pool, &val, a->val, entries))
        return -1;
    *out = (struct spmm_matrix){ row_ptr, col, row, val };
    return 0;
}

int gnn_buffers_open(const struct gnn_net *net, size_t size, const struct op_memory *memory,
                     struct gnn_buffers *b)
{
    const struct gnn_sizes s = gnn_sizes_of(net);
    const int last = net->layers - 1;
    struct {
        size_t count;
        void **to;
    } list[2 * GNN_LAYERS_MAX + 5];
    int n = 0;
    b->size = size;
    for (int l = 0; l < net->layers; l++) {
        list[n].count = s.act[l], list[n++].to = &b->act[l];
        list[n].count = s.mid[l], list[n++].to = &b->mid[l];
    }
    for (int i = 0; i < 2; i++)
        list[n].count = s.gradient[i], list[n++].to = &b->gradient[i];
    list[n].count = s.gradient_mid, list[n++].to = &b->gradient_mid;
    list[n].count = s.partial, list[n++].to = &b->partial;
    list[n].count = (size_t)gnn_result_size(net), list[n++].to = &b->result;
    for (int i = 0; i < n; i++) {
        *list[i].to = list[i].count ? memory->take(memory->context, list[i].count * size) : NULL;
        if (list[i].count && !*list[i].to)
            return cb_error("oom: %zu bytes between the steps", list[i].count * size);
    }
    if (net->pass == GNN_FORWARD)
        b->act[last] = b->result;
    return 0;
}

int gnn_operands_poison(const struct gnn_operands *o)
{
    const struct gnn_sizes s = gnn_sizes_of(&o->net);
    const struct gnn_buffers *b = &o->b;
    int status = 0;
    for (int l = 0; l < o->net.layers && !status; l++)
        status = (s.act[l] && cb_fill(o->device, b->act[l], 0xFF, s.act[l] * b->size)) ||
                 (s.mid[l] && cb_fill(o->device, b->mid[l], 0xFF, s.mid[l] * b->size));
    for (int i = 0; i < 2 && !status; i++)
        status = s.gradient[i] && cb_fill(o->device, b->gradient[i], 0xFF, s.gradient[i] * b->size);
    if (!status && s.gradient_mid)
        status = cb_fill(o->device, b->gradient_mid, 0xFF, s.gradient_mid * b->size);
    if (!status && s.partial)
        status = cb_fill(o->device, b->partial, 0xFF, s.partial * b->size);
    return status ? -1 : 0;
}

/* ---- inputs ---- */

/* Uniform as Glorot and Bengio draw them; sums over unweighted neighbours are kept at the size of
 * one of them by dividing by the mean length of a row.  Biases are small and not 0. */
static int make_parameters(struct gnn_operands *o)
{
    const struct gnn_net *net = &o->net;
    const long count = gnn_parameters(net);
    const double mean = (double)o->a->nnz / o->a->nodes;
    float *p = malloc((size_t)count * sizeof *p);
    if (!p)
        return cb_error("no memory for %ld parameters", count);
#pragma omp parallel for schedule(static)
    for (long i = 0; i < count; i++)
        p[i] = 0.1f * cb_random_at(CB_UNIFORM, o->seed, TENSOR_PARAMETERS, 0, (uint64_t)i);
    for (int l = 0; l < net->layers; l++) {
        const struct gnn_layer *layer = &net->layer[l];
        const bool sums = layer->aggregates && o->a->nnz && o->a->val[0] == 1;
        const double size = 10 * sqrt(6.0 / (layer->in + layer->out)) / (sums ? 1 + mean : 1);
        const long weights = (long)layer->in * layer->out * (layer->v >= 0 ? 2 : 1);
        for (long i = 0; i < weights; i++)
            p[layer->w + i] *= (float)size;
    }
    int status = upload_new(&o->pool, &o->b.parameter, p, (size_t)count * sizeof *p);
    free(p);
    return status;
}

static int make_labels(struct gnn_operands *o)
{
    const int nodes = o->net.nodes, classes = o->net.layer[o->net.layers - 1].out;
    const void *on_device;
    int *label = malloc((size_t)nodes * sizeof *label);
    if (!label)
        return cb_error("no memory for %d labels", nodes);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < nodes; i++) {
        const float u = cb_random_at(CB_UNIFORM, o->seed, TENSOR_LABELS, 0, (uint64_t)i);
        const int drawn = (int)((u + 1) / 2 * (float)classes);
        label[i] = drawn < classes ? drawn : classes - 1;
    }
    int status = upload_new(&o->pool, &on_device, label, (size_t)nodes * sizeof *label);
    o->b.label = status ? NULL : on_device;
    free(label);
    return status;
}

static int make_x(struct gnn_operands *o)
{
    const int nodes = o->net.nodes, features = o->net.layer[0].in;
    void *x;
    if (take(&o->pool, (size_t)nodes * (size_t)features * sizeof(float), &x) ||
        cb_random(o->device, x, CB_F32, CB_UNIFORM, o->seed, TENSOR_X, 0, nodes, features, false))
        return -1;
    o->b.x = x;
    return 0;
}

static int open_dense(struct gnn_operands *o)
{
#ifdef WITH_CUDA
    const struct op_memory memory = op_pool_memory(&o->pool);
    if (cb_device_info(o->device)->sm) {
        o->dense = gnn_dense_open(&memory, cb_device_stream(o->device));
        return o->dense ? 0 : cb_error("cuBLAS cannot be opened");
    }
#endif
    (void)o;
    return 0;
}

int gnn_operands_open(struct gnn_operands *o)
{
    o->pool = (struct op_pool){ .device = o->device };
    const struct op_memory memory = op_pool_memory(&o->pool);
    if (upload_matrix(&o->pool, o->a, &o->on_a))
        return -1;
    o->on_t = o->on_a;
    if (o->t != o->a && upload_matrix(&o->pool, o->t, &o->on_t))
        return -1;
    return make_x(o) || make_parameters(o) || make_labels(o) ||
                   gnn_buffers_open(&o->net, sizeof(float), &memory, &o->b) || open_dense(o)
               ? -1
               : 0;
}

void gnn_operands_close(struct gnn_operands *o)
{
#ifdef WITH_CUDA
    gnn_dense_close(o->dense);
#endif
    op_pool_free(&o->pool);
    *o = (struct gnn_operands){ 0 };
}

static double matrix_bytes(const struct adjacency *a)
{
    return 4 * ((double)a->nodes + 1) + 12 * (double)a->nnz;
}

void gnn_operands_bytes(const struct gnn_net *net, const struct adjacency *a,
                        const struct adjacency *t, double *graph, double *in, double *out)
{
    const struct gnn_sizes s = gnn_sizes_of(net);
    double between = (double)s.gradient[0] + (double)s.gradient[1] + (double)s.gradient_mid +
                     (double)s.partial + (double)gnn_result_size(net);
    for (int l = 0; l < net->layers; l++)
        between += (double)s.act[l] + (double)s.mid[l];
    *graph = matrix_bytes(a) + (t != a ? matrix_bytes(t) : 0);
    *in = 4 * ((double)net->nodes * (net->layer[0].in + 1) + (double)gnn_parameters(net));
    *out = 4 * between;
}

/* ---- a step ---- */

struct aggregator gnn_aggregator_of(const struct gnn_operands *o, const struct gnn_aggregation *a)
{
    const struct adjacency *host = a->backward ? o->t : o->a;
    return (struct aggregator){ .p = aggregator_problem(host, a->width),
                                .args = { a->backward ? o->on_t : o->on_a, a->from, a->to },
                                .host = host };
}

struct step {
    struct gnn_context base; /* first: kernels see this */
    struct gnn_operands *o;
    const struct aggregator *g;
};

static enum op_status aggregate(void *context, const struct gnn_aggregation *a)
{
    const struct step *s = context;
    const struct aggregator *g = &s->g[aggregator_index(a)];
    return g->impl->run(&g->p, &g->args, g->state, s->base.stream);
}

#ifdef WITH_CUDA
static enum op_status product(void *context, int at, int bt, int m, int n, int k, const void *a,
                              const void *b, int add, void *c)
{
    const struct step *s = context;
    return gnn_dense_product(s->o->dense, s->base.b->size, at, bt, m, n, k, a, b, add, c);
}
#endif

int gnn_operands_step(struct gnn_operands *o, const struct aggregator *g)
{
    struct step s = { { &o->net, &o->b, cb_device_stream(o->device) }, o, g };
    struct gnn_ops ops = gnn_host_ops;
#ifdef WITH_CUDA
    if (o->dense)
        ops = (struct gnn_ops){ .product = product, .bias = gnn_cuda_bias,
                                .relu_back = gnn_cuda_relu_back, .loss = gnn_cuda_loss,
                                .finish = gnn_cuda_finish };
#endif
    ops.aggregate = aggregate;
    return op_result(gnn_step(&o->net, &o->b, &ops, &s), "step", "launch");
}
