/* ref.c - the definition: sort by key, cut into groups. */
#include <stdlib.h>

#include "flatten.h"

enum op_status flatten_check(const struct flatten_problem *p)
{
    if (p->n < 1 || p->side < 1 || p->window < 1 || p->group < 1 || p->window > p->side)
        return OP_EINVAL;
    if ((int64_t)p->side * p->side > FLATTEN_CELLS_MAX || p->n > p->side * p->side)
        return OP_EINVAL;
    return OP_OK;
}

int flatten_group(const struct flatten_problem *p)
{
    return p->n < p->group ? p->n : p->group;
}

int flatten_slots(const struct flatten_problem *p)
{
    const int g = flatten_group(p);
    return (p->n + g - 1) / g * g;
}

int flatten_ranks(const struct flatten_impl *i)
{
    return i->base.role == OP_OWN || i->base.role == OP_REFERENCE;
}

static int sigma(int64_t t)
{
    return t % 2 ? -1 : 1;
}

int64_t flatten_key(const struct flatten_problem *p, int order, struct flatten_cell c)
{
    const int64_t w = p->window, across = (p->side + w - 1) / w + 1;
    const int64_t shift = order % 2 ? w / 2 : 0;
    const int64_t a = (order / 2 ? c.y : c.x) + shift, b = (order / 2 ? c.x : c.y) + shift;
    const int64_t a1 = a / w, a2 = a % w, b1 = b / w, b2 = b % w;
    if (p->path == FLATTEN_PLAIN)
        return (b1 * across + a1) * w * w + a2 * w + b2;
    return (2 * across * b1 + sigma(b1) * a1) * 4 * w * w +
           sigma(b1) * (2 * w * a2 + sigma(a2) * b2);
}

struct entry {
    int64_t key;
    int32_t row;
};

static int by_key(const void *a, const void *b)
{
    const struct entry *p = a, *q = b;
    return p->key < q->key ? -1 : p->key > q->key;
}

static enum op_status one_order(const struct flatten_problem *p, const struct flatten_args *a,
                                int order, struct entry *e)
{
    const int slots = flatten_slots(p), group = flatten_group(p);
    int32_t *slot = a->slot + (size_t)order * (size_t)slots;
    int32_t *rank = a->rank + (size_t)order * (size_t)p->n;
    for (int i = 0; i < p->n; i++)
        e[i] = (struct entry){ flatten_key(p, order, a->in[i]), i };
    qsort(e, (size_t)p->n, sizeof *e, by_key);
    for (int k = 0; k < p->n; k++) {
        if (k && e[k].key == e[k - 1].key)
            return OP_EINVAL;
        slot[k] = e[k].row;
        rank[e[k].row] = k;
    }
    for (int k = p->n; k < slots; k++)
        slot[k] = slot[k - group];
    return OP_OK;
}

enum op_status flatten_reference(const struct flatten_problem *p, const struct flatten_args *a,
                                 void *state, op_stream s)
{
    enum op_status status = flatten_check(p);
    (void)state, (void)s;
    for (int i = 0; !status && i < p->n; i++)
        if (a->in[i].x < 0 || a->in[i].y < 0 || a->in[i].x >= p->side || a->in[i].y >= p->side)
            status = OP_EINVAL;
    if (status)
        return status;
    struct entry *e = malloc((size_t)p->n * sizeof *e);
    status = e ? OP_OK : OP_ENOMEM;
    for (int order = 0; !status && order < FLATTEN_ORDERS; order++)
        status = one_order(p, a, order, e);
    free(e);
    return status;
}

long flatten_compare(const struct flatten_problem *p, const struct flatten_args *want,
                     const struct flatten_args *got)
{
    const size_t slots = (size_t)flatten_slots(p) * FLATTEN_ORDERS;
    const size_t ranks = (size_t)p->n * FLATTEN_ORDERS;
    long wrong = 0;
    for (size_t i = 0; i < slots; i++)
        wrong += want->slot[i] != got->slot[i];
    for (size_t i = 0; got->rank && i < ranks; i++)
        wrong += want->rank[i] != got->rank[i];
    return wrong;
}

/* ---- the reference as a row ---- */

static enum op_status nothing(const struct flatten_problem *p, const struct op_memory *m,
                              void **state)
{
    (void)p, (void)m;
    *state = NULL;
    return OP_OK;
}

static enum op_status any(const struct flatten_problem *p, const char **why)
{
    *why = "meaningless sizes";
    return flatten_check(p) == OP_OK ? OP_OK : OP_EUNSUPPORTED;
}

const struct flatten_impl flatten_references[] = {
    { .base = { .name = "ref_flatten", .title = "reference", .role = OP_REFERENCE,
                .origin = "definition; keys sorted on the host" },
      .supports = any, .setup = nothing, .run = flatten_reference },
    { .base = { .name = NULL } },
};
