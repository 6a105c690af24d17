/*
 * host.c - relational graph convolution on the processor's cores: a thread takes targets, sums
 * the neighbours of a relation, multiplies by its weights while they are in the cache.
 *
 * A layer that narrows multiplies first: rows of every pair of a relation and a source.
 */
#include <stdlib.h>
#include <string.h>

#include "host.h"

struct host_rgcn {
    int32_t *row_ptr, *edge;   /* edges by target */
    int32_t *relation;         /* [edges] */
    struct rgcn_pairs sources; /* where a layer multiplies first */
    float *hidden, *products;
    int narrows[2];
};

static void free_state(struct host_rgcn *h)
{
    free(h->row_ptr);
    free(h->edge);
    free(h->relation);
    rgcn_pairs_free(&h->sources);
    free(h->hidden);
    free(h->products);
    free(h);
}

void rgcn_host_teardown(void *state)
{
    if (state)
        free_state(state);
}

enum op_status rgcn_host_setup(const struct rgcn_problem *p, const struct rgcn_graph *host,
                               const struct rgcn_args *a, const struct op_memory *memory,
                               op_stream s, void **state)
{
    struct host_rgcn *h = calloc(1, sizeof *h);
    enum op_status status = h ? OP_OK : OP_ENOMEM;
    int widest = 0;
    (void)a, (void)memory, (void)s;
    *state = NULL;
    if (!h)
        return status;
    h->narrows[0] = p->in > p->hidden;
    h->narrows[1] = p->hidden > p->out;
    if (h->narrows[0])
        widest = p->hidden;
    if (h->narrows[1] && p->out > widest)
        widest = p->out;
    h->relation = malloc((size_t)p->edges * sizeof *h->relation);
    h->hidden = malloc((size_t)p->nodes * (size_t)p->hidden * sizeof *h->hidden);
    status = h->relation && h->hidden
                 ? rgcn_rows(p->nodes, (int)p->edges, host->dst, &h->row_ptr, &h->edge)
                 : OP_ENOMEM;
    if (status == OP_OK && widest)
        status = rgcn_sources(p, host, &h->sources);
    if (status == OP_OK && widest) {
        h->products = malloc((size_t)h->sources.count * (size_t)widest * sizeof *h->products);
        status = h->products ? OP_OK : OP_ENOMEM;
    }
    if (status != OP_OK) {
        free_state(h);
        return status;
    }
    for (int r = 0; r < p->relations; r++)
        for (int e = host->start[r]; e < host->start[r + 1]; e++)
            h->relation[e] = r;
    *state = h;
    return OP_OK;
}

/* y [out] += x [in] W */
static void multiply(int in, int out, const float *x, int relu, const float *w, float *y)
{
    for (int i = 0; i < in; i++) {
        const float v = relu && x[i] < 0 ? 0 : x[i];
        for (int j = 0; j < out; j++)
            y[j] += v * w[i * out + j];
    }
}

static void sum_first(const struct rgcn_problem *p, const struct rgcn_graph *g,
                      const struct host_rgcn *h, const struct rgcn_layer *l)
{
#pragma omp parallel for schedule(dynamic, 64)
    for (int node = 0; node < p->nodes; node++) {
        float sum[RGCN_WIDTH_MAX], *y = l->y + (size_t)node * (size_t)l->out;
        memset(y, 0, (size_t)l->out * sizeof *y);
        for (int at = h->row_ptr[node]; at < h->row_ptr[node + 1];) {
            const int r = h->relation[h->edge[at]];
            memset(sum, 0, (size_t)l->in * sizeof *sum);
            for (; at < h->row_ptr[node + 1] && h->relation[h->edge[at]] == r; at++) {
                const int e = h->edge[at];
                const float c = g->norm[e], *x = l->x + (size_t)g->src[e] * (size_t)l->in;
                for (int i = 0; i < l->in; i++)
                    sum[i] += c * (l->relu && x[i] < 0 ? 0 : x[i]);
            }
            multiply(l->in, l->out, sum, 0, l->w + (size_t)r * (size_t)(l->in * l->out), y);
        }
    }
}

static void product_first(const struct rgcn_problem *p, const struct rgcn_graph *g,
                          const struct host_rgcn *h, const struct rgcn_layer *l)
{
    const size_t out = (size_t)l->out;
    for (int r = 0; r < p->relations; r++)
#pragma omp parallel for schedule(static)
        for (int k = h->sources.first[r]; k < h->sources.first[r + 1]; k++) {
            float *row = h->products + (size_t)k * out;
            memset(row, 0, out * sizeof *row);
            multiply(l->in, l->out, l->x + (size_t)h->sources.node[k] * (size_t)l->in, l->relu,
                     l->w + (size_t)r * (size_t)(l->in * l->out), row);
        }
#pragma omp parallel for schedule(dynamic, 64)
    for (int node = 0; node < p->nodes; node++) {
        float *y = l->y + (size_t)node * out;
        memset(y, 0, out * sizeof *y);
        for (int at = h->row_ptr[node]; at < h->row_ptr[node + 1]; at++) {
            const int e = h->edge[at];
            const float c = g->norm[e], *row = h->products + (size_t)h->sources.of[e] * out;
            for (size_t j = 0; j < out; j++)
                y[j] += c * row[j];
        }
    }
}

enum op_status rgcn_host(const struct rgcn_problem *p, const struct rgcn_args *a, void *state,
                         op_stream s)
{
    const struct host_rgcn *h = state;
    (void)s;
    for (int l = 0; l < 2; l++) {
        const struct rgcn_layer layer = rgcn_layer_of(p, a, h->hidden, l);
        (h->narrows[l] ? product_first : sum_first)(p, &a->graph, h, &layer);
    }
    return OP_OK;
}
