/*
 * host.c - a network on the host, in float: maps by their definition, then layer by layer through
 * OpenBLAS.  It is what a tuner chooses among where there is no GPU.
 *
 *     rows      blocks of outputs, tap after tap: inputs gathered, multiplied, summed in the block
 *     rows_32   the same with smaller blocks
 *     taps      tap after tap over all outputs: the dataflow of gather-scatter
 */
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "../common/half.h"
#include "run.h"

struct host {
    const struct sparse_net_impl *impl;
    struct sparse_net_problem p;
    struct kmap_host_net maps; /* of the last run */
    int flow[KMAP_STEPS_MAX];
    half_bits *slot[SPARSE_NET_SLOTS_MAX];
    float *w; /* all weights */
    float *sum, *gathered, *product; /* [rows of the longest level][widest] */
    int32_t *row;
};

struct rows {
    half_bits *at;
    int pitch;
};

static struct rows rows_of(const struct host *v, int tensor)
{
    const struct sparse_net *net = v->p.net;
    const struct sparse_tensor *t = &net->tensor[tensor];
    return (struct rows){ v->slot[net->tensor[t->whole].slot] + t->at,
                          sparse_net_pitch(net, tensor) };
}

enum op_status sparse_net_host_choose(void *state, const int *flow, op_stream s)
{
    struct host *v = state;
    (void)s;
    for (int i = 0; i < v->p.maps->steps; i++)
        v->flow[i] = flow[sparse_net_group(v->p.maps, i)];
    return OP_OK;
}

enum op_status sparse_net_host_setup(const struct sparse_net_impl *impl,
                                     const struct sparse_net_problem *p,
                                     const struct sparse_net_args *a,
                                     const struct op_memory *memory, op_stream s, void **state)
{
    struct host *v = calloc(1, sizeof *v);
    size_t rows = 0, widest = 1;
    (void)memory, (void)s;
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    v->impl = impl;
    v->p = *p;
    for (int l = 0; l < p->maps->levels; l++)
        rows = (size_t)p->maps->cap[l] > rows ? (size_t)p->maps->cap[l] : rows;
    for (int t = 0; t < p->net->tensors; t++)
        if ((size_t)p->net->tensor[t].channels > widest)
            widest = (size_t)p->net->tensor[t].channels;
    int failed = 0;
    for (int i = 0; i < p->net->slots; i++)
        failed |= !(v->slot[i] = malloc(sparse_net_slot_bytes(p->net, p->maps->cap, i)));
    failed |= !(v->w = malloc(p->net->weights * sizeof *v->w));
    failed |= !(v->sum = malloc(rows * widest * sizeof *v->sum));
    failed |= !(v->gathered = malloc(rows * widest * sizeof *v->gathered));
    failed |= !(v->product = malloc(rows * widest * sizeof *v->product));
    failed |= !(v->row = malloc(rows * sizeof *v->row));
    if (failed) {
        sparse_net_host_teardown(v);
        return OP_ENOMEM;
    }
    for (size_t i = 0; i < p->net->weights; i++)
        v->w[i] = half_to_float(((const half_bits *)a->w)[i]);
    *state = v;
    return OP_OK;
}

void sparse_net_host_teardown(void *state)
{
    struct host *v = state;
    if (!v)
        return;
    for (int i = 0; i < SPARSE_NET_SLOTS_MAX; i++)
        free(v->slot[i]);
    kmap_host_net_free(&v->maps);
    free(v->w);
    free(v->sum);
    free(v->gathered);
    free(v->product);
    free(v->row);
    free(v);
}

/* Adds one tap of outputs first .. first + count - 1 to their sums. */
static void add_tap(const struct host *v, const struct sparse_layer *l, const struct kmap *map,
                    int d, int first, int count)
{
    const struct rows x = rows_of(v, l->from);
    const size_t channels = (size_t)l->channels, columns = (size_t)l->columns;
    int found = 0;
    for (int k = first; k < first + count; k++) {
        const int j = map ? map->table.index[(size_t)k * (size_t)map->table.row_step +
                                             (size_t)d * (size_t)map->table.tap_step]
                          : k;
        if (j < 0)
            continue;
        for (size_t c = 0; c < channels; c++)
            v->gathered[(size_t)found * channels + c] =
                half_to_float(x.at[(size_t)j * (size_t)x.pitch + c]);
        v->row[found++] = k;
    }
    if (!found)
        return;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, found, l->columns, l->channels, 1,
                v->gathered, l->channels, v->w + l->w + (size_t)d * channels * columns, l->columns,
                0, v->product, l->columns);
    for (int i = 0; i < found; i++)
        for (size_t c = 0; c < columns; c++)
            v->sum[(size_t)v->row[i] * columns + c] += v->product[(size_t)i * columns + c];
}

static void finish(const struct host *v, const struct sparse_layer *l, const float *bias, int n)
{
    const struct rows y = rows_of(v, l->to);
    const struct rows r = rows_of(v, l->residual < 0 ? l->from : l->residual);
    for (int k = 0; k < n; k++)
        for (int c = 0; c < l->columns; c++) {
            float sum = v->sum[(size_t)k * (size_t)l->columns + (size_t)c] + bias[c];
            if (l->residual >= 0)
                sum += half_to_float(r.at[(size_t)k * (size_t)r.pitch + (size_t)c]);
            sum = l->relu && sum < 0 ? 0 : sum;
            y.at[(size_t)k * (size_t)y.pitch + (size_t)c] = half_from_float(sum);
        }
}

static void run_layer(const struct host *v, const struct sparse_net_args *a, int i)
{
    const struct sparse_layer *l = &v->p.net->layer[i];
    const struct sparse_net_flow *flow = &v->impl->flow[l->step < 0 ? 0 : v->flow[l->step]];
    const struct kmap *map = l->step < 0 ? NULL : &v->maps.map[l->step].map;
    const int n = v->maps.n[v->p.net->tensor[l->to].level];
    const int block = flow->pairs ? n : strcmp(flow->name, "rows") ? 32 : 256;
    memset(v->sum, 0, (size_t)n * (size_t)l->columns * sizeof *v->sum);
    for (int first = 0; first < n; first += block)
        for (int d = 0; d < l->taps; d++)
            add_tap(v, l, map, d, first, n - first < block ? n - first : block);
    finish(v, l, a->b + l->b, n);
}

enum op_status sparse_net_host_run(const struct sparse_net_problem *p,
                                   const struct sparse_net_args *a, void *state, int parts,
                                   op_stream s)
{
    struct host *v = state;
    const struct sparse_net *net = p->net;
    const struct sparse_tensor *x = &net->tensor[net->input], *y = &net->tensor[net->output];
    const int kept = openblas_get_num_threads();
    enum op_status status = OP_OK;
    (void)s;
    if (parts & SPARSE_NET_MAPS) {
        kmap_host_net_free(&v->maps);
        status = kmap_host_net(p->maps, a->coord, &v->maps);
    }
    if (!status && parts == SPARSE_NET_ALL)
        memcpy(v->slot[x->slot], a->x, 2 * (size_t)p->maps->n_in * (size_t)x->channels);
    openblas_set_num_threads(1); /* products are small */
    for (int i = 0; !status && parts & SPARSE_NET_LAYERS && i < net->layers; i++)
        if (sparse_net_has_step(parts, p->maps, net->layer[i].step))
            run_layer(v, a, i);
    openblas_set_num_threads(kept);
    if (!status && parts == SPARSE_NET_ALL)
        memcpy(a->y, v->slot[y->slot], 2 * (size_t)v->maps.n[y->level] * (size_t)y->channels);
    return status;
}
