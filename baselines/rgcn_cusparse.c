/*
 * rgcn_cusparse.c - relational graph convolution of nothing but calls to cuBLAS and cuSPARSE.
 *
 * A layer that does not narrow sums first, the others multiply first:
 *
 *   by relation   Z = A_r X, Y += Z W_r      or   M = X W_r, Y += A_r M; all nodes each time
 *   stacked       Z [nodes][relations in] = S X, Y = Z W
 *                 or M [relations][nodes][out] = X W_r in one batch, Y = S M
 *   compact       the pairs of relation and target: Z = S X, P_r = Z_r W_r, Y = G P
 *                 or of relation and source: R = S X, M_r = R_r W_r, Y = G M;
 *                 S and G are sparse, so that both are cusparseSpMM
 *
 * Matrices and descriptors belong to set-up.
 */
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>
#include <cusparse.h>

#include "../kernels/gnn/gnn.h"
#include "../kernels/rgcn/sums.h"
#include "rgcn_cublas.h"

enum form { RELATION_CSR, RELATION_COO, STACKED, COMPACT };

/* C (+)= A B, B [A's columns][width]. */
struct sparse {
    cusparseConstSpMatDescr_t a;
    cusparseConstDnMatDescr_t b;
    cusparseDnMatDescr_t c;
    cusparseSpMMAlg_t algorithm;
    float add; /* beta: 0 or 1 */
    void *buffer;
};

struct layer {
    int product_first;
    struct sparse *product; /* [count] a relation each; stacked: one; compact: two */
    int count;
    float *rows, *products; /* buffers; products: compact only */
    int32_t *first;         /* compact: [relations+1] rows of each relation */
};

struct state {
    enum form form;
    cusparseHandle_t sparse;
    struct gnn_dense *dense;
    int32_t *start;    /* [relations+1] edges */
    struct layer layer[2];
    float *hidden;
    double rows;       /* multiplied by weights */
};

static enum op_status status_of(cusparseStatus_t s)
{
    switch (s) {
    case CUSPARSE_STATUS_SUCCESS: return OP_OK;
    case CUSPARSE_STATUS_NOT_SUPPORTED: return OP_EUNSUPPORTED;
    case CUSPARSE_STATUS_ALLOC_FAILED:
    case CUSPARSE_STATUS_INSUFFICIENT_RESOURCES: return OP_ENOMEM;
    default: return OP_EDEVICE;
    }
}

/* ---- sparse products ---- */

/* A matrix on the device: CSR where row_ptr is not NULL, else COO with entries by row. */
struct matrix {
    long rows, columns, nnz;
    const void *row_ptr, *row, *column, *value;
};

static const float one = 1;
static const cusparseOperation_t PLAIN = CUSPARSE_OPERATION_NON_TRANSPOSE;

static cusparseStatus_t describe(const struct matrix *m, int width, const float *from, float *to,
                                 struct sparse *t)
{
    cusparseStatus_t status;
    t->algorithm = m->row_ptr ? CUSPARSE_SPMM_CSR_ALG2 : CUSPARSE_SPMM_COO_ALG4;
    if (m->row_ptr)
        status = cusparseCreateConstCsr(&t->a, m->rows, m->columns, m->nnz, m->row_ptr, m->column,
                                        m->value, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I,
                                        CUSPARSE_INDEX_BASE_ZERO, CUDA_R_32F);
    else
        status = cusparseCreateConstCoo(&t->a, m->rows, m->columns, m->nnz, m->row, m->column,
                                        m->value, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO,
                                        CUDA_R_32F);
    if (!status)
        status = cusparseCreateConstDnMat(&t->b, m->columns, width, width, from, CUDA_R_32F,
                                          CUSPARSE_ORDER_ROW);
    if (!status)
        status = cusparseCreateDnMat(&t->c, m->rows, width, width, to, CUDA_R_32F,
                                     CUSPARSE_ORDER_ROW);
    return status;
}

static enum op_status sparse_open(const struct state *v, const struct matrix *m, int width,
                                  const float *from, float *to, int add,
                                  const struct op_memory *memory, struct sparse *t)
{
    size_t bytes = 0;
    t->add = (float)add;
    enum op_status status = status_of(describe(m, width, from, to, t));
    if (status == OP_OK)
        status = status_of(cusparseSpMM_bufferSize(v->sparse, PLAIN, PLAIN, &one, t->a, t->b,
                                                   &t->add, t->c, CUDA_R_32F, t->algorithm,
                                                   &bytes));
    t->buffer = rgcn_take(bytes, memory, &status);
    return status;
}

static void sparse_close(struct sparse *t)
{
    if (t->a)
        cusparseDestroySpMat(t->a);
    if (t->b)
        cusparseDestroyDnMat(t->b);
    if (t->c)
        cusparseDestroyDnMat(t->c);
}

static enum op_status sparse_run(const struct state *v, const struct sparse *t)
{
    return status_of(cusparseSpMM(v->sparse, PLAIN, PLAIN, &one, t->a, t->b, &t->add, t->c,
                                  CUDA_R_32F, t->algorithm, t->buffer));
}

/* ---- by relation ---- */

/* What set-up reads; the status of its first failure. */
struct making {
    const struct rgcn_problem *p;
    const struct rgcn_graph *host;
    const struct op_memory *memory;
    op_stream s;
    enum op_status status;
};

static const void *send(struct making *m, const void *from, size_t count)
{
    return rgcn_send(from, count * 4, m->memory, m->s, &m->status);
}

/* Relation r alone, [nodes][nodes]; its arrays are copies that begin aligned. */
static struct matrix relation_matrix(struct making *m, enum form form, int r)
{
    const int first = m->host->start[r], n = m->host->start[r + 1] - first;
    const int nodes = m->p->nodes;
    struct matrix a = { nodes, nodes, n, NULL, NULL, NULL, NULL };
    a.column = send(m, m->host->src + first, (size_t)n);
    a.value = send(m, m->host->norm + first, (size_t)n);
    if (form == RELATION_COO) {
        a.row = send(m, m->host->dst + first, (size_t)n);
        return a;
    }
    int32_t *ptr = calloc((size_t)nodes + 1, sizeof *ptr);
    if (!ptr)
        m->status = OP_ENOMEM;
    for (int e = first; ptr && e < first + n; e++)
        ptr[m->host->dst[e] + 1]++;
    for (int i = 0; ptr && i < nodes; i++)
        ptr[i + 1] += ptr[i];
    a.row_ptr = send(m, ptr, (size_t)nodes + 1);
    free(ptr);
    return a;
}

static void make_relations(struct making *m, struct state *v, const struct matrix *matrix,
                           const struct rgcn_layer *op, struct layer *l)
{
    l->count = m->p->relations;
    l->product = calloc((size_t)l->count, sizeof *l->product);
    l->rows = rgcn_take((size_t)m->p->nodes * (size_t)(l->product_first ? op->out : op->in) * 4,
                        m->memory, &m->status);
    if (!l->product)
        m->status = OP_ENOMEM;
    for (int r = 0; r < l->count && m->status == OP_OK; r++) {
        if (!matrix[r].nnz)
            continue;
        v->rows += m->p->nodes;
        m->status = l->product_first
                        ? sparse_open(v, &matrix[r], op->out, l->rows, op->y, 1, m->memory,
                                      &l->product[r])
                        : sparse_open(v, &matrix[r], op->in, op->x, l->rows, 0, m->memory,
                                      &l->product[r]);
    }
}

static enum op_status run_relations(const struct state *v, const struct rgcn_problem *p,
                                    const struct rgcn_layer *op, const struct layer *l,
                                    op_stream s)
{
    enum op_status status = OP_OK;
    if (cudaMemsetAsync(op->y, 0, (size_t)p->nodes * (size_t)op->out * 4, s))
        return OP_EDEVICE;
    for (int r = 0; r < l->count && status == OP_OK; r++) {
        const float *w = op->w + (size_t)r * (size_t)(op->in * op->out);
        if (v->start[r + 1] == v->start[r])
            continue;
        if (l->product_first)
            status = gnn_dense_product(v->dense, 4, 0, 0, p->nodes, op->out, op->in, op->x, w, 0,
                                       l->rows);
        if (status == OP_OK)
            status = sparse_run(v, &l->product[r]);
        if (status == OP_OK && !l->product_first)
            status = gnn_dense_product(v->dense, 4, 0, 0, p->nodes, op->out, op->in, l->rows, w, 1,
                                       op->y);
    }
    return status;
}

/* ---- stacked ---- */

/* Entries by target, then by relation: row and column, of which one is that of a stack. */
static struct matrix stacked_matrix(struct making *m, int product_first)
{
    const struct rgcn_problem *p = m->p;
    const long stack = (long)p->nodes * p->relations;
    const size_t edges = (size_t)p->edges;
    struct matrix a = { product_first ? p->nodes : stack, product_first ? stack : p->nodes,
                        p->edges, NULL, NULL, NULL, NULL };
    int32_t *row_ptr = NULL, *item = NULL, *relation = malloc(edges * 4);
    int32_t *row = malloc(edges * 4), *column = malloc(edges * 4);
    float *value = malloc(edges * 4);
    if (!relation || !row || !column || !value ||
        rgcn_rows(p->nodes, (int)p->edges, m->host->dst, &row_ptr, &item) != OP_OK)
        m->status = OP_ENOMEM;
    for (int r = 0; r < p->relations && m->status == OP_OK; r++)
        for (int e = m->host->start[r]; e < m->host->start[r + 1]; e++)
            relation[e] = r;
    for (size_t k = 0; k < edges && m->status == OP_OK; k++) {
        const int e = item[k], r = relation[e];
        row[k] = product_first ? m->host->dst[e] : m->host->dst[e] * p->relations + r;
        column[k] = product_first ? r * p->nodes + m->host->src[e] : m->host->src[e];
        value[k] = m->host->norm[e];
    }
    a.row = product_first ? NULL : send(m, row, edges);
    a.row_ptr = product_first ? send(m, row_ptr, (size_t)p->nodes + 1) : NULL;
    a.column = send(m, column, edges);
    a.value = send(m, value, edges);
    free(row_ptr);
    free(item);
    free(relation);
    free(row);
    free(column);
    free(value);
    return a;
}

static void make_stacked(struct making *m, struct state *v, const struct rgcn_layer *op,
                         struct layer *l)
{
    const int width = l->product_first ? op->out : op->in;
    const struct matrix a = stacked_matrix(m, l->product_first);
    l->count = 1;
    l->product = calloc(1, sizeof *l->product);
    if (!l->product)
        m->status = OP_ENOMEM;
    l->rows = rgcn_take((size_t)m->p->nodes * (size_t)m->p->relations * (size_t)width * 4,
                        m->memory, &m->status);
    v->rows += (double)m->p->nodes * m->p->relations;
    if (m->status == OP_OK)
        m->status = l->product_first
                        ? sparse_open(v, &a, width, l->rows, op->y, 0, m->memory, l->product)
                        : sparse_open(v, &a, width, op->x, l->rows, 0, m->memory, l->product);
}

static enum op_status run_stacked(const struct state *v, const struct rgcn_problem *p,
                                  const struct rgcn_layer *op, const struct layer *l)
{
    enum op_status status;
    if (l->product_first) {
        status = gnn_dense_batch(v->dense, p->relations, p->nodes, op->out, op->in, op->x, op->w,
                                 l->rows);
        return status == OP_OK ? sparse_run(v, l->product) : status;
    }
    status = sparse_run(v, l->product);
    if (status != OP_OK)
        return status;
    return gnn_dense_product(v->dense, 4, 0, 0, p->nodes, op->out, p->relations * op->in, l->rows,
                             op->w, 0, op->y);
}

/* ---- compact ---- */

static void fill_ones(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 1;
}

/* Rows of a layer's pairs from those of its input: sums over edges, or copies. */
static struct matrix into_pairs(struct making *m, const struct rgcn_pairs *pairs,
                                int product_first)
{
    const size_t n = (size_t)pairs->count;
    struct matrix a = { pairs->count, m->p->nodes, product_first ? pairs->count : m->p->edges,
                        NULL, NULL, NULL, NULL };
    if (!product_first) {
        a.row_ptr = send(m, pairs->edge, n + 1);
        a.column = send(m, m->host->src, (size_t)m->p->edges);
        a.value = send(m, m->host->norm, (size_t)m->p->edges);
        return a;
    }
    int32_t *ptr = malloc((n + 1) * sizeof *ptr);
    float *ones = malloc(n * sizeof *ones);
    if (ptr && ones) {
        for (size_t i = 0; i <= n; i++)
            ptr[i] = (int32_t)i;
        fill_ones(ones, n);
        a.row_ptr = send(m, ptr, n + 1);
        a.column = send(m, pairs->node, n);
        a.value = send(m, ones, n);
    } else {
        m->status = OP_ENOMEM;
    }
    free(ptr);
    free(ones);
    return a;
}

/* Rows of nodes from those of pairs: all of a target, or one, scaled, for each edge. */
static struct matrix onto_nodes(struct making *m, const struct rgcn_pairs *pairs,
                                int product_first)
{
    const int items = product_first ? (int)m->p->edges : pairs->count;
    struct matrix a = { m->p->nodes, pairs->count, items, NULL, NULL, NULL, NULL };
    int32_t *ptr = NULL, *item = NULL, *column = malloc((size_t)items * 4);
    float *value = malloc((size_t)items * 4);
    if (!column || !value ||
        rgcn_rows(m->p->nodes, items, product_first ? m->host->dst : pairs->node, &ptr, &item) !=
            OP_OK)
        m->status = OP_ENOMEM;
    for (int k = 0; k < items && m->status == OP_OK; k++) {
        column[k] = product_first ? pairs->of[item[k]] : item[k];
        value[k] = product_first ? m->host->norm[item[k]] : 1;
    }
    a.row_ptr = send(m, ptr, (size_t)m->p->nodes + 1);
    a.column = send(m, column, (size_t)items);
    a.value = send(m, value, (size_t)items);
    free(ptr);
    free(item);
    free(column);
    free(value);
    return a;
}

static void make_compact(struct making *m, struct state *v, const struct rgcn_layer *op,
                         struct layer *l)
{
    struct rgcn_pairs pairs = { 0 };
    m->status = (l->product_first ? rgcn_sources : rgcn_targets)(m->p, m->host, &pairs);
    if (m->status != OP_OK)
        return;
    const struct matrix in = into_pairs(m, &pairs, l->product_first);
    const struct matrix out = onto_nodes(m, &pairs, l->product_first);
    l->count = 2;
    l->product = calloc(2, sizeof *l->product);
    if (!l->product)
        m->status = OP_ENOMEM;
    l->rows = rgcn_take((size_t)pairs.count * (size_t)op->in * 4, m->memory, &m->status);
    l->products = rgcn_take((size_t)pairs.count * (size_t)op->out * 4, m->memory, &m->status);
    v->rows += pairs.count;
    if (m->status == OP_OK)
        m->status = sparse_open(v, &in, op->in, op->x, l->rows, 0, m->memory, l->product);
    if (m->status == OP_OK)
        m->status = sparse_open(v, &out, op->out, l->products, op->y, 0, m->memory,
                                l->product + 1);
    l->first = pairs.first; /* kept */
    pairs.first = NULL;
    rgcn_pairs_free(&pairs);
}

static enum op_status run_compact(const struct state *v, const struct rgcn_problem *p,
                                  const struct rgcn_layer *op, const struct layer *l)
{
    enum op_status status = sparse_run(v, l->product);
    for (int r = 0; r < p->relations && status == OP_OK; r++) {
        const size_t first = (size_t)l->first[r];
        const int rows = l->first[r + 1] - l->first[r];
        if (rows)
            status = gnn_dense_product(v->dense, 4, 0, 0, rows, op->out, op->in,
                                       l->rows + first * (size_t)op->in,
                                       op->w + (size_t)r * (size_t)(op->in * op->out), 0,
                                       l->products + first * (size_t)op->out);
    }
    return status == OP_OK ? sparse_run(v, l->product + 1) : status;
}

/* ---- all of it ---- */

void rgcn_cusparse_teardown(void *state)
{
    struct state *v = state;
    if (!v)
        return;
    for (int i = 0; i < 2; i++) {
        for (int k = 0; v->layer[i].product && k < v->layer[i].count; k++)
            sparse_close(&v->layer[i].product[k]);
        free(v->layer[i].product);
        free(v->layer[i].first);
    }
    gnn_dense_close(v->dense);
    if (v->sparse)
        cusparseDestroy(v->sparse);
    free(v->start);
    free(v);
}

static void make_layers(struct making *m, const struct rgcn_args *a, struct state *v)
{
    const int by_relation = v->form <= RELATION_COO;
    struct matrix *matrix = calloc((size_t)m->p->relations, sizeof *matrix);
    if (!matrix)
        m->status = OP_ENOMEM;
    for (int r = 0; by_relation && r < m->p->relations && m->status == OP_OK; r++)
        matrix[r] = relation_matrix(m, v->form, r);
    for (int i = 0; i < 2 && m->status == OP_OK; i++) {
        const struct rgcn_layer op = rgcn_layer_of(m->p, a, v->hidden, i);
        v->layer[i].product_first = op.in > op.out;
        if (by_relation)
            make_relations(m, v, matrix, &op, &v->layer[i]);
        else
            (v->form == STACKED ? make_stacked : make_compact)(m, v, &op, &v->layer[i]);
    }
    free(matrix);
}

static enum op_status setup(const struct rgcn_problem *p, const struct rgcn_graph *host,
                            const struct rgcn_args *a, enum form form,
                            const struct op_memory *memory, op_stream s, void **state)
{
    struct making m = { p, host, memory, s, rgcn_check(p) };
    struct state *v = m.status == OP_OK ? calloc(1, sizeof *v) : NULL;
    const size_t starts = ((size_t)p->relations + 1) * sizeof *v->start;
    *state = NULL;
    if (!v)
        return m.status == OP_OK ? OP_ENOMEM : m.status;
    v->form = form;
    v->start = malloc(starts);
    v->dense = gnn_dense_open(memory, s);
    if (!v->start)
        m.status = OP_ENOMEM;
    else if (!v->dense || cusparseCreate(&v->sparse) || cusparseSetStream(v->sparse, s))
        m.status = OP_EDEVICE;
    else
        memcpy(v->start, host->start, starts);
    v->hidden = rgcn_take((size_t)p->nodes * (size_t)p->hidden * 4, memory, &m.status);
    if (m.status == OP_OK)
        make_layers(&m, a, v);
    if (m.status == OP_OK && cudaStreamSynchronize(s))
        m.status = OP_EDEVICE;
    if (m.status != OP_OK) {
        rgcn_cusparse_teardown(v);
        return m.status;
    }
    *state = v;
    return OP_OK;
}

#define SETUP(name, form)                                                                      \
    enum op_status name(const struct rgcn_problem *p, const struct rgcn_graph *host,           \
                        const struct rgcn_args *a, const struct op_memory *m, op_stream s,     \
                        void **state)                                                          \
    {                                                                                          \
        return setup(p, host, a, form, m, s, state);                                           \
    }
SETUP(rgcn_relation_csr_setup, RELATION_CSR)
SETUP(rgcn_relation_coo_setup, RELATION_COO)
SETUP(rgcn_stacked_setup, STACKED)
SETUP(rgcn_compact_setup, COMPACT)
#undef SETUP

enum op_status rgcn_cusparse(const struct rgcn_problem *p, const struct rgcn_args *a, void *state,
                             op_stream s)
{
    const struct state *v = state;
    enum op_status status = OP_OK;
    for (int i = 0; i < 2 && status == OP_OK; i++) {
        const struct rgcn_layer op = rgcn_layer_of(p, a, v->hidden, i);
        const struct layer *l = &v->layer[i];
        if (op.relu)
            status = rgcn_relu((size_t)p->nodes * (size_t)op.in, v->hidden, s);
        if (status == OP_OK)
            status = v->form <= RELATION_COO ? run_relations(v, p, &op, l, s)
                     : v->form == STACKED    ? run_stacked(v, p, &op, l)
                                             : run_compact(v, p, &op, l);
    }
    return status;
}

void rgcn_cusparse_counts(const struct rgcn_problem *p, const void *state,
                          struct rgcn_counts *counts)
{
    const struct state *v = state;
    counts->rows = v->rows;
    counts->extra_bytes = 0;
    for (int i = 0; i < 2; i++) {
        const double in = i ? p->hidden : p->in, out = i ? p->out : p->hidden;
        counts->extra_bytes += v->form == COMPACT ? 4 * v->rows * (in + out)
                                                  : 4 * v->rows * (in > out ? out : in);
    }
}
