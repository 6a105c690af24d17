/* host.c - the steps of a net on the processor's cores, float. */
#include <math.h>

#include <cblas.h>
#include <omp.h>

#include "gnn.h"

void gnn_host_product(size_t size, int at, int bt, int m, int n, int k, const void *a,
                      const void *b, int add, void *c)
{
    const CBLAS_TRANSPOSE ta = at ? CblasTrans : CblasNoTrans, tb = bt ? CblasTrans : CblasNoTrans;
    const int lda = at ? m : k, ldb = bt ? k : n;
    const int kept = openblas_get_num_threads(), most = omp_get_max_threads();
    const int parts = m < most ? m : most;
    openblas_set_num_threads(1);
#pragma omp parallel for schedule(static, 1)
    for (int t = 0; t < parts; t++) {
        const int first = (int)((long)m * t / parts), past = (int)((long)m * (t + 1) / parts);
        const void *own = (const char *)a + (at ? (size_t)first : (size_t)first * k) * size;
        void *to = (char *)c + (size_t)first * n * size;
        if (size == sizeof(float))
            cblas_sgemm(CblasRowMajor, ta, tb, past - first, n, k, 1, own, lda, b, ldb, (float)add,
                        to, n);
        else
            cblas_dgemm(CblasRowMajor, ta, tb, past - first, n, k, 1, own, lda, b, ldb, add, to, n);
    }
    openblas_set_num_threads(kept);
}

static enum op_status product(void *context, int at, int bt, int m, int n, int k, const void *a,
                              const void *b, int add, void *c)
{
    (void)context;
    gnn_host_product(sizeof(float), at, bt, m, n, k, a, b, add, c);
    return OP_OK;
}

static enum op_status bias(void *context, int width, int relu, const void *b, void *y)
{
    const struct gnn_context *c = context;
    const float *added = b;
    float *row = y;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < c->net->nodes; i++)
        for (int j = 0; j < width; j++) {
            const float v = row[(size_t)i * width + j] + added[j];
            row[(size_t)i * width + j] = relu && v < 0 ? 0 : v;
        }
    return OP_OK;
}

/* The first node of part t of `parts`. */
static int begin(const struct gnn_context *c, int t)
{
    return (int)((long)c->net->nodes * t / gnn_parts(c->net->nodes));
}

static enum op_status relu_back(void *context, int width, const void *act, void *g, void *partial)
{
    const struct gnn_context *c = context;
    const float *y = act;
    float *dy = g;
#pragma omp parallel for schedule(static)
    for (int t = 0; t < gnn_parts(c->net->nodes); t++) {
        float *sum = (float *)partial + (size_t)t * width;
        for (int j = 0; j < width; j++)
            sum[j] = 0;
        for (int i = begin(c, t); i < begin(c, t + 1); i++)
            for (int j = 0; j < width; j++) {
                const size_t at = (size_t)i * width + j;
                dy[at] = y[at] > 0 ? dy[at] : 0;
                sum[j] += dy[at];
            }
    }
    return OP_OK;
}

/* Scores of one node to the gradient of its share of the loss, which is returned. */
static float node_loss(const float *b, int width, int label, float scale, float *z)
{
    float most = -INFINITY, total = 0, lost;
    for (int j = 0; j < width; j++) {
        z[j] += b[j];
        most = z[j] > most ? z[j] : most;
    }
    lost = most - z[label];
    for (int j = 0; j < width; j++) {
        z[j] = expf(z[j] - most);
        total += z[j];
    }
    for (int j = 0; j < width; j++)
        z[j] = (z[j] / total - (j == label)) * scale;
    return lost + logf(total);
}

static enum op_status loss(void *context, int width, const void *b, void *z, void *partial,
                           void *lost)
{
    const struct gnn_context *c = context;
    const float scale = 1.0f / (float)c->net->nodes;
#pragma omp parallel for schedule(static)
    for (int t = 0; t < gnn_parts(c->net->nodes); t++) {
        float *sum = (float *)partial + (size_t)t * width, part = 0;
        for (int j = 0; j < width; j++)
            sum[j] = 0;
        for (int i = begin(c, t); i < begin(c, t + 1); i++) {
            float *row = (float *)z + (size_t)i * width;
            part += node_loss(b, width, c->b->label[i], scale, row);
            for (int j = 0; j < width; j++)
                sum[j] += row[j];
        }
        ((float *)lost)[t] = part;
    }
    return OP_OK;
}

static enum op_status finish(void *context)
{
    const struct gnn_context *c = context;
    const struct gnn_net *net = c->net;
    const float *parameter = c->b->parameter, *partial = c->b->partial;
    float *result = c->b->result, *gradient = result + GNN_GRADIENT;
    float *updated = result + gnn_updated_at(net);
    const int parts = gnn_parts(net->nodes);
    double lost = 0;
    for (int l = 0; l < net->layers; l++) {
        const int width = net->layer[l].out;
        const float *lines = partial + (size_t)parts * (size_t)(net->layer[l].b - net->weights);
        for (int j = 0; j < width; j++) {
            double sum = 0;
            for (int t = 0; t < parts; t++)
                sum += lines[(size_t)t * width + j];
            gradient[net->layer[l].b + j] = (float)sum;
        }
    }
    for (int t = 0; t < parts; t++)
        lost += partial[(size_t)parts * (size_t)net->biases + t];
    for (int k = 0; k < GNN_GRADIENT; k++)
        result[k] = k == GNN_LOSS ? (float)(lost / net->nodes) : 0;
    for (long i = 0; i < gnn_parameters(net); i++)
        updated[i] = parameter[i] - net->rate * gradient[i];
    return OP_OK;
}

const struct gnn_ops gnn_host_ops = { .product = product, .bias = bias, .relu_back = relu_back,
                                      .loss = loss, .finish = finish };
