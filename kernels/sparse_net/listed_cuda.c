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

#include "../kmap/device.h"
#include "../kmap/forms.h"
#include "run.h"

enum { ROWS_MAX = 12 }; /* different rows that a layer has met */

struct listed {
    const struct sparse_net_impl *impl;
    struct sparse_net_problem p;
    struct sparse_net_args a;
    struct op_memory memory;
    struct sparse_net net; /* of the problem, concatenations by copies */
    struct net_memory m;
    int flow[KMAP_STEPS_MAX]; /* chosen */
    struct kmap_order_memory order[KMAP_STEPS_MAX][KMAP_SPLITS_MAX]; /* of 1, 2 ... ranges */
    int32_t *start[KMAP_STEPS_MAX + 1], *padded[KMAP_STEPS_MAX], *pair_in[KMAP_STEPS_MAX + 1],
        *pair_out[KMAP_STEPS_MAX + 1], *scratch[KMAP_STEPS_MAX]; /* the last: rows with themselves */
    int32_t *same; /* [longest level] 0, 1, 2 ... in host memory */
    struct spconv_problem problem[SPARSE_NET_LAYERS_MAX];
    struct spconv_args args[SPARSE_NET_LAYERS_MAX];
    struct layer_row {
        const struct spconv_impl *row; /* NULL: not opened */
        void *state;
        int setting; /* that it is in */
    } open[SPARSE_NET_LAYERS_MAX][ROWS_MAX];
    int chosen[SPARSE_NET_LAYERS_MAX];
};

/* ---- forms of maps ---- */

static enum op_status open_order(const struct kmap_plan *maps, int step, int splits,
                                 const struct op_memory *memory, struct kmap_order_memory *o)
{
    const size_t rows = (size_t)kmap_step_rows(maps, step), all = (size_t)splits * rows;
    const int taps = kmap_taps(&maps->step[step].shape);
    const size_t range = (size_t)((taps + splits - 1) / splits);
    enum op_status status = OP_OK;
    o->row = net_take(memory, all * sizeof *o->row, &status);
    o->mask = net_take(memory, all * sizeof *o->mask, &status);
    o->tile_mask = net_take(memory, all / KMAP_PAD * sizeof *o->tile_mask, &status);
    o->table = net_take(memory, all * range * sizeof *o->table, &status);
    o->unsorted = net_take(memory, rows * sizeof *o->unsorted, &status);
    o->place = net_take(memory, rows * sizeof *o->place, &status);
    o->temp_bytes = kmap_sort_bytes((int)rows);
    o->temp = net_take(memory, o->temp_bytes, &status);
    return status;
}

/* Pairs of the host on the device; step KMAP_STEPS_MAX: of rows with themselves, without start. */
static enum op_status open_pairs(const struct sparse_net_problem *p, int step,
                                 const struct op_memory *memory, op_stream s, struct listed *v)
{
    const struct kmap *m = &p->host->map[step].map;
    const size_t rows = (size_t)kmap_step_rows(p->maps, step), taps = (size_t)m->taps;
    const size_t starts = (taps + 1) * sizeof(int32_t);
    const size_t most = (size_t)m->pairs_total * sizeof(int32_t);
    enum op_status status = m->pairs.in ? OP_OK : OP_EINVAL;
    v->start[step] = net_take(memory, starts, &status);
    v->padded[step] = net_take(memory, starts, &status);
    v->pair_in[step] = net_take(memory, most, &status);
    v->pair_out[step] = net_take(memory, most, &status);
    v->scratch[step] = net_take(memory, (taps * rows / KMAP_PAD + 1) * sizeof(int32_t), &status);
    if (!status)
        status = net_upload(v->start[step], m->pairs.start, starts, s);
    if (!status)
        status = net_upload(v->pair_in[step], m->pairs.in, most, s);
    return status ? status : net_upload(v->pair_out[step], m->pairs.out, most, s);
}

static enum op_status open_same(const struct sparse_net_problem *p, const struct op_memory *memory,
                                op_stream s, struct listed *v)
{
    enum op_status status = OP_OK;
    int most = 0;
    for (int l = 0; l < p->maps->levels; l++)
        most = p->maps->cap[l] > most ? p->maps->cap[l] : most;
    const size_t bytes = (size_t)most * sizeof *v->same;
    v->same = malloc(bytes);
    v->pair_in[KMAP_STEPS_MAX] = net_take(memory, bytes, &status);
    if (!v->same || status)
        return OP_ENOMEM;
    for (int i = 0; i < most; i++)
        v->same[i] = i;
    return net_upload(v->pair_in[KMAP_STEPS_MAX], v->same, bytes, s);
}

static enum op_status make_forms(const struct listed *v, op_stream s)
{
    const struct kmap_plan *maps = v->p.maps;
    enum op_status status = OP_OK;
    for (int i = 0; !status && i < maps->steps; i++) {
        const struct sparse_net_flow *flow = &v->impl->flow[v->flow[i]];
        const int level = net_step_level(maps, i);
        const struct kmap_source source = { v->m.maps.table[i], NULL, v->m.maps.count + level,
                                            maps->cap[level], kmap_step_rows(maps, i),
                                            kmap_taps(&maps->step[i].shape) };
        if (flow->splits)
            status = kmap_order_cuda(&source, flow->splits, KMAP_PAD,
                                     &v->order[i][flow->splits - 1], s);
        if (!status && flow->pairs)
            status = kmap_pairs_cuda(&source, v->start[i], v->padded[i], v->pair_in[i],
                                     v->pair_out[i], v->scratch[i], s);
    }
    return status;
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
    const int point = is_point(v, i), step = point ? KMAP_STEPS_MAX : l->step;
    v->problem[i] = sparse_net_layer_problem(&v->net, v->p.maps, v->p.host, i);
    v->args[i] = (struct spconv_args){
        { point ? v->pair_in[step] : v->m.maps.table[step], NULL, v->start[step], v->pair_in[step],
          point ? v->pair_in[step] : v->pair_out[step] },
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
    const int setting = point ? 0 : v->impl->flow[flow].setting;
    struct layer_row *open = v->open[i];
    const char *why;
    enum op_status status = OP_OK;
    int at = 0;
    if (!row || row->supports(&v->problem[i], &why) || setting > row->settings)
        return OP_EUNSUPPORTED;
    while (at < ROWS_MAX && open[at].row && open[at].row != row)
        at++;
    if (at == ROWS_MAX)
        return OP_ENOMEM;
    if (!open[at].row && row->setup)
        status = row->setup(&v->problem[i], &host, &v->args[i], &v->memory, s, &open[at].state);
    if (status)
        return status;
    open[at].row = row;
    v->chosen[i] = at;
    if (open[at].setting != setting)
        status = row->adjust(&v->problem[i], &host, &v->args[i], setting, s, open[at].state);
    if (!status)
        open[at].setting = setting;
    return status;
}

enum op_status sparse_net_listed_choose(void *state, const int *flow, op_stream s)
{
    struct listed *v = state;
    enum op_status status = OP_OK;
    for (int i = 0; !status && i < v->p.maps->steps; i++) {
        v->flow[i] = flow[sparse_net_group(v->p.maps, i)];
        const int splits = v->impl->flow[v->flow[i]].splits;
        if (splits && !v->order[i][splits - 1].row)
            status = open_order(v->p.maps, i, splits, &v->memory, &v->order[i][splits - 1]);
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
    v->memory = *memory;
    v->net = *p->net;
    sparse_net_separate(&v->net);
    enum op_status status = net_memory_open(impl, p, &v->net, a, memory, &v->m);
    for (int i = 0; !status && i < p->maps->steps; i++)
        status = open_pairs(p, i, memory, s, v);
    if (!status)
        status = open_same(p, memory, s, v);
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
    const struct layer_row *open = &v->open[i][v->chosen[i]];
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
        status = make_forms(v, s);
    if (!status && parts == SPARSE_NET_ALL)
        status = net_read_input(&v->m, p, &v->net, a, s);
    for (int i = 0; !status && parts & SPARSE_NET_LAYERS && i < v->net.layers; i++)
        status = run_layer(a, v, i, s);
    if (!status && parts == SPARSE_NET_ALL)
        status = net_write_output(&v->m, p, &v->net, a, s);
    return status;
}

void sparse_net_listed_teardown(void *state)
{
    struct listed *v = state;
    for (int i = 0; v && i < SPARSE_NET_LAYERS_MAX; i++)
        for (int k = 0; k < ROWS_MAX; k++)
            if (v->open[i][k].row && v->open[i][k].row->teardown)
                v->open[i][k].row->teardown(v->open[i][k].state);
    if (v) {
        net_memory_close(&v->m);
        free(v->same);
    }
    free(v);
}
