/*
 * ref_cuda.c - a network and its gradients by their definition on the GPU: the layers of spconv's
 * reference one after another, sums in double, rows rounded to half where they are stored, as
 * ref.c and ref_train.c do on the host.
 *
 * Maps are those of the host.  Every tensor has memory of its own; concatenations are copies.
 */
#include <stdlib.h>

#include <cuda_runtime.h>

#include "forms.h"
#include "ref_f64.h"

struct ref {
    const struct sparse_net_problem *p;
    const struct sparse_net_args *a;
    const struct op_memory *memory;
    op_stream stream;
    struct sparse_net net; /* no tensor shares memory */
    struct spconv_map map[KMAP_STEPS_MAX];
    int32_t *same, *start; /* of 1x1x1 layers: rows; [levels][2] first and last pair */
    void *row[SPARSE_NET_TENSORS_MAX]; /* rows, or gradients of them */
    int seen[SPARSE_NET_TENSORS_MAX];  /* its gradient has a first term */
    double *sum;                       /* of a layer's pass */
};

static long rows_of(const struct ref *r, int tensor)
{
    return r->p->host->n[r->net.tensor[tensor].level];
}

static size_t count_of(const struct ref *r, int tensor)
{
    return (size_t)rows_of(r, tensor) * (size_t)r->net.tensor[tensor].channels;
}

static const int32_t *send(const struct ref *r, const int32_t *from, size_t count,
                           enum op_status *status)
{
    int32_t *to = net_take(r->memory, count * sizeof *from, status);
    if (!*status)
        *status = net_upload(to, from, count * sizeof *from, r->stream);
    return to;
}

static enum op_status open_map(struct ref *r, int step)
{
    const struct kmap *m = &r->p->host->map[step].map;
    const size_t taps = (size_t)m->taps, pairs = (size_t)m->pairs_total;
    const size_t in_bytes = (size_t)m->n_in * taps * sizeof(int32_t);
    struct spconv_map *to = &r->map[step];
    enum op_status status = OP_OK;
    to->by_out = send(r, m->table.index, (size_t)m->n_out * taps, &status);
    to->start = send(r, m->pairs.start, taps + 1, &status);
    to->pair_in = send(r, m->pairs.in, pairs, &status);
    to->pair_out = send(r, m->pairs.out, pairs, &status);
    int32_t *by_in = net_take(r->memory, in_bytes, &status);
    if (!status && cudaMemsetAsync(by_in, 0xff, in_bytes, r->stream))
        status = OP_EDEVICE;
    to->by_in = by_in;
    return status ? status
                  : net_ref_transpose(to->by_out, m->n_out, m->taps, by_in, r->stream);
}

static enum op_status open_same(struct ref *r)
{
    const int levels = r->p->maps->levels;
    int32_t *host = NULL, start[KMAP_LEVELS_MAX][2] = { { 0 } };
    enum op_status status =
        net_same_open(r->p->maps, r->memory, r->stream, &host, &r->same);
    free(host);
    for (int l = 0; l < levels; l++)
        start[l][1] = r->p->host->n[l];
    r->start = (int32_t *)(status ? NULL : send(r, start[0], (size_t)levels * 2, &status));
    return status;
}

/* Room for the sums of any pass of any layer. */
static enum op_status open_sums(struct ref *r)
{
    enum op_status status = OP_OK;
    size_t most = 0;
    for (int i = 0; i < r->net.layers; i++) {
        const struct sparse_layer *l = &r->net.layer[i];
        const size_t weights = (size_t)l->taps * (size_t)l->channels * (size_t)l->columns;
        const size_t all[] = { count_of(r, l->from), count_of(r, l->to), weights };
        for (int k = 0; k < 3; k++)
            most = all[k] > most ? all[k] : most;
    }
    r->sum = net_take(r->memory, most * sizeof *r->sum, &status);
    for (int t = 0; t < r->net.tensors; t++)
        r->row[t] = net_take(r->memory, 2 * count_of(r, t), &status);
    return status;
}

static enum op_status ref_open(const struct sparse_net_problem *p, const struct sparse_net_args *a,
                               const struct op_memory *memory, op_stream s, struct ref *r)
{
    *r = (struct ref){ .p = p, .a = a, .memory = memory, .stream = s, .net = *p->net };
    sparse_net_keep(&r->net);
    enum op_status status = open_same(r);
    for (int i = 0; !status && i < p->maps->steps; i++)
        status = open_map(r, i);
    return status ? status : open_sums(r);
}

/* A pass of a layer: its sums into `sum`. */
static enum op_status run_pass(const struct ref *r, int i, enum spconv_pass pass, const void *x,
                               const void *g, double *sum)
{
    const struct sparse_layer *l = &r->net.layer[i];
    const int32_t *start = r->start + 2 * r->net.tensor[l->to].level;
    struct spconv_problem p = sparse_net_layer_problem(&r->net, r->p->maps, r->p->host, i);
    struct spconv_args a = { .x = x, .w = (const char *)r->a->w + 2 * l->w, .g = g };
    p.pass = pass;
    a.map = l->step < 0 ? (struct spconv_map){ r->same, r->same, start, r->same, r->same }
                        : r->map[l->step];
    return spconv_ref_cuda(&p, &a, sum, NULL, NULL, r->stream);
}

/* Members of a tensor side by side into it; back: its gradient to theirs. */
static enum op_status join(struct ref *r, int whole, int back)
{
    const int step = r->net.tensor[whole].channels;
    enum op_status status = OP_OK;
    for (int t = 0; !status && t < r->net.tensors; t++) {
        const struct sparse_tensor *x = &r->net.tensor[t];
        const struct ref_rows part = { r->row[t], x->channels };
        const struct ref_rows columns = { (char *)r->row[whole] + 2 * x->column, step };
        if (x->member != whole)
            continue;
        status = net_ref_add(back ? columns : part, NULL, back ? part : columns, rows_of(r, t),
                             x->channels, back && r->seen[t], r->stream);
        r->seen[t] = 1;
    }
    return status;
}

enum op_status sparse_net_ref_cuda(const struct sparse_net_problem *p,
                                   const struct sparse_net_args *a, const struct op_memory *memory,
                                   double *y, op_stream s)
{
    struct ref r;
    enum op_status status = ref_open(p, a, memory, s, &r);
    if (!status && cudaMemcpyAsync(r.row[r.net.input], a->x, 2 * count_of(&r, r.net.input),
                                   cudaMemcpyDeviceToDevice, s))
        status = OP_EDEVICE;
    for (int i = 0; !status && i < r.net.layers; i++) {
        const struct sparse_layer *l = &r.net.layer[i];
        status = run_pass(&r, i, SPCONV_FORWARD, r.row[l->from], NULL, r.sum);
        if (!status)
            status = net_ref_finish(r.sum, a->b + l->b, l->residual < 0 ? NULL : r.row[l->residual],
                                    rows_of(&r, l->to), l->columns, l->relu,
                                    i == r.net.layers - 1 ? y : NULL, r.row[l->to], s);
        if (!status && l->join >= 0)
            status = join(&r, l->join, 0);
    }
    return status;
}

static enum op_status back_layer(struct ref *r, int i, const void *const *act, double *dw)
{
    const struct sparse_layer *l = &r->net.layer[i];
    const struct ref_rows none = { 0 }, g = { r->row[l->to], l->columns };
    enum op_status status = l->join < 0 ? OP_OK : join(r, l->join, 1);
    if (!status && l->relu)
        status = net_ref_mask(g.at, act[l->to], count_of(r, l->to), r->stream);
    if (!status && l->residual >= 0) {
        const struct ref_rows to = { r->row[l->residual], l->columns };
        status = net_ref_add(g, NULL, to, rows_of(r, l->to), l->columns, r->seen[l->residual],
                             r->stream);
        r->seen[l->residual] = 1;
    }
    if (!status)
        status = run_pass(r, i, SPCONV_WGRAD, act[l->from], g.at, dw + l->w);
    if (status || l->from == r->net.input)
        return status;
    const struct ref_rows to = { r->row[l->from], l->channels };
    status = run_pass(r, i, SPCONV_DGRAD, NULL, g.at, r->sum);
    if (!status)
        status = net_ref_add(none, r->sum, to, rows_of(r, l->from), l->channels, r->seen[l->from],
                             r->stream);
    r->seen[l->from] = 1;
    return status;
}

enum op_status sparse_net_ref_train_cuda(const struct sparse_net_problem *p,
                                         const struct sparse_net_args *a,
                                         const void *const act[SPARSE_NET_TENSORS_MAX],
                                         const struct op_memory *memory, double *dw, op_stream s)
{
    struct ref r;
    enum op_status status = ref_open(p, a, memory, s, &r);
    if (!status &&
        (cudaMemsetAsync(dw, 0, p->net->weights * sizeof *dw, s) ||
         cudaMemcpyAsync(r.row[r.net.output], a->g, 2 * count_of(&r, r.net.output),
                         cudaMemcpyDeviceToDevice, s)))
        status = OP_EDEVICE;
    for (int i = r.net.layers - 1; !status && i >= 0; i--)
        status = back_layer(&r, i, act, dw);
    return status;
}

enum op_status sparse_net_ref_bounds_cuda(const struct sparse_net *net, const double *dw,
                                          double limit, float *bound, op_stream s)
{
    enum op_status status =
        cudaMemsetAsync(bound, 0, net->weights * sizeof *bound, s) ? OP_EDEVICE : OP_OK;
    for (int i = 0; !status && i < net->layers; i++) {
        const struct sparse_layer *l = &net->layer[i];
        status = net_ref_bounds(dw + l->w, l->taps, (size_t)l->channels * (size_t)l->columns,
                                8 * limit, bound + l->w, s);
    }
    return status;
}
