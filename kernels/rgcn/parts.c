/* parts.c - pairs of relations and nodes, rows of a graph, layers and work of a problem. */
#include <stdlib.h>
#include <string.h>

#include "rgcn.h"

enum op_status rgcn_check(const struct rgcn_problem *p)
{
    const int width[3] = { p->in, p->hidden, p->out };
    if (p->nodes < 1 || p->relations < 1 || p->edges < 1 || p->edges > INT32_MAX)
        return OP_EINVAL;
    for (int i = 0; i < 3; i++)
        if (width[i] < 4 || width[i] % 4 || width[i] > RGCN_WIDTH_MAX)
            return OP_EINVAL;
    return OP_OK;
}

struct rgcn_layer rgcn_layer_of(const struct rgcn_problem *p, const struct rgcn_args *a,
                                float *hidden, int l)
{
    if (l == 0)
        return (struct rgcn_layer){ p->in, p->hidden, a->x, a->w1, hidden, 0 };
    return (struct rgcn_layer){ p->hidden, p->out, hidden, a->w2, a->y, 1 };
}

/* Whether edge e is the first into its target: of its relation, which begins with `start`. */
static int opens(const struct rgcn_graph *g, int start, int e)
{
    return e == start || g->dst[e] != g->dst[e - 1];
}

void rgcn_norms(const struct rgcn_problem *p, const struct rgcn_graph *g, float *norm)
{
#pragma omp parallel for schedule(dynamic, 1)
    for (int r = 0; r < p->relations; r++)
        for (int e = g->start[r]; e < g->start[r + 1];) {
            int past = e + 1;
            while (past < g->start[r + 1] && !opens(g, g->start[r], past))
                past++;
            for (const float c = 1.0f / (float)(past - e); e < past; e++)
                norm[e] = c;
        }
}

/* ---- pairs ---- */

void rgcn_pairs_free(struct rgcn_pairs *t)
{
    free(t->first);
    free(t->node);
    free(t->edge);
    free(t->of);
    *t = (struct rgcn_pairs){ 0 };
}

static enum op_status pairs_open(const struct rgcn_problem *p, int with_edge, int with_of,
                                 struct rgcn_pairs *out)
{
    const size_t edges = (size_t)p->edges;
    *out = (struct rgcn_pairs){ 0 };
    out->first = malloc(((size_t)p->relations + 1) * sizeof *out->first);
    out->node = malloc(edges * sizeof *out->node);
    out->edge = with_edge ? malloc((edges + 1) * sizeof *out->edge) : NULL;
    out->of = with_of ? malloc(edges * sizeof *out->of) : NULL;
    if (out->first && out->node && (out->edge || !with_edge) && (out->of || !with_of))
        return OP_OK;
    rgcn_pairs_free(out);
    return OP_ENOMEM;
}

enum op_status rgcn_targets(const struct rgcn_problem *p, const struct rgcn_graph *g,
                            struct rgcn_pairs *out)
{
    const enum op_status status = pairs_open(p, 1, 0, out);
    if (status != OP_OK)
        return status;
    for (int r = 0; r < p->relations; r++) {
        out->first[r] = out->count;
        for (int e = g->start[r]; e < g->start[r + 1]; e++)
            if (opens(g, g->start[r], e)) {
                out->node[out->count] = g->dst[e];
                out->edge[out->count++] = e;
            }
    }
    out->first[p->relations] = out->count;
    out->edge[out->count] = (int32_t)p->edges;
    return OP_OK;
}

/* A bit a node that the relation has as a source; pairs are then counted in the order of bits. */
enum op_status rgcn_sources(const struct rgcn_problem *p, const struct rgcn_graph *g,
                            struct rgcn_pairs *out)
{
    const size_t words = (size_t)p->nodes / 64 + 1;
    uint64_t *bit = malloc(words * sizeof *bit);
    int32_t *before = malloc(words * sizeof *before);
    enum op_status status = bit && before ? pairs_open(p, 0, 1, out) : OP_ENOMEM;
    for (int r = 0; r < p->relations && status == OP_OK; r++) {
        out->first[r] = out->count;
        memset(bit, 0, words * sizeof *bit);
        for (int e = g->start[r]; e < g->start[r + 1]; e++)
            bit[g->src[e] / 64] |= (uint64_t)1 << g->src[e] % 64;
        for (size_t k = 0; k < words; k++) {
            before[k] = out->count;
            for (uint64_t left = bit[k]; left; left &= left - 1)
                out->node[out->count++] = (int32_t)(64 * k) + __builtin_ctzll(left);
        }
        for (int e = g->start[r]; e < g->start[r + 1]; e++) {
            const uint64_t below = ((uint64_t)1 << g->src[e] % 64) - 1;
            out->of[e] = before[g->src[e] / 64] +
                         __builtin_popcountll(bit[g->src[e] / 64] & below);
        }
    }
    if (status == OP_OK)
        out->first[p->relations] = out->count;
    else
        *out = (struct rgcn_pairs){ 0 };
    free(bit);
    free(before);
    return status;
}

enum op_status rgcn_rows(int nodes, int count, const int32_t *node, int32_t **row_ptr,
                         int32_t **item)
{
    int32_t *ptr = calloc((size_t)nodes + 2, sizeof *ptr);
    int32_t *list = malloc(((size_t)count + 1) * sizeof *list);
    if (!ptr || !list) {
        free(ptr);
        free(list);
        return OP_ENOMEM;
    }
    for (int k = 0; k < count; k++)
        ptr[node[k] + 2]++;
    for (int i = 0; i < nodes; i++)
        ptr[i + 2] += ptr[i + 1];
    for (int k = 0; k < count; k++)
        list[ptr[node[k] + 1]++] = k;
    *row_ptr = ptr;
    *item = list;
    return OP_OK;
}

/* ---- work ---- */

void rgcn_work(const struct rgcn_problem *p, int targets, int sources, double *flops,
               double *least, double *model)
{
    const double nodes = p->nodes, edges = (double)p->edges;
    *flops = 0;
    *least = 12 * edges + 4.0 * (p->relations + 1) +
             4 * (double)p->relations * p->hidden * (p->in + p->out) + 4 * nodes * (p->in + p->out);
    *model = *least + 8 * nodes * p->hidden;
    for (int l = 0; l < 2; l++) {
        const double in = l ? p->hidden : p->in, out = l ? p->out : p->hidden;
        const double sum_first = 2 * (edges * in + targets * in * out);
        const double product_first = 2 * (sources * in * out + edges * out);
        *flops += sum_first < product_first ? sum_first : product_first;
        *model += 4 * edges * (in < out ? in : out);
    }
}
