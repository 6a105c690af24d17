/* run_cuda.c - see run.h. */
#include "run.h"

void *net_take(const struct op_memory *memory, size_t bytes, enum op_status *status)
{
    void *p = *status ? NULL : memory->take(memory->context, bytes + 16);
    if (!p && !*status)
        *status = OP_ENOMEM;
    return p;
}

enum op_status net_memory_open(const struct sparse_net_impl *impl,
                               const struct sparse_net_problem *p, const struct sparse_net *net,
                               const struct sparse_net_args *a, const struct op_memory *memory,
                               struct net_memory *m)
{
    const struct kmap_plan *maps = p->maps;
    enum op_status status = OP_OK;
    *m = (struct net_memory){ .builder = sparse_net_builder(impl, maps), .maps.in = a->coord };
    if (!m->builder)
        return OP_EUNSUPPORTED;
    for (int l = 0; l < maps->levels; l++)
        m->maps.coord[l] =
            net_take(memory, (size_t)maps->cap[l] * sizeof *m->maps.coord[l], &status);
    m->maps.source = net_take(memory, (size_t)maps->n_in * sizeof *m->maps.source, &status);
    m->maps.count = net_take(memory, KMAP_LEVELS_MAX * sizeof *m->maps.count, &status);
    for (int i = 0; i < maps->steps; i++) {
        const size_t rows = (size_t)kmap_step_rows(maps, i);
        const size_t taps = (size_t)kmap_taps(&maps->step[i].shape);
        m->maps.table[i] = net_take(memory, rows * taps * sizeof *m->maps.table[i], &status);
        m->maps.mask[i] = net_take(memory, rows * sizeof *m->maps.mask[i], &status);
    }
    for (int i = 0; i < net->slots; i++)
        m->slot[i] = net_take(memory, sparse_net_slot_bytes(net, maps->cap, i), &status);
    return status ? status : m->builder->setup(maps, memory, &m->builder_state);
}

void net_memory_close(struct net_memory *m)
{
    if (m->builder_state)
        m->builder->teardown(m->builder_state);
    m->builder_state = NULL;
}

struct net_rows net_rows_of(const struct net_memory *m, const struct sparse_net *net, int tensor)
{
    const struct sparse_tensor *t = &net->tensor[tensor];
    return (struct net_rows){ (char *)m->slot[net->tensor[t->whole].slot] + 2 * t->at,
                              sparse_net_pitch(net, tensor) };
}

int net_step_level(const struct kmap_plan *maps, int step)
{
    return maps->step[step].transpose ? maps->step[step].from : maps->step[step].to;
}

enum op_status net_read_input(const struct net_memory *m, const struct sparse_net_problem *p,
                              const struct sparse_net *net, const struct sparse_net_args *a,
                              op_stream s)
{
    const int channels = net->tensor[net->input].channels;
    const struct net_rows x = { (void *)a->x, channels };
    return net_copy_rows(x, net_rows_of(m, net, net->input), channels, p->maps->n_in,
                         m->maps.source, 0, s);
}

enum op_status net_write_output(const struct net_memory *m, const struct sparse_net_problem *p,
                                const struct sparse_net *net, const struct sparse_net_args *a,
                                op_stream s)
{
    const struct sparse_tensor *t = &net->tensor[net->output];
    const struct net_rows y = { a->y, t->channels };
    return net_copy_rows(net_rows_of(m, net, net->output), y, t->channels, p->maps->cap[t->level],
                         t->level ? NULL : m->maps.source, 1, s);
}

enum op_status net_own_cut(const struct sparse_net *net, int step, int rows, int backward,
                           struct own_choice *choice, struct own_cut *cut)
{
    const struct sparse_layer *most = NULL;
    int widest = 16;
    for (int i = 0; i < net->layers; i++) {
        const struct sparse_layer *l = &net->layer[i];
        const int columns = backward ? l->channels : l->columns;
        if (l->step != step)
            continue;
        if (!most || (long)l->channels * l->columns > (long)most->channels * most->columns)
            most = l;
        widest = columns > widest ? columns : widest;
    }
    if (!most)
        return OP_EINVAL;
    const int channels = backward ? most->columns : most->channels;
    const int columns = backward ? most->channels : most->columns;
    const int from = net->tensor[most->from].level, to = net->tensor[most->to].level;
    if (!choice->splits)
        *choice = own_choose(rows, backward ? to > from : from > to, most->taps, channels, columns);
    const enum op_status status = own_cut_for(choice, channels, columns, cut);
    cut->columns = (widest + 15) / 16 * 16;
    return status;
}
