/* forms_cuda.c - see forms.h. */
#include <stdlib.h>

#include "../kmap/device.h"
#include "forms.h"

enum op_status net_order_open(int rows, int taps, int splits, const struct op_memory *memory,
                              struct kmap_order_memory *o)
{
    const size_t each = (size_t)rows, all = (size_t)splits * each;
    const size_t range = (size_t)((taps + splits - 1) / splits);
    enum op_status status = OP_OK;
    if (o->row)
        return OP_OK;
    o->row = net_take(memory, all * sizeof *o->row, &status);
    o->mask = net_take(memory, all * sizeof *o->mask, &status);
    o->tile_mask = net_take(memory, all / KMAP_PAD * sizeof *o->tile_mask, &status);
    o->table = net_take(memory, all * range * sizeof *o->table, &status);
    o->unsorted = net_take(memory, each * sizeof *o->unsorted, &status);
    o->place = net_take(memory, each * sizeof *o->place, &status);
    o->temp_bytes = kmap_sort_bytes(rows);
    o->temp = net_take(memory, o->temp_bytes, &status);
    return status;
}

enum op_status net_list_open(const struct kmap *m, const struct kmap_source *source,
                             const struct op_memory *memory, struct kmap_list *l)
{
    const size_t taps = (size_t)m->taps, starts = (taps + 1) * sizeof(int32_t);
    const size_t pairs = (size_t)m->pairs_total * sizeof(int32_t);
    enum op_status status = m->pairs.in ? OP_OK : OP_EINVAL;
    l->source = *source;
    l->start = net_take(memory, starts, &status);
    l->padded = net_take(memory, starts, &status);
    l->in = net_take(memory, pairs, &status);
    l->out = net_take(memory, pairs, &status);
    const size_t blocks = (size_t)source->rows / KMAP_PAD;
    l->scratch = net_take(memory, taps * blocks * sizeof(int32_t), &status);
    return status;
}

enum op_status net_same_open(const struct kmap_plan *maps, const struct op_memory *memory,
                             op_stream s, int32_t **host, int32_t **device)
{
    enum op_status status = OP_OK;
    int most = 0;
    for (int l = 0; l < maps->levels; l++)
        most = maps->cap[l] > most ? maps->cap[l] : most;
    const size_t bytes = (size_t)most * sizeof **host;
    *host = malloc(bytes);
    *device = net_take(memory, bytes, &status);
    if (!*host || status)
        return OP_ENOMEM;
    for (int i = 0; i < most; i++)
        (*host)[i] = i;
    return net_upload(*device, *host, bytes, s);
}

int net_layer_like(const struct sparse_net *net, int i)
{
    const int step = net->layer[i].step;
    for (int k = i - 1; step >= 0 && k >= 0; k--)
        if (net->layer[k].step == step)
            return k;
    return -1;
}

/* A state of the row among those of another layer; NULL: none. */
static const void *state_like(const struct spconv_impl *row, const struct net_layer_row *like)
{
    for (int i = 0; row->setup_like && like && i < NET_ROWS_MAX && like[i].row; i++)
        if (like[i].row == row)
            return like[i].state;
    return NULL;
}

enum op_status net_row_open(const struct spconv_impl *row, int setting,
                            const struct spconv_problem *p, const struct spconv_map *host,
                            const struct spconv_args *a, const struct op_memory *memory,
                            op_stream s, const struct net_layer_row *like,
                            struct net_layer_row open[NET_ROWS_MAX], int *at)
{
    const char *why;
    enum op_status status = OP_OK;
    int i = 0;
    if (!row || row->supports(p, &why) || setting > row->settings)
        return OP_EUNSUPPORTED;
    while (i < NET_ROWS_MAX && open[i].row && open[i].row != row)
        i++;
    if (i == NET_ROWS_MAX)
        return OP_ENOMEM;
    const void *shared = state_like(row, like);
    if (!open[i].row && shared)
        status = row->setup_like(p, shared, memory, s, &open[i].state);
    else if (!open[i].row && row->setup)
        status = row->setup(p, host, a, memory, s, &open[i].state);
    if (status)
        return status;
    open[i].row = row;
    *at = i;
    if (open[i].setting != setting)
        status = row->adjust(p, host, a, setting, s, open[i].state);
    if (!status)
        open[i].setting = setting;
    return status;
}

void net_rows_close(struct net_layer_row open[NET_ROWS_MAX])
{
    for (int i = 0; i < NET_ROWS_MAX; i++)
        if (open[i].row && open[i].row->teardown)
            open[i].row->teardown(open[i].state);
}
