/* gnn_adjacency.c - the sparse matrix that a model aggregates with, from a graph. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "../../harness/error.h"
#include "gnn_part.h"

void adjacency_free(struct adjacency *a)
{
    free(a->row_ptr);
    free(a->col);
    free(a->row);
    free(a->val);
    *a = (struct adjacency){ 0 };
}

static int allocate(struct adjacency *a, int nodes, long nnz)
{
    const size_t entries = nnz ? (size_t)nnz : 1;
    a->nodes = nodes;
    a->nnz = nnz;
    if (!a->row_ptr)
        a->row_ptr = malloc(((size_t)nodes + 1) * sizeof *a->row_ptr);
    a->col = malloc(entries * sizeof *a->col);
    a->row = malloc(entries * sizeof *a->row);
    a->val = malloc(entries * sizeof *a->val);
    return a->row_ptr && a->col && a->row && a->val
               ? 0
               : cb_error("no memory for a matrix of %ld entries", nnz);
}

static bool has_loop(const struct matrix *g, int i)
{
    for (int e = g->row_ptr[i]; e < g->row_ptr[i + 1]; e++)
        if (g->col[e] == i)
            return true;
    return false;
}

/* Row i of A's pattern, with the loop in its place if `loop` says that it is to be added. */
static void fill_row(const struct matrix *g, int i, bool loop, struct adjacency *a)
{
    long at = a->row_ptr[i];
    for (int e = g->row_ptr[i]; e < g->row_ptr[i + 1]; e++) {
        if (loop && g->col[e] > i) {
            a->col[at++] = i;
            loop = false;
        }
        a->col[at++] = g->col[e];
    }
    if (loop)
        a->col[at] = i;
    for (long e = a->row_ptr[i]; e < a->row_ptr[i + 1]; e++)
        a->row[e] = i;
}

static int pattern_of(const struct matrix *g, bool loops, struct adjacency *a)
{
    long nnz = 0;
    a->row_ptr = malloc(((size_t)g->rows + 1) * sizeof *a->row_ptr);
    if (!a->row_ptr)
        return cb_error("no memory for %d nodes", g->rows);
    a->row_ptr[0] = 0;
#pragma omp parallel for schedule(static, 1024)
    for (int i = 0; i < g->rows; i++)
        a->row_ptr[i + 1] = g->row_ptr[i + 1] - g->row_ptr[i] + (loops && !has_loop(g, i));
    for (int i = 0; i < g->rows; i++) {
        nnz += a->row_ptr[i + 1];
        if (nnz > INT_MAX)
            return cb_error("%s: more than %d edges", g->name, INT_MAX);
        a->row_ptr[i + 1] = (int)nnz;
    }
    if (allocate(a, g->rows, nnz))
        return -1;
#pragma omp parallel for schedule(dynamic, 1024)
    for (int i = 0; i < g->rows; i++)
        fill_row(g, i, loops && !has_loop(g, i), a);
    return 0;
}

/* 1 / sqrt(d_in d_out), d_out counted by columns. */
static int normalise(struct adjacency *a)
{
    int *d_out = calloc((size_t)a->nodes, sizeof *d_out);
    if (!d_out)
        return cb_error("no memory for %d nodes", a->nodes);
#pragma omp parallel for schedule(static)
    for (long e = 0; e < a->nnz; e++) {
#pragma omp atomic
        d_out[a->col[e]]++;
    }
#pragma omp parallel for schedule(static)
    for (long e = 0; e < a->nnz; e++) {
        const int i = a->row[e];
        const double d_in = a->row_ptr[i + 1] - a->row_ptr[i];
        a->val[e] = (float)(1 / sqrt(d_in * d_out[a->col[e]]));
    }
    free(d_out);
    return 0;
}

/* GIN adds the node itself once more than the graph does. */
static void weigh(const struct matrix *g, enum gnn_model model, struct adjacency *a)
{
#pragma omp parallel for schedule(dynamic, 1024)
    for (int i = 0; i < a->nodes; i++) {
        const int length = a->row_ptr[i + 1] - a->row_ptr[i];
        const bool twice = model == GNN_GIN && has_loop(g, i);
        for (long e = a->row_ptr[i]; e < a->row_ptr[i + 1]; e++)
            a->val[e] = model == GNN_SAGE ? 1.0f / (float)length : twice && a->col[e] == i ? 2 : 1;
    }
}

int adjacency_of(const struct matrix *graph, enum gnn_model model, struct adjacency *out)
{
    *out = (struct adjacency){ 0 };
    if (graph->rows != graph->cols)
        return cb_error("%s: %d x %d is not a graph", graph->name, graph->rows, graph->cols);
    int status = pattern_of(graph, model != GNN_SAGE, out);
    if (!status && model == GNN_GCN)
        status = normalise(out);
    else if (!status)
        weigh(graph, model, out);
    if (status)
        adjacency_free(out);
    return status;
}

/* Every thread scans all entries and keeps those of its own columns: rows of the result come out
 * in order without sorting, for any number of threads. */
static void scatter(const struct adjacency *a, int low, int high, int *next, struct adjacency *t)
{
    for (long e = 0; e < a->nnz; e++) {
        const int j = a->col[e];
        if (j < low || j >= high)
            continue;
        const int at = next[j]++;
        t->col[at] = a->row[e];
        t->row[at] = j;
        t->val[at] = a->val[e];
    }
}

int adjacency_transpose(const struct adjacency *a, struct adjacency *out)
{
    int *next = calloc((size_t)a->nodes + 1, sizeof *next);
    struct adjacency t = { 0 };
    *out = t;
    if (!next || allocate(&t, a->nodes, a->nnz)) {
        free(next);
        adjacency_free(&t);
        return cb_error("no memory for the transpose of %ld entries", a->nnz);
    }
#pragma omp parallel for schedule(static)
    for (long e = 0; e < a->nnz; e++) {
#pragma omp atomic
        next[a->col[e]]++;
    }
    t.row_ptr[0] = 0;
    for (int j = 0; j < a->nodes; j++) {
        t.row_ptr[j + 1] = t.row_ptr[j] + next[j];
        next[j] = t.row_ptr[j];
    }
#pragma omp parallel
    {
#ifdef _OPENMP
        const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
#else
        const long thread = 0, threads = 1;
#endif
        scatter(a, (int)(a->nodes * thread / threads), (int)(a->nodes * (thread + 1) / threads),
                next, &t);
    }
    free(next);
    *out = t;
    return 0;
}

bool adjacency_equal(const struct adjacency *a, const struct adjacency *b)
{
    return a->nodes == b->nodes && a->nnz == b->nnz &&
           !memcmp(a->row_ptr, b->row_ptr, ((size_t)a->nodes + 1) * sizeof *a->row_ptr) &&
           !memcmp(a->col, b->col, (size_t)a->nnz * sizeof *a->col) &&
           !memcmp(a->val, b->val, (size_t)a->nnz * sizeof *a->val);
}
