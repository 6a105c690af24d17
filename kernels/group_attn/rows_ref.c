/* rows_ref.c - the references as rows: host memory, half in and out. */
#include <stdlib.h>

#include "../common/half.h"
#include "group_attn.h"

/* ---- attention alone ---- */

static enum op_status any_groups(const struct group_attn_problem *p, const char **why)
{
    *why = "meaningless sizes";
    return group_attn_check(p) == OP_OK ? OP_OK : OP_EUNSUPPORTED;
}

static enum op_status run_groups(const struct group_attn_problem *p,
                                 const struct group_attn_args *a, void *state, op_stream s)
{
    const size_t c = (size_t)p->heads * (size_t)p->head, all = (size_t)p->slots * c;
    double *room = calloc(4 * all, sizeof *room), *o = room + 3 * all;
    const half_bits *qkv = a->qkv;
    (void)state, (void)s;
    if (!room)
        return OP_ENOMEM;
    for (size_t i = 0; i < 3 * all; i++) { /* [slots][3][C] to [3][slots][C] */
        const size_t slot = i / (3 * c), which = i / c % 3;
        room[which * all + slot * c + i % c] = (double)half_to_float(qkv[i]);
    }
    const enum op_status status = group_attn_ref(p, room, room + all, room + 2 * all, o);
    for (size_t i = 0; !status && i < all; i++)
        ((half_bits *)a->o)[i] = half_from_float((float)o[i]);
    free(room);
    return status;
}

const struct group_attn_impl group_attn_references[] = {
    { .base = { .name = "ref_group_attn", .title = "reference", .role = OP_REFERENCE,
                .origin = "definition; double" },
      .supports = any_groups, .run = run_groups },
    { .base = { .name = NULL } },
};

/* ---- encoder ---- */

static enum op_status any(const struct encoder_problem *p, const char **why)
{
    *why = "meaningless sizes";
    return encoder_check(p) == OP_OK ? OP_OK : OP_EUNSUPPORTED;
}

/* The set's host memory. */
static enum op_status keep(const struct encoder_problem *p, const struct encoder_host *h,
                           const struct encoder_args *a, const struct op_memory *m, op_stream s,
                           void **state)
{
    struct encoder_host *kept = malloc(sizeof *kept);
    (void)p, (void)a, (void)m, (void)s;
    if (kept)
        *kept = *h;
    *state = kept;
    return kept ? OP_OK : OP_ENOMEM;
}

static enum op_status run(const struct encoder_problem *p, enum encoder_scheme scheme,
                          const struct encoder_args *a, const struct encoder_host *h)
{
    const size_t count = (size_t)p->layer.n * (size_t)(p->layer.heads * p->layer.head);
    double *y = malloc(count * sizeof *y);
    const enum op_status status = y ? encoder_ref(p, scheme, h, a->x, y) : OP_ENOMEM;
    for (size_t i = 0; !status && i < count; i++)
        ((half_bits *)a->y)[i] = half_from_float((float)y[i]);
    free(y);
    return status;
}

static enum op_status run_in_groups(const struct encoder_problem *p, const struct encoder_args *a,
                                    void *state, op_stream s)
{
    (void)s;
    return run(p, ENCODER_GROUPS, a, state);
}

static enum op_status run_in_windows(const struct encoder_problem *p, const struct encoder_args *a,
                                     void *state, op_stream s)
{
    (void)s;
    return run(p, ENCODER_WINDOWS, a, state);
}

const struct encoder_impl encoder_references[] = {
    { .base = { .name = "ref_encoder", .title = "reference", .role = OP_REFERENCE,
                .origin = "definition; double" },
      .scheme = ENCODER_GROUPS, .supports = any, .setup = keep, .teardown = free,
      .run = run_in_groups },
    { .base = { .name = "ref_encoder_windows", .title = "reference, windows",
                .role = OP_REFERENCE, .origin = "definition; double" },
      .scheme = ENCODER_WINDOWS, .supports = any, .setup = keep, .teardown = free,
      .run = run_in_windows },
    { .base = { .name = NULL } },
};
