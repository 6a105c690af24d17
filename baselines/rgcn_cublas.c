/*
 * rgcn_cublas.c - gather, GEMM by cuBLAS, scatter over the edges of a graph.
 *
 *   gather    a row of x is read once and written, scaled, to a slot for each of its edges
 *   products  relations of like size, the largest first, are batched, padded to the largest,
 *             while 1 - smallest / largest <= EPSILON and the largest is < THRESHOLD
 *   scatter   a target sums its slots, so that nothing is atomic
 *
 * cuBLAS is column-major: Y = A B in rows is asked for as Y' = B' A'.
 */
#include <stdlib.h>
#include <string.h>

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include "../kernels/rgcn/sums.h"
#include "rgcn_cublas.h"

static const size_t WORKSPACE = (size_t)32 << 20;

/* Of the published tuning grid, the middle. */
static const double EPSILON = 0.3;
enum { THRESHOLD = 15000 };

struct group {
    int first, count; /* in order[] of the state */
    int rows;         /* padded */
    int batched;
};

struct state {
    cublasHandle_t handle;
    int32_t *order;       /* [relations] the largest first; those with edges only */
    int relations;
    int32_t *base, *size; /* [relations] first slot and edges, by relation */
    struct group *group;  /* [groups] */
    int groups;
    long slots;
    struct rgcn_sums gather, scatter;
    float *hidden, *gathered, *products;
    const void **pointers[2]; /* device, a layer each: [3][relations] in order */
};

/* ---- memory, for rgcn_cusparse.c too ---- */

void *rgcn_take(size_t bytes, const struct op_memory *memory, enum op_status *status)
{
    void *p = *status == OP_OK ? memory->take(memory->context, bytes ? bytes : 16) : NULL;
    if (*status == OP_OK && !p)
        *status = OP_ENOMEM;
    return p;
}

const void *rgcn_send(const void *from, size_t bytes, const struct op_memory *memory, op_stream s,
                      enum op_status *status)
{
    void *to = rgcn_take(bytes, memory, status);
    if (*status == OP_OK && bytes &&
        (cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, s) || cudaStreamSynchronize(s)))
        *status = OP_EDEVICE;
    return *status == OP_OK ? to : NULL;
}

/* ---- set-up ---- */

void rgcn_gather_teardown(void *state)
{
    struct state *v = state;
    if (!v)
        return;
    if (v->handle)
        cublasDestroy(v->handle);
    free(v->order);
    free(v->base);
    free(v->size);
    free(v->group);
    free(v);
}

struct sized {
    int32_t size, relation;
};

static int by_size(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return (x->relation > y->relation) - (x->relation < y->relation);
}

static void make_groups(struct state *v)
{
    for (int i = 0; i < v->relations; i++) {
        const int n = v->size[v->order[i]];
        struct group *g = v->groups ? &v->group[v->groups - 1] : NULL;
        if (!g || 1 - (double)n / g->rows > EPSILON) {
            g = &v->group[v->groups++];
            *g = (struct group){ .first = i, .rows = n };
        }
        g->count++;
        g->batched = g->count > 1 && g->rows < THRESHOLD;
    }
    for (int i = 0; i < v->groups; i++)
        for (int k = v->group[i].first; k < v->group[i].first + v->group[i].count; k++) {
            v->base[v->order[k]] = (int32_t)v->slots;
            v->slots += v->group[i].batched ? v->group[i].rows : v->size[v->order[k]];
        }
}

static enum op_status order_relations(const struct rgcn_problem *p, const struct rgcn_graph *host,
                                      struct state *v)
{
    const size_t all = (size_t)p->relations;
    struct sized *list = malloc(all * sizeof *list);
    v->order = malloc(all * sizeof *v->order);
    v->base = malloc(all * sizeof *v->base);
    v->size = malloc(all * sizeof *v->size);
    v->group = malloc(all * sizeof *v->group);
    if (!list || !v->order || !v->base || !v->size || !v->group) {
        free(list);
        return OP_ENOMEM;
    }
    for (int r = 0; r < p->relations; r++) {
        v->size[r] = host->start[r + 1] - host->start[r];
        if (v->size[r])
            list[v->relations++] = (struct sized){ v->size[r], r };
    }
    qsort(list, (size_t)v->relations, sizeof *list, by_size);
    for (int i = 0; i < v->relations; i++)
        v->order[i] = list[i].relation;
    free(list);
    make_groups(v);
    return v->slots < INT32_MAX ? OP_OK : OP_EUNSUPPORTED;
}

/* Slots of all edges, by source for the gather and by target for the scatter. */
static enum op_status make_slots(const struct rgcn_problem *p, const struct rgcn_graph *host,
                                 const struct op_memory *memory, op_stream s, struct state *v)
{
    int32_t *slot = malloc((size_t)p->edges * sizeof *slot);
    enum op_status status = slot ? OP_OK : OP_ENOMEM;
    for (int r = 0; r < p->relations && status == OP_OK; r++)
        for (int e = host->start[r]; e < host->start[r + 1]; e++)
            slot[e] = v->base[r] + e - host->start[r];
    if (status == OP_OK)
        status = rgcn_sums_of(p->nodes, (int)p->edges, host->src, slot, host->norm, memory, s,
                              &v->gather);
    if (status == OP_OK)
        status = rgcn_sums_of(p->nodes, (int)p->edges, host->dst, slot, NULL, memory, s,
                              &v->scatter);
    free(slot);
    return status;
}

static enum op_status make_pointers(const struct rgcn_layer *l, const struct op_memory *memory,
                                    op_stream s, const struct state *v, const void ***out)
{
    const size_t n = (size_t)v->relations, bytes = 3 * n * sizeof **out;
    const void **host = malloc(bytes);
    enum op_status status = host ? OP_OK : OP_ENOMEM;
    for (size_t i = 0; host && i < n; i++) {
        const size_t r = (size_t)v->order[i], base = (size_t)v->base[r];
        host[i] = v->gathered + base * (size_t)l->in;
        host[n + i] = l->w + r * (size_t)(l->in * l->out);
        host[2 * n + i] = v->products + base * (size_t)l->out;
    }
    *out = (const void **)rgcn_send(host, bytes, memory, s, &status);
    free(host);
    return status;
}

static enum op_status open_handle(struct state *v, void *workspace, op_stream s)
{
    cublasStatus_t status = cublasCreate(&v->handle);
    if (!status)
        status = cublasSetStream(v->handle, s); /* before the workspace, which it resets */
    if (!status)
        status = cublasSetWorkspace(v->handle, workspace, WORKSPACE);
    return status ? OP_EDEVICE : OP_OK;
}

static enum op_status make_all(const struct rgcn_problem *p, const struct rgcn_graph *host,
                               const struct rgcn_args *a, const struct op_memory *memory,
                               op_stream s, struct state *v)
{
    const int in = p->in > p->hidden ? p->in : p->hidden;
    const int out = p->hidden > p->out ? p->hidden : p->out;
    enum op_status status = order_relations(p, host, v);
    void *workspace = rgcn_take(WORKSPACE, memory, &status);
    if (status == OP_OK)
        status = open_handle(v, workspace, s);
    if (status == OP_OK)
        status = make_slots(p, host, memory, s, v);
    v->hidden = rgcn_take((size_t)p->nodes * (size_t)p->hidden * 4, memory, &status);
    v->gathered = rgcn_take((size_t)v->slots * (size_t)in * 4, memory, &status);
    v->products = rgcn_take((size_t)v->slots * (size_t)out * 4, memory, &status);
    for (int i = 0; i < 2 && status == OP_OK; i++) {
        const struct rgcn_layer l = rgcn_layer_of(p, a, v->hidden, i);
        status = make_pointers(&l, memory, s, v, &v->pointers[i]);
    }
    return status;
}

enum op_status rgcn_gather_grouped_setup(const struct rgcn_problem *p,
                                         const struct rgcn_graph *host, const struct rgcn_args *a,
                                         const struct op_memory *memory, op_stream s, void **state)
{
    enum op_status status = rgcn_check(p);
    struct state *v = status == OP_OK ? calloc(1, sizeof *v) : NULL;
    *state = NULL;
    if (!v)
        return status == OP_OK ? OP_ENOMEM : status;
    status = make_all(p, host, a, memory, s, v);
    if (status != OP_OK) {
        rgcn_gather_teardown(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

/* ---- runs ---- */

static cublasStatus_t product_group(const struct state *v, const struct rgcn_layer *l,
                                    const struct group *g, const void **at)
{
    const float one = 1, zero = 0;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (g->batched)
        return cublasGemmBatchedEx(v->handle, CUBLAS_OP_N, CUBLAS_OP_N, l->out, g->rows, l->in,
                                   &one, at + v->relations + g->first, CUDA_R_32F, l->out,
                                   at + g->first, CUDA_R_32F, l->in, &zero,
                                   (void *const *)(at + 2 * v->relations + g->first), CUDA_R_32F,
                                   l->out, g->count, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    for (int i = g->first; i < g->first + g->count && !status; i++) {
        const size_t r = (size_t)v->order[i], base = (size_t)v->base[r];
        status = cublasGemmEx(v->handle, CUBLAS_OP_N, CUBLAS_OP_N, l->out, v->size[r], l->in, &one,
                              l->w + r * (size_t)(l->in * l->out), CUDA_R_32F, l->out,
                              v->gathered + base * (size_t)l->in, CUDA_R_32F, l->in, &zero,
                              v->products + base * (size_t)l->out, CUDA_R_32F, l->out,
                              CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    }
    return status;
}

enum op_status rgcn_gather_grouped(const struct rgcn_problem *p, const struct rgcn_args *a,
                                   void *state, op_stream s)
{
    const struct state *v = state;
    enum op_status status = OP_OK;
    for (int i = 0; i < 2 && status == OP_OK; i++) {
        const struct rgcn_layer l = rgcn_layer_of(p, a, v->hidden, i);
        status = rgcn_spread_run(&v->gather, l.in, l.x, l.relu, v->gathered, s);
        for (int g = 0; g < v->groups && status == OP_OK; g++)
            if (product_group(v, &l, &v->group[g], v->pointers[i]))
                status = OP_EDEVICE;
        if (status == OP_OK)
            status = rgcn_sums_run(&v->scatter, l.out, v->products, l.y, s);
    }
    return status;
}

void rgcn_gather_counts(const struct rgcn_problem *p, const void *state,
                        struct rgcn_counts *counts)
{
    const struct state *v = state;
    counts->rows = 2 * (double)v->slots;
    counts->extra_bytes = 8 * (double)v->slots * (p->in + 2.0 * p->hidden + p->out);
}
