/*
 * ref.c - relational graph convolution by its definition, in double on the host.
 *
 * Target by target: the mean of a relation's neighbours, times that relation's weights.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../common/bound.h"
#include "rgcn.h"

/* Of one layer: results, and how far a float may lie from each. */
struct ref_layer {
    int in, out;
    const double *x, *error; /* [nodes][in]; error NULL: 0 */
    const float *w;
    double *y, *bound;       /* [nodes][out] */
};

/* Edges by target, ascending: relation by relation. */
struct ref_rows {
    int32_t *row_ptr, *edge;
    int32_t *relation; /* [edges] */
};

/* Sums of c x, of c |x| and of c error over the edges of one relation, at edge[0 .. n - 1]. */
static void gather(const struct rgcn_graph *g, const struct ref_layer *l, const int32_t *edge,
                   int n, double *sum, double *size, double *error)
{
    for (int j = 0; j < l->in; j++)
        sum[j] = size[j] = error[j] = 0;
    for (int e = 0; e < n; e++) {
        const double c = (double)g->norm[edge[e]];
        const size_t at = (size_t)g->src[edge[e]] * (size_t)l->in;
        for (int j = 0; j < l->in; j++) {
            sum[j] += c * l->x[at + j];
            size[j] += fabs(c * l->x[at + j]);
            error[j] += l->error ? fabs(c) * l->error[at + j] : 0;
        }
    }
}

static void one_node(const struct rgcn_graph *g, const struct ref_rows *rows,
                     const struct ref_layer *l, int node)
{
    double sum[RGCN_WIDTH_MAX], size[RGCN_WIDTH_MAX], error[RGCN_WIDTH_MAX];
    double magnitude[RGCN_WIDTH_MAX] = { 0 }, carried[RGCN_WIDTH_MAX] = { 0 };
    double *y = l->y + (size_t)node * (size_t)l->out, *bound = l->bound + (y - l->y);
    int terms = 0;
    memset(y, 0, (size_t)l->out * sizeof *y);
    for (int at = rows->row_ptr[node], past; at < rows->row_ptr[node + 1]; at = past) {
        const int r = rows->relation[rows->edge[at]];
        const float *w = l->w + (size_t)r * (size_t)(l->in * l->out);
        past = at + 1;
        while (past < rows->row_ptr[node + 1] && rows->relation[rows->edge[past]] == r)
            past++;
        gather(g, l, rows->edge + at, past - at, sum, size, error);
        for (int i = 0; i < l->in; i++)
            for (int j = 0; j < l->out; j++) {
                const double v = w[(size_t)i * (size_t)l->out + j];
                y[j] += sum[i] * v;
                magnitude[j] += size[i] * fabs(v);
                carried[j] += error[i] * fabs(v);
            }
        terms += past - at + l->in;
    }
    for (int j = 0; j < l->out; j++)
        bound[j] = (double)bound_of_sum(0, terms, y[j], magnitude[j]) + carried[j];
}

static void run_layer(const struct rgcn_problem *p, const struct rgcn_graph *g,
                      const struct ref_rows *rows, const struct ref_layer *l)
{
#pragma omp parallel for schedule(dynamic, 64)
    for (int i = 0; i < p->nodes; i++)
        one_node(g, rows, l, i);
}

static enum op_status rows_open(const struct rgcn_problem *p, const struct rgcn_graph *g,
                                struct ref_rows *rows)
{
    rows->relation = malloc((size_t)p->edges * sizeof *rows->relation);
    if (!rows->relation)
        return OP_ENOMEM;
    for (int r = 0; r < p->relations; r++)
        for (int e = g->start[r]; e < g->start[r + 1]; e++)
            rows->relation[e] = r;
    return rgcn_rows(p->nodes, (int)p->edges, g->dst, &rows->row_ptr, &rows->edge);
}

enum op_status rgcn_ref(const struct rgcn_problem *p, const struct rgcn_args *a, double *want,
                        float *bound)
{
    const size_t nodes = p->nodes > 0 ? (size_t)p->nodes : 0;
    struct ref_rows rows = { 0 };
    enum op_status status = rgcn_check(p);
    if (status != OP_OK)
        return status;
    double *x = malloc(nodes * (size_t)p->in * sizeof *x);
    double *hidden = malloc(nodes * (size_t)p->hidden * sizeof *hidden);
    double *error = malloc(nodes * (size_t)p->hidden * sizeof *error);
    double *off = malloc(nodes * (size_t)p->out * sizeof *off);
    status = x && hidden && error && off ? rows_open(p, &a->graph, &rows) : OP_ENOMEM;
    if (status == OP_OK) {
        const struct ref_layer first = { p->in, p->hidden, x, NULL, a->w1, hidden, error };
        const struct ref_layer second = { p->hidden, p->out, hidden, error, a->w2, want, off };
        for (size_t i = 0; i < nodes * (size_t)p->in; i++)
            x[i] = a->x[i];
        run_layer(p, &a->graph, &rows, &first);
        /* ReLU moves no number further from its reference than it was */
        for (size_t i = 0; i < nodes * (size_t)p->hidden; i++)
            hidden[i] = hidden[i] > 0 ? hidden[i] : 0;
        run_layer(p, &a->graph, &rows, &second);
        for (size_t i = 0; i < nodes * (size_t)p->out; i++)
            bound[i] = (float)off[i];
    }
    free(x);
    free(hidden);
    free(error);
    free(off);
    free(rows.row_ptr);
    free(rows.edge);
    free(rows.relation);
    return status;
}

/* ---- the reference as a row: rounded ---- */

static enum op_status run_reference(const struct rgcn_problem *p, const struct rgcn_args *a,
                                    void *state, op_stream s)
{
    const size_t count = (size_t)p->nodes * (size_t)p->out;
    double *want = malloc(count * sizeof *want);
    float *bound = malloc(count * sizeof *bound);
    enum op_status status = want && bound ? rgcn_ref(p, a, want, bound) : OP_ENOMEM;
    (void)state, (void)s;
    for (size_t i = 0; status == OP_OK && i < count; i++)
        a->y[i] = (float)want[i];
    free(want);
    free(bound);
    return status;
}

const struct rgcn_impl rgcn_references[] = {
    { .base = { .name = "ref_rgcn", .title = "definition in double", .origin = "definition",
                .role = OP_REFERENCE },
      .run = run_reference },
    { .base = { .name = NULL } },
};
