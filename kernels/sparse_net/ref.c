/* ref.c - a network by its definition on the host: OpenMP over rows, OpenBLAS for their products. */
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "../common/half.h"
#include "sparse_net.h"

enum { ROWS = 128 }; /* outputs that a thread makes at a time */

struct rows {
    half_bits *at;
    int pitch;
};

static struct rows rows_of(const struct sparse_net *net, half_bits *const *slot, int tensor)
{
    const struct sparse_tensor *t = &net->tensor[tensor];
    return (struct rows){ slot[net->tensor[t->whole].slot] + t->at, sparse_net_pitch(net, tensor) };
}

/* Sums of outputs first .. first + count - 1 into sum [count][columns]; scratch [ROWS] rows of
 * inputs, then of products. */
static void sum_rows(const struct sparse_layer *l, const struct kmap *map, struct rows x,
                     const double *w, int first, int count, double *scratch, double *sum)
{
    double *input = scratch, *product = scratch + (size_t)ROWS * (size_t)l->channels;
    int row[ROWS];
    for (int d = 0; d < l->taps; d++) {
        int found = 0;
        for (int i = 0; i < count; i++) {
            const int j = map ? map->table.index[(size_t)(first + i) * (size_t)map->table.row_step +
                                                 (size_t)d * (size_t)map->table.tap_step]
                              : first + i;
            if (j < 0)
                continue;
            for (int c = 0; c < l->channels; c++)
                input[(size_t)found * (size_t)l->channels + (size_t)c] =
                    half_to_float(x.at[(size_t)j * (size_t)x.pitch + (size_t)c]);
            row[found++] = i;
        }
        if (!found)
            continue;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, found, l->columns, l->channels, 1,
                    input, l->channels, w + (size_t)d * (size_t)l->channels * (size_t)l->columns,
                    l->columns, 0, product, l->columns);
        for (int i = 0; i < found; i++)
            for (int c = 0; c < l->columns; c++)
                sum[(size_t)row[i] * (size_t)l->columns + (size_t)c] +=
                    product[(size_t)i * (size_t)l->columns + (size_t)c];
    }
}

/* y NULL: rounded into the tensor; else the sums as they are. */
static enum op_status layer(const struct sparse_net_problem *p, const struct sparse_net_args *a,
                            half_bits *const *slot, int index, double *y)
{
    const struct sparse_net *net = p->net;
    const struct sparse_layer *l = &net->layer[index];
    const struct kmap *map = l->step < 0 ? NULL : &p->host->map[l->step].map;
    const int n = p->host->n[net->tensor[l->to].level], columns = l->columns;
    const struct rows x = rows_of(net, slot, l->from), to = rows_of(net, slot, l->to);
    const struct rows added = rows_of(net, slot, l->residual < 0 ? l->from : l->residual);
    const size_t weights = (size_t)l->taps * (size_t)l->channels * (size_t)columns;
    double *w = malloc(weights * sizeof *w);
    int failed = !w;
    for (size_t i = 0; w && i < weights; i++)
        w[i] = half_to_float(((const half_bits *)a->w)[l->w + i]);
#pragma omp parallel reduction(| : failed)
    {
        double *sum = malloc((size_t)ROWS * (size_t)(l->channels + 2 * columns) * sizeof *sum);
        failed |= !sum;
#pragma omp for schedule(dynamic)
        for (int first = 0; first < n; first += ROWS) {
            const int count = n - first < ROWS ? n - first : ROWS;
            if (!sum || !w)
                continue;
            for (int i = 0; i < count * columns; i++)
                sum[i] = a->b[l->b + (size_t)(i % columns)];
            sum_rows(l, map, x, w, first, count, sum + (size_t)ROWS * (size_t)columns, sum);
            for (int i = 0; i < count * columns; i++) {
                const size_t row = (size_t)(first + i / columns), c = (size_t)(i % columns);
                double v = sum[i];
                if (l->residual >= 0)
                    v += half_to_float(added.at[row * (size_t)added.pitch + c]);
                v = l->relu && v < 0 ? 0 : v;
                if (y)
                    y[row * (size_t)columns + c] = v;
                else
                    to.at[row * (size_t)to.pitch + c] = half_from_float((float)v);
            }
        }
        free(sum);
    }
    free(w);
    return failed ? OP_ENOMEM : OP_OK;
}

/* Rows of a tensor without gaps. */
static void copy_out(const struct sparse_net_problem *p, half_bits *const *slot, int tensor,
                     half_bits *to)
{
    const struct rows from = rows_of(p->net, slot, tensor);
    const size_t channels = (size_t)p->net->tensor[tensor].channels;
    for (int i = 0; i < p->host->n[p->net->tensor[tensor].level]; i++)
        memcpy(to + (size_t)i * channels, from.at + (size_t)i * (size_t)from.pitch,
               channels * sizeof *to);
}

/* The input at first, then what a layer wrote and the whole that this is a part of. */
static void keep(const struct sparse_net_problem *p, half_bits *const *slot, int layer_index,
                 const double *y, uint16_t *const *act)
{
    const struct sparse_net *net = p->net;
    const int to = layer_index < 0 ? net->input : net->layer[layer_index].to;
    const size_t last = (size_t)p->host->n[net->tensor[to].level] *
                        (size_t)net->tensor[to].channels;
    if (layer_index == net->layers - 1) {
        for (size_t i = 0; i < last; i++)
            act[to][i] = half_from_float((float)y[i]);
        return;
    }
    copy_out(p, slot, to, act[to]);
    if (net->tensor[to].whole != to)
        copy_out(p, slot, net->tensor[to].whole, act[net->tensor[to].whole]);
}

enum op_status sparse_net_ref(const struct sparse_net_problem *p, const struct sparse_net_args *a,
                              double *y)
{
    return sparse_net_ref_keep(p, a, y, NULL);
}

enum op_status sparse_net_ref_keep(const struct sparse_net_problem *p,
                                   const struct sparse_net_args *a, double *y,
                                   uint16_t *const act[SPARSE_NET_TENSORS_MAX])
{
    const struct sparse_net *net = p->net;
    const struct sparse_tensor *x = &net->tensor[net->input];
    const int kept = openblas_get_num_threads();
    half_bits *slot[SPARSE_NET_SLOTS_MAX] = { 0 };
    enum op_status status = OP_OK;
    for (int i = 0; i < net->slots; i++) {
        slot[i] = malloc(sparse_net_slot_bytes(net, p->host->n, i));
        status = slot[i] ? status : OP_ENOMEM;
    }
    if (!status)
        memcpy(slot[x->slot], a->x, 2 * (size_t)p->host->n[0] * (size_t)x->channels);
    if (!status && act)
        keep(p, slot, -1, NULL, act);
    openblas_set_num_threads(1);
    for (int i = 0; !status && i < net->layers; i++) {
        status = layer(p, a, slot, i, i == net->layers - 1 ? y : NULL);
        if (!status && act)
            keep(p, slot, i, y, act);
    }
    openblas_set_num_threads(kept);
    for (int i = 0; i < net->slots; i++)
        free(slot[i]);
    return status;
}
