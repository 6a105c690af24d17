/* host.c - the reference as a row: all maps of a plan into the memory of kmap_args, on the host. */
#include <string.h>

#include "build.h"

static enum op_status nothing(const struct kmap_plan *p, const struct op_memory *m, void **state)
{
    (void)p, (void)m;
    *state = NULL;
    return OP_OK;
}

static enum op_status any_plan(const struct kmap_plan *p, const char **why)
{
    (void)p, (void)why;
    return OP_OK;
}

static void copy_step(const struct kmap *m, int32_t *table, uint32_t *mask)
{
    const size_t entries = (size_t)m->table.rows * (size_t)m->taps;
    memcpy(table, m->table.index, entries * sizeof *table);
    memset(mask, 0, (size_t)m->table.rows * sizeof *mask);
    for (size_t e = 0; e < entries; e++)
        mask[e / (size_t)m->taps] |= (uint32_t)(table[e] >= 0) << e % (size_t)m->taps;
}

static enum op_status reference(const struct kmap_plan *p, const struct kmap_args *a, void *state,
                                op_stream s)
{
    struct kmap_host_net net;
    enum op_status status = kmap_host_net(p, a->in, &net);
    (void)state, (void)s;
    for (int l = 0; !status && l < p->levels; l++) {
        if (net.n[l] > p->cap[l]) {
            status = OP_ENOMEM;
            break;
        }
        memcpy(a->coord[l], net.coord[l], (size_t)net.n[l] * sizeof *net.coord[l]);
        a->count[l] = net.n[l];
    }
    for (int i = 0; !status && i < p->n_in; i++)
        a->source[i] = i;
    for (int i = 0; !status && i < p->steps; i++)
        copy_step(&net.map[i].map, a->table[i], a->mask[i]);
    kmap_host_net_free(&net);
    return status;
}

const struct kmap_impl kmap_references[] = {
    { .base = { .name = "ref_map", .title = "reference", .role = OP_REFERENCE,
                .origin = "definition; sorted keys, one binary search an entry" },
      .supports = any_plan, .setup = nothing, .run = reference },
    { .base = { .name = NULL } },
};
