/* own.cu - forward and dgrad by own_layer.h, as implementations of the operator. */
#include <cuda_fp16.h>
#include <stdlib.h>

#include "own.h"
#include "own_layer.h"
#include "plan.h"
#include "upload.cuh"

struct Own {
    struct own_plan plan;
    struct own_layer *layer;
    const void *w;
    half *transposed; /* dgrad of narrow layers: W of the launch as [taps][cout][cin] */
    int channels, columns;
    double slots;
};

/* ---- weights of dgrad ---- */

constexpr int TRANSPOSE = 32;

/* [taps][cin][cout] to [taps][cout][cin]; a block 32 x 32 of a tap. */
static __global__ __launch_bounds__(256) void transpose_taps(const half *w, half *to, int cin,
                                                             int cout)
{
    __shared__ half tile[TRANSPOSE][TRANSPOSE + 2];
    const int x = threadIdx.x % TRANSPOSE, y0 = threadIdx.x / TRANSPOSE;
    const int row = blockIdx.y * TRANSPOSE, column = blockIdx.x * TRANSPOSE;
    const size_t tap = (size_t)blockIdx.z * cin * cout;
    for (int y = y0; y < TRANSPOSE; y += 256 / TRANSPOSE)
        if (row + y < cin && column + x < cout)
            tile[y][x] = w[tap + (size_t)(row + y) * cout + column + x];
    __syncthreads();
    for (int y = y0; y < TRANSPOSE; y += 256 / TRANSPOSE)
        if (column + y < cout && row + x < cin)
            to[tap + (size_t)(column + y) * cin + row + x] = tile[x][y];
}

/* ---- set-up ---- */

/* The plan is made on the device, as a network makes it. */
static enum op_status make_plan(const struct spconv_problem *p, const struct spconv_args *a,
                                const struct own_choice *choice, const struct op_memory *memory,
                                op_stream s, Own *own)
{
    const struct spconv_table t = spconv_table_of(p, &a->map);
    const struct own_source source = { t.partner, NULL, NULL, t.rows, t.taps };
    struct own_plan_work work;
    struct own_cut cut;
    enum op_status status = own_cut_for(choice, own->channels, own->columns, &cut);
    if (status == OP_OK)
        status = own_plan_open(t.rows, t.taps, choice->splits, &cut, memory, s, &own->plan, &work);
    if (status == OP_OK)
        status = own_plan_make(&source, &own->plan, &work, s);
    if (status == OP_OK)
        status = own_plan_slots(&own->plan, s, &own->slots);
    return status;
}

/* splits: 0 for as many as own_choose says. */
static enum op_status setup(const struct spconv_problem *p, const struct spconv_args *a,
                            int splits, const struct op_memory *memory, op_stream s, void **state)
{
    const bool forward = p->pass == SPCONV_FORWARD;
    struct own_choice choice =
        forward ? own_choose(p->out, p->out > p->in, p->taps, p->cin, p->cout)
                : own_choose(p->in, p->in > p->out, p->taps, p->cout, p->cin);
    if (splits && splits != choice.splits) {
        choice.splits = splits;
        choice.most = 0;
    }
    return spconv_own_setup_as(&choice, p, a, memory, s, state);
}

OP_BEGIN
enum op_status spconv_own_setup_as(const struct own_choice *choice, const struct spconv_problem *p,
                                   const struct spconv_args *a, const struct op_memory *memory,
                                   op_stream s, void **state)
{
    const char *why;
    const bool forward = p->pass == SPCONV_FORWARD;
    *state = NULL;
    if (spconv_own_supports(p, &why) != OP_OK || choice->splits > p->taps)
        return OP_EUNSUPPORTED;
    Own *own = (Own *)calloc(1, sizeof *own);
    if (!own)
        return OP_ENOMEM;
    own->w = a->w;
    own->channels = forward ? p->cin : p->cout;
    own->columns = forward ? p->cout : p->cin;
    enum op_status status = make_plan(p, a, choice, memory, s, own);
    const bool narrow = own->channels % SPCONV_SLICE;
    if (!forward && narrow)
        own->transposed = scratch<half>(memory, (size_t)p->taps * p->cin * p->cout, &status);
    if (status == OP_OK)
        status = own_layer_open(choice->shape, &own->plan, p->taps, own->channels, own->columns,
                                own->transposed ? own->transposed : a->w, !forward && !narrow,
                                memory, s, &own->layer);
    if (status != OP_OK) {
        free(own);
        return status;
    }
    *state = own;
    return OP_OK;
}

#define SETUP(name, splits)                                                                    \
    enum op_status name(const struct spconv_problem *p, const struct spconv_map *host,         \
                        const struct spconv_args *a, const struct op_memory *m, op_stream s,   \
                        void **state)                                                          \
    {                                                                                          \
        (void)host;                                                                            \
        return setup(p, a, splits, m, s, state);                                               \
    }
SETUP(spconv_own_setup, 0)
SETUP(spconv_own_1_setup, 1)
SETUP(spconv_own_2_setup, 2)
SETUP(spconv_own_3_setup, 3)
#undef SETUP

/* W is that of the set-up: the layer copies from there. */
enum op_status spconv_own_with(const struct spconv_problem *p, const struct spconv_args *a,
                               const struct spconv_rest *rest, void *state, op_stream s)
{
    const Own *own = (const Own *)state;
    if (a->w != own->w)
        return OP_EINVAL;
    if (own->transposed) {
        const dim3 grid((p->cout + TRANSPOSE - 1) / TRANSPOSE, (p->cin + TRANSPOSE - 1) / TRANSPOSE,
                        p->taps);
        transpose_taps<<<grid, 256, 0, s>>>((const half *)a->w, own->transposed, p->cin, p->cout);
        if (cudaGetLastError())
            return OP_EDEVICE;
    }
    struct own_layer_io io = {};
    io.x = p->pass == SPCONV_FORWARD ? a->x : a->g;
    io.y = a->y;
    io.residual = rest->residual;
    io.bias = rest->bias;
    io.mask = rest->mask;
    io.relu = rest->relu;
    io.x_step = own->channels;
    io.y_step = io.residual_step = own->columns;
    return own_layer_run(own->layer, &io, s);
}

enum op_status spconv_own(const struct spconv_problem *p, const struct spconv_args *a, void *state,
                          op_stream s)
{
    const struct spconv_rest none = {};
    return spconv_own_with(p, a, &none, state, s);
}

void spconv_own_teardown(void *state)
{
    if (state)
        own_layer_close(((Own *)state)->layer);
    free(state);
}

void spconv_own_counts(const struct spconv_problem *p, const void *state,
                       struct spconv_counts *counts)
{
    const Own *own = (const Own *)state;
    const double rows = (double)own->plan.tiles * SPCONV_TILE;
    (void)p;
    counts->slots = own->slots;
    counts->extra_bytes =
        4 * rows * own->plan.splits + 8 * rows * own->columns * (own->plan.splits - 1);
}
OP_END
