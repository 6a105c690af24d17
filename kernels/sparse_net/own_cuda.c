/*
 * own_cuda.c - this suite's own way to run a network: nothing goes back to the host, so that a
 * graph holds all of it, a new scan of at most as many rows included.
 *
 *     coordinates -> all maps -> all plans, one a map -> layers, a launch each
 *
 * Concatenations cost nothing: layers write and read columns of wider rows.  The form of the
 * layers of a group can be changed; what one needs is made when it is first chosen and kept.
 */
#include <stdlib.h>

#include "../spconv/own_layer.h"
#include "../spconv/own_plans.h"
#include "run.h"

struct own {
    const struct sparse_net_impl *impl;
    struct sparse_net_problem p;
    struct sparse_net_args a;
    struct op_memory memory;
    struct net_memory m;
    int flow[KMAP_STEPS_MAX]; /* chosen */
    struct own_plan plan[KMAP_STEPS_MAX][SPARSE_NET_OWN_FLOWS], same[KMAP_LEVELS_MAX];
    struct own_plan_work work; /* same: of 1x1x1 layers */
    int room;                  /* tiles that work has room for */
    enum own_shape shape[KMAP_STEPS_MAX][SPARSE_NET_OWN_FLOWS];
    struct own_layer *layer[SPARSE_NET_LAYERS_MAX][SPARSE_NET_OWN_FLOWS];
};

/* Flow of a layer: that of its map; the first where there is none. */
static int flow_of(const struct own *own, int i)
{
    const int step = own->p.net->layer[i].step;
    return step < 0 ? 0 : own->flow[step];
}

static const struct own_plan *plan_of(const struct own *own, int i)
{
    const struct sparse_layer *l = &own->p.net->layer[i];
    return l->step < 0 ? &own->same[own->p.net->tensor[l->to].level]
                       : &own->plan[l->step][flow_of(own, i)];
}

static enum own_shape shape_of(const struct own *own, int i)
{
    const struct sparse_layer *l = &own->p.net->layer[i];
    return l->step < 0 ? OWN_BY_WIDTH : own->shape[l->step][flow_of(own, i)];
}

/* Of 1x1x1 layers: which levels have any. */
static enum op_status open_same(struct own *own, op_stream s)
{
    static const struct own_cut whole = { .lanes = 1, .columns = 16, .least = 1 };
    const struct sparse_net *net = own->p.net;
    enum op_status status = OP_OK;
    for (int i = 0; !status && i < net->layers; i++) {
        const int level = net->tensor[net->layer[i].to].level;
        struct own_plan_work unused;
        if (net->layer[i].step < 0 && !own->same[level].row)
            status = own_plan_open(own->p.maps->cap[level], 1, 1, &whole, &own->memory, s,
                                   &own->same[level], &unused);
    }
    return status;
}

/* Plans of all maps in the forms that are chosen. */
static struct own_plans plans_of(const struct own *own)
{
    const struct kmap_plan *maps = own->p.maps;
    const struct kmap_args *m = &own->m.maps;
    struct own_plans p = { .count = maps->steps };
    for (int i = 0; i < maps->steps; i++) {
        const int level = net_step_level(maps, i);
        p.plan[i] = own->plan[i][own->flow[i]];
        p.source[i] = (struct own_source){ m->table[i], m->mask[i], m->count + level,
                                           maps->cap[level], kmap_taps(&maps->step[i].shape) };
    }
    return p;
}

static enum op_status open_plan(struct own *own, int step, int flow, op_stream s)
{
    const struct kmap_plan *maps = own->p.maps;
    const struct sparse_net_flow *f = &own->impl->flow[flow];
    const int rows = maps->cap[net_step_level(maps, step)];
    struct own_choice choice = { (enum own_shape)f->shape, f->splits, f->most };
    struct own_plan_work unused; /* of one plan alone */
    struct own_cut cut;
    const enum op_status status = net_own_cut(own->p.net, step, rows, 0, &choice, &cut);
    own->shape[step][flow] = choice.shape;
    return status ? status
                  : own_plan_open(rows, kmap_taps(&maps->step[step].shape), choice.splits, &cut,
                                  &own->memory, s, &own->plan[step][flow], &unused);
}

enum op_status sparse_net_own_choose(void *state, const int *flow, op_stream s)
{
    struct own *own = state;
    const struct kmap_plan *maps = own->p.maps;
    enum op_status status = OP_OK;
    for (int i = 0; !status && i < maps->steps; i++) {
        own->flow[i] = flow[sparse_net_group(maps, i)];
        if (!own->plan[i][own->flow[i]].row)
            status = open_plan(own, i, own->flow[i], s);
    }
    const struct own_plans plans = plans_of(own);
    if (!status && own_plans_tiles(&plans) > own->room) {
        own->room = own_plans_tiles(&plans);
        status = own_plans_open(own->room, &own->memory, &own->work);
    }
    for (int i = 0; !status && i < own->p.net->layers; i++) {
        const struct sparse_layer *l = &own->p.net->layer[i];
        struct own_layer **layer = &own->layer[i][flow_of(own, i)];
        if (!*layer)
            status = own_layer_open(shape_of(own, i), plan_of(own, i), l->taps, l->channels,
                                    l->columns, (const char *)own->a.w + 2 * l->w, 0,
                                    &own->memory, s, layer);
    }
    return status;
}

enum op_status sparse_net_own_setup(const struct sparse_net_impl *impl,
                                    const struct sparse_net_problem *p,
                                    const struct sparse_net_args *a, const struct op_memory *memory,
                                    op_stream s, void **state)
{
    static const int first[KMAP_STEPS_MAX];
    struct own *own = calloc(1, sizeof *own);
    *state = NULL;
    if (!own)
        return OP_ENOMEM;
    own->impl = impl;
    own->p = *p;
    own->a = *a;
    own->memory = *memory;
    enum op_status status = net_memory_open(impl, p, p->net, a, memory, &own->m);
    if (!status)
        status = open_same(own, s);
    if (!status)
        status = sparse_net_own_choose(own, first, s);
    if (status)
        sparse_net_own_teardown(own);
    else
        *state = own;
    return status;
}

static enum op_status make_plans(const struct own *own, op_stream s)
{
    const struct own_plans plans = plans_of(own);
    const enum op_status status = own_plans_make(&plans, &own->work, s);
    return status ? status
                  : net_plans_same(own->same, own->p.maps->levels, own->m.maps.count, s);
}

static enum op_status run_layer(const struct sparse_net *net, const struct own *own, int i,
                                const float *bias, op_stream s)
{
    const struct sparse_layer *l = &net->layer[i];
    const struct net_rows x = net_rows_of(&own->m, net, l->from);
    const struct net_rows y = net_rows_of(&own->m, net, l->to);
    struct own_layer_io io = { .x = x.at, .y = y.at, .bias = bias + l->b, .x_step = x.step,
                               .y_step = y.step, .relu = l->relu };
    if (l->residual >= 0) {
        const struct net_rows r = net_rows_of(&own->m, net, l->residual);
        io.residual = r.at;
        io.residual_step = r.step;
    }
    return own_layer_run(own->layer[i][flow_of(own, i)], &io, s);
}

enum op_status sparse_net_own_run(const struct sparse_net_problem *p,
                                  const struct sparse_net_args *a, void *state, int parts,
                                  op_stream s)
{
    const struct own *own = state;
    enum op_status status = OP_OK;
    if (parts & SPARSE_NET_MAPS)
        status = own->m.builder->run(p->maps, &own->m.maps, own->m.builder_state, s);
    if (!status && parts & SPARSE_NET_ORDERS)
        status = make_plans(own, s);
    if (!status && parts == SPARSE_NET_ALL)
        status = net_read_input(&own->m, p, p->net, a, s);
    for (int i = 0; !status && parts & SPARSE_NET_LAYERS && i < p->net->layers; i++)
        status = run_layer(p->net, own, i, a->b, s);
    if (!status && parts == SPARSE_NET_ALL)
        status = net_write_output(&own->m, p, p->net, a, s);
    return status;
}

void sparse_net_own_teardown(void *state)
{
    struct own *own = state;
    for (int i = 0; own && i < SPARSE_NET_LAYERS_MAX; i++)
        for (int k = 0; k < SPARSE_NET_OWN_FLOWS; k++)
            own_layer_close(own->layer[i][k]);
    if (own)
        net_memory_close(&own->m);
    free(own);
}
