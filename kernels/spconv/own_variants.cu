/* own_variants.cu - set-up and launch of the variants, as implementations of the operator. */
#include <stdlib.h>

#include "own_variants.h"
#include "upload.cuh"

struct Variant {
    struct own_plan plan;
    struct own_parts parts;
    struct own_layer *layer;
    double slots;
};

static enum op_status make(enum own_shape shape, int splits, int most,
                           const struct spconv_problem *p, const struct spconv_args *a,
                           const struct op_memory *memory, op_stream s, Variant *v)
{
    const struct own_source source = { a->map.by_out, NULL, NULL, p->out, p->taps };
    struct own_plan_work work;
    enum op_status status = own_plan_open(p->out, p->taps, splits, memory, &v->plan, &work);
    if (status == OP_OK)
        status = own_plan_make(&source, &v->plan, &work, s);
    if (status == OP_OK)
        status = own_parts_open(&v->plan, most, memory, &v->parts);
    if (status == OP_OK)
        status = own_parts_make(&v->plan, &v->parts, s);
    if (status == OP_OK)
        status = own_plan_slots(&v->plan, s, &v->slots);
    if (status == OP_OK)
        status = own_layer_open_parts(shape, &v->plan, &v->parts, p->taps, p->cin, p->cout, a->w,
                                      memory, s, &v->layer);
    return status;
}

OP_BEGIN
enum op_status own_variant_setup(enum own_shape shape, int splits, int most,
                                 const struct spconv_problem *p, const struct spconv_args *a,
                                 const struct op_memory *memory, op_stream s, void **state)
{
    *state = NULL;
    Variant *v = (Variant *)calloc(1, sizeof *v);
    if (!v)
        return OP_ENOMEM;
    const enum op_status status = make(shape, splits, most, p, a, memory, s, v);
    if (status != OP_OK) {
        free(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

enum op_status own_variant_run(const struct spconv_problem *p, const struct spconv_args *a,
                               void *state, op_stream s)
{
    const Variant *v = (const Variant *)state;
    struct own_layer_io io = {};
    io.x = a->x;
    io.y = a->y;
    io.x_step = p->cin;
    io.y_step = p->cout;
    return own_layer_run(v->layer, &io, s);
}

void own_variant_teardown(void *state)
{
    if (state)
        own_layer_close(((Variant *)state)->layer);
    free(state);
}

void own_variant_counts(const struct spconv_problem *p, const void *state,
                        struct spconv_counts *counts)
{
    (void)p;
    counts->slots = ((const Variant *)state)->slots;
    counts->extra_bytes = 0;
}
OP_END
