/*
 * listed_cuda.c - a network layer by layer through rows of spconv, as published networks run:
 * maps by hashing, a convolution, a launch for bias, residual and ReLU, copies to concatenate,
 * cuBLAS for 1x1x1.  Every group of layers has a dataflow, which can be changed; what one needs is
 * made when it is first chosen and kept.
 *
 * A run makes the maps and what the row reads of them: orders for sorted implicit GEMM, lists of
 * pairs for gather-scatter and fetch-on-demand.  The layers read copies of the same that set-up
 * made, for rows of spconv take their sizes from the host: their time is that on this scan,
 * without the round trips in which the published code fetches those sizes.
 */
#include <stdlib.h>

#include "../common/share.h"
#include "forms.h"

struct listed {
    const struct sparse_net_impl *impl;
    struct sparse_net_problem p;
    struct sparse_net_args a;
    struct op_share share; /* scratch of all layers, of memory of the set-up */
    struct op_memory memory;
    struct sparse_net net; /* of the problem, concatenations by copies */
    struct net_memory m;
    int flow[KMAP_STEPS_MAX]; /* chosen */
    struct kmap_order_memory order[KMAP_STEPS_MAX][KMAP_SPLITS_MAX]; /* of 1, 2 ... ranges */
    struct kmap_list lists[KMAP_STEPS_MAX];
    int32_t *same, *same_on; /* rows with themselves, on the host and on the device */
    struct spconv_problem problem[SPARSE_NET_LAYERS_MAX];
    struct spconv_args args[SPARSE_NET_LAYERS_MAX];
    struct net_layer_row open[SPARSE_NET_LAYERS_MAX][NET_ROWS_MAX];
    int chosen[SPARSE_NET_LAYERS_MAX];
};

/* ---- forms of maps ---- */

/* The table of a step, as a run makes it. */
static struct kmap_source source_of(const struct listed *v, int step)
{
    const struct kmap_plan *maps = v->p.maps;
    const int level = net_step_level(maps, step);
    return (struct kmap_source){ v->m.maps.table[step], NULL, v->m.maps.count + level,
                                 maps->cap[level], kmap_step_rows(maps, step),
                                 kmap_taps(&maps->step[step].shape) };
}

/* Pairs of the host on the device. */
static enum op_status open_pairs(const struct sparse_net_problem *p, int step, op_stream s,
                                 struct listed *v)
{
    const struct kmap *m = &p->host->map[step].map;
    const struct kmap_source source = source_of(v, step);
    const struct kmap_list *l = &v->lists[step];
    const size_t pairs = (size_t)m->pairs_total * sizeof(int32_t);
    enum op_status status = net_list_open(m, &source, &v->memory, &v->lists[step]);
    if (!status)
        status = net_upload(l->start, m->pairs.start, ((size_t)m->taps + 1) * sizeof(int32_t), s);
    if (!status)
        status = net_upload(l->in, m->pairs.in, pairs, s);
    return status ? status : net_upload(l->out, m->pairs.out, pairs, s);
}

static enum op_status make_forms(const struct listed *v, int parts, op_stream s)
{
    struct kmap_list lists[KMAP_STEPS_MAX];
    enum op_status status = OP_OK;
    int count = 0;
    for (int i = 0; !status && i < v->p.maps->steps; i++) {
        const struct sparse_net_flow *flow = &v->impl->flow[v->flow[i]];
        const struct kmap_source source = source_of(v, i);
        if (!sparse_net_has_step(parts, v->p.maps, i))
            continue;
        if (flow->splits)
            status = kmap_order_cuda(&source, flow->splits, KMAP_PAD,
                                     &v->order[i][flow->splits - 1], s);
        if (flow->pairs)
            lists[count++] = v->lists[i];
    }
    return status || !count ? status : kmap_pairs_cuda(lists, count, s);
}

/* ---- layers ---- */

static int is_point(const struct listed *v, int i)
{
    return v->net.layer[i].step < 0;
}

/* Operands of a layer, whatever does it. */
static void describe_layer(int i, struct listed *v)
{
    const struct sparse_layer *l = &v->net.layer[i];
    const struct kmap_list *lists = is_point(v, i) ? NULL : &v->lists[l->step];
    int32_t *const same = v->same_on;
    v->problem[i] = sparse_net_layer_problem(&v->net, v->p.maps, v->p.host, i);
    v->args[i] = (struct spconv_args){
        { lists ? v->m.maps.table[l->step] : same, NULL, lists ? lists->start : NULL,
          lists ? lists->in : same, lists ? lists->out : same },
        net_rows_of(&v->m, &v->net, l->from).at, (const char *)v->a.w + 2 * l->w, NULL,
        net_rows_of(&v->m, &v->net, l->to).at
    };
}

static enum op_status open_layer(int i, int flow, op_stream s, struct listed *v)
{
    const int point = is_point(v, i), out = v->problem[i].out;
    const int32_t start[2] = { 0, out };
    const struct kmap *m = point ? NULL : &v->p.host->map[v->net.layer[i].step].map;
    const struct spconv_map host = {
        point ? v->same : m->table.index, NULL, point ? start : m->pairs.start,
        point ? v->same : m->pairs.in, point ? v->same : m->pairs.out
    };
    const struct spconv_impl *row =
        spconv_find(point ? "gather_fused" : v->impl->flow[flow].layer);
    const int like = net_layer_like(&v->net, i);
    return net_row_open(row, point ? 0 : v->impl->flow[flow].setting, &v->problem[i], &host,
                        &v->args[i], &v->memory, s, like < 0 ? NULL : v->open[like], v->open[i],
                        &v->chosen[i]);
}

enum op_status sparse_net_listed_choose(void *state, const int *flow, op_stream s)
{
    struct listed *v = state;
    enum op_status status = OP_OK;
    for (int i = 0; !status && i < v->p.maps->steps; i++) {
        v->flow[i] = flow[sparse_net_group(v->p.maps, i)];
        const int splits = v->impl->flow[v->flow[i]].splits;
        if (splits)
            status = net_order_open(kmap_step_rows(v->p.maps, i),
                                    kmap_taps(&v->p.maps->step[i].shape), splits, &v->memory,
                                    &v->order[i][splits - 1]);
    }
    for (int i = 0; !status && i < v->net.layers; i++)
        status = open_layer(i, is_point(v, i) ? 0 : v->flow[v->net.layer[i].step], s, v);
    return status;
}

enum op_status sparse_net_listed_setup(const struct sparse_net_impl *impl,
                                       const struct sparse_net_problem *p,
                                       const struct sparse_net_args *a,
                                       const struct op_memory *memory, op_stream s, void **state)
{
    static const int first[KMAP_STEPS_MAX];
    struct listed *v = calloc(1, sizeof *v);
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    v->impl = impl;
    v->p = *p;
    v->a = *a;
    v->share.from = *memory;
    v->memory = op_share_memory(&v->share);
    v->net = *p->net;
    sparse_net_separate(&v->net);
    enum op_status status = net_memory_open(impl, p, &v->net, a, memory, &v->m);
    for (int i = 0; !status && i < p->maps->steps; i++)
        status = open_pairs(p, i, s, v);
    if (!status)
        status = net_same_open(p->maps, memory, s, &v->same, &v->same_on);
    for (int i = 0; !status && i < v->net.layers; i++)
        describe_layer(i, v);
    if (!status)
        status = sparse_net_listed_choose(v, first, s);
    if (status)
        sparse_net_listed_teardown(v);
    else
        *state = v;
    return status;
}

/* Members of a tensor side by side into it. */
static enum op_status join(const struct listed *v, int whole, int n, op_stream s)
{
    const struct net_rows to = net_rows_of(&v->m, &v->net, whole);
    enum op_status status = OP_OK;
    for (int t = 0; !status && t < v->net.tensors; t++) {
        const struct sparse_tensor *x = &v->net.tensor[t];
        const struct net_rows part = { (char *)to.at + 2 * x->column, to.step };
        if (x->member == whole)
            status = net_copy_rows(net_rows_of(&v->m, &v->net, t), part, x->channels, n, NULL, 0,
                                   s);
    }
    return status;
}

static enum op_status run_layer(const struct sparse_net_args *a, struct listed *v, int i,
                                op_stream s)
{
    const struct sparse_layer *l = &v->net.layer[i];
    const struct net_layer_row *open = &v->open[i][v->chosen[i]];
    const void *residual = l->residual < 0 ? NULL : net_rows_of(&v->m, &v->net, l->residual).at;
    enum op_status status =
        open->row->run(&v->problem[i], &v->args[i], open->state, s);
    if (!status)
        status = net_finish_rows(v->args[i].y, a->b + l->b, residual, v->problem[i].out,
                                 l->columns, l->relu, s);
    if (!status && l->join >= 0)
        status = join(v, l->join, v->problem[i].out, s);
    return status;
}

enum op_status sparse_net_listed_run(const struct sparse_net_problem *p,
                                     const struct sparse_net_args *a, void *state, int parts,
                                     op_stream s)
{
    struct listed *v = state;
    enum op_status status = OP_OK;
    if (parts & SPARSE_NET_MAPS)
        status = v->m.builder->run(p->maps, &v->m.maps, v->m.builder_state, s);
    if (!status && parts & SPARSE_NET_ORDERS)
        status = make_forms(v, parts, s);
    if (!status && parts == SPARSE_NET_ALL)
        status = net_read_input(&v->m, p, &v->net, a, s);
    for (int i = 0; !status && parts & SPARSE_NET_LAYERS && i < v->net.layers; i++)
        if (sparse_net_has_step(parts, p->maps, v->net.layer[i].step))
            status = run_layer(a, v, i, s);
    if (!status && parts == SPARSE_NET_ALL)
        status = net_write_output(&v->m, p, &v->net, a, s);
    return status;
}

void sparse_net_listed_teardown(void *state)
{
    struct listed *v = state;
    for (int i = 0; v && i < SPARSE_NET_LAYERS_MAX; i++)
        net_rows_close(v->open[i]);
    if (v) {
        net_memory_close(&v->m);
        free(v->same);
    }
    free(v);
}
