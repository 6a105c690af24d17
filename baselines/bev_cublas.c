/*
 * bev_cublas.c - the detector behind the encoder where there is no cuDNN: maps are unfolded, rows of
 * nine neighbours side by side, and multiplied by cuBLASLt with the bias in its epilogue.
 *
 * A map is taken in bands of rows whose unfolded form fits the workspace; the last band is smaller.
 */
#include "bev_vendor.h"
#include "linear_cublas.h"

#include <stdlib.h>

struct layer {
    struct linear_shape shape[2]; /* of a band, of the last */
    struct linear product[2];
    int high, bands;              /* rows of the map in a band */
};

struct state {
    struct bev_vendor around;
    struct linear_library library;
    int first;
    struct layer layer[BEV_LAYERS_MAX];
};

void bev_cublas_teardown(void *state)
{
    struct state *t = state;
    if (!t)
        return;
    for (int i = 0; i < BEV_LAYERS_MAX; i++)
        for (int k = 0; k < 2; k++)
            linear_close(&t->layer[i].product[k]);
    linear_library_close(&t->library);
    free(t);
}

static const struct linear *alike(const struct state *t, int at, const struct linear_shape *shape)
{
    for (int i = 0; i < at; i++)
        for (int k = 0; k < 2; k++) {
            const struct linear_shape *o = &t->layer[i].shape[k];
            if (o->rows == shape->rows && o->outs == shape->outs && o->ins == shape->ins)
                return &t->layer[i].product[k];
        }
    return NULL;
}

static enum op_status open_layer(struct state *t, int at, const struct bev_step *step, op_stream s)
{
    struct layer *l = &t->layer[at];
    const int taps = step->layer->kernel * step->layer->kernel, ins = taps * step->channels;
    const int side = step->side / step->layer->stride;
    const size_t row = (size_t)side * (size_t)ins * sizeof(half_bits);
    const int most = taps > 1 ? (int)(BEV_WORKSPACE / row) : side;
    if (!most)
        return OP_EUNSUPPORTED;
    l->bands = (side + most - 1) / most;
    l->high = (side + l->bands - 1) / l->bands;
    l->bands = (side + l->high - 1) / l->high;
    enum op_status status = OP_OK;
    for (int k = 0; k < 2 && !status; k++) {
        const int high = k ? side - (l->bands - 1) * l->high : l->high;
        const struct linear_shape shape = { high * side, step->rows, ins, step->rows };
        const struct linear *like = k && high == l->high ? &l->product[0] : alike(t, at, &shape);
        l->shape[k] = shape;
        status = linear_open(&t->library, &shape, like, step->w, step->bias,
                             taps > 1 ? t->around.workspace : (const void *)step->x, step->y, s,
                             &l->product[k]);
    }
    return status;
}

enum op_status bev_cublas_setup(const struct bev_problem *p, const struct bev_args *a,
                                const struct op_memory *m, op_stream s, void **state)
{
    const struct bev_shape *n = bev_shape_of(p);
    struct state *t = calloc(1, sizeof *t);
    *state = t;
    if (!t)
        return OP_ENOMEM;
    t->first = n->first;
    enum op_status status = bev_vendor_open(p, a, m, s, &t->around);
    if (!status)
        status = linear_library_open(m, &t->library);
    for (int i = n->first; i < n->end && !status; i++) {
        const struct bev_step step = bev_vendor_step(p, a, &t->around, i);
        status = open_layer(t, i - n->first, &step, s);
    }
    return status;
}

static enum op_status run_step(const struct bev_problem *p, void *state, int number,
                               const struct bev_step *step, op_stream s)
{
    const struct state *t = state;
    const struct layer *l = &t->layer[number - t->first];
    const struct bev_layer *b = step->layer;
    const size_t wide = (size_t)(step->side / b->stride);
    enum op_status status = OP_OK;
    for (int k = 0; k < l->bands && !status; k++) {
        const int last = k == l->bands - 1;
        const size_t from = (size_t)k * (size_t)l->high * wide; /* cells in front */
        const half_bits *x = step->x + from * (size_t)step->channels; /* of a 1 x 1 layer */
        if (b->kernel > 1) {
            x = t->around.workspace;
            status = bev_unfold(b, step->side, step->channels, k * l->high,
                                l->shape[last].rows / (int)wide, step->x, t->around.workspace, s);
        }
        if (!status)
            status = linear_run(&l->product[last], step->w, step->bias, x,
                                step->y + from * (size_t)step->rows, s);
    }
    if (status || !(b->relu || b->residual))
        return status;
    const size_t count = wide * wide * (size_t)step->rows;
    (void)p;
    return bev_finish(count, b->relu, b->residual ? step->x : NULL, step->y, s);
}

enum op_status bev_cublas(const struct bev_problem *p, const struct bev_args *a, void *state,
                          op_stream s)
{
    struct state *t = state;
    return bev_vendor_run(p, a, &t->around, run_step, t, s);
}
