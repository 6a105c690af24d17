/* own_sm90.cu - set-up and launch of own.cuh. */
#include <stdlib.h>

#include "own.cuh"
#include "own.h"
#include "upload.cuh"

typedef void (*OwnKernel)(CUtensorMap, OwnWork);

struct Own {
    OwnWork work;
    OwnKernel kernel;
    CUtensorMap w_map;
    const void *w;
    half *transposed; /* dgrad: W of the launch as [taps][cout][cin] */
    int grid, threads, bytes;
    double slots;
};

/* ---- which kernel ---- */

struct OwnChoice {
    OwnKernel kernel;
    int columns, blocks, threads, bytes;
};

template <int Columns> static OwnChoice choose_gather(int channels)
{
    typedef OwnShape<Columns> Shape;
    const OwnKernel kernel = channels % 64 == 0  ? own_spconv<Columns, true, 16>
                             : channels % 8 == 0 ? own_spconv<Columns, false, 16>
                             : channels % 4 == 0 ? own_spconv<Columns, false, 8>
                                                 : own_spconv<Columns, false, 4>;
    return { kernel, Columns, Shape::BLOCKS, Shape::THREADS, Shape::BYTES };
}

static OwnChoice choose_kernel(int channels, int columns)
{
    if (columns % 256 == 0)
        return choose_gather<256>(channels);
    if (columns % 192 == 0)
        return choose_gather<192>(channels);
    if (columns % 128 == 0)
        return choose_gather<128>(channels);
    if (columns % 96 == 0)
        return choose_gather<96>(channels);
    if (columns % 64 == 0)
        return choose_gather<64>(channels);
    if (columns % 32 == 0)
        return choose_gather<32>(channels);
    return choose_gather<16>(channels);
}

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
                                int splits, const struct op_memory *memory, op_stream s, Own *own)
{
    const struct spconv_table t = spconv_table_of(p, &a->map);
    const struct own_source source = { t.partner, NULL, NULL, t.rows, t.taps };
    struct own_plan_work work;
    enum op_status status = own_plan_open(t.rows, t.taps, splits, memory, &own->work.plan, &work);
    if (status == OP_OK)
        status = own_plan_make(&source, &own->work.plan, &work, s);
    if (status == OP_OK)
        status = own_plan_slots(&own->work.plan, s, &own->slots);
    own->work.counters = scratch<int>(memory, 4, &status);
    if (splits > 1)
        own->work.partial = scratch<float>(memory, (size_t)t.rows * own->work.columns, &status);
    if (status == OP_OK && cudaMemsetAsync(own->work.counters, 0, 4 * sizeof(int), s))
        status = OP_EDEVICE;
    return status;
}

static enum op_status make_launch(const struct spconv_problem *p, const struct spconv_args *a,
                                  const struct op_memory *memory, Own *own)
{
    const OwnChoice choice = choose_kernel(own->work.channels, own->work.columns);
    const void *w = a->w;
    int device, sms;
    enum op_status status = OP_OK;
    if (p->pass == SPCONV_DGRAD)
        w = own->transposed = scratch<half>(memory, (size_t)p->taps * p->cin * p->cout, &status);
    if (status != OP_OK)
        return status;
    own->kernel = choice.kernel;
    own->threads = choice.threads;
    own->bytes = choice.bytes;
    own->work.blocks = own->work.columns / choice.columns;
    const long units = (long)own->work.plan.splits * own->work.plan.tiles * own->work.blocks;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaFuncSetAttribute((const void *)own->kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             own->bytes) ||
        !tma_map_half(&own->w_map, w, p->taps * own->work.channels, own->work.columns,
                      SPCONV_SLICE))
        return OP_EDEVICE;
    own->grid = (int)(units < sms * choice.blocks ? units : sms * choice.blocks);
    return OP_OK;
}

static enum op_status setup(const struct spconv_problem *p, const struct spconv_args *a,
                            int splits, const struct op_memory *memory, op_stream s, void **state)
{
    const char *why;
    *state = NULL;
    if (spconv_own_supports(p, &why) != OP_OK || splits > p->taps)
        return OP_EUNSUPPORTED;
    Own *own = (Own *)calloc(1, sizeof *own);
    if (!own)
        return OP_ENOMEM;
    const bool forward = p->pass == SPCONV_FORWARD;
    own->w = a->w;
    own->work.channels = forward ? p->cin : p->cout;
    own->work.columns = forward ? p->cout : p->cin;
    enum op_status status = make_plan(p, a, splits, memory, s, own);
    if (status == OP_OK)
        status = make_launch(p, a, memory, own);
    if (status != OP_OK) {
        free(own);
        return status;
    }
    *state = own;
    return OP_OK;
}

OP_BEGIN
#define SETUP(name, splits)                                                                    \
    enum op_status name(const struct spconv_problem *p, const struct spconv_map *host,         \
                        const struct spconv_args *a, const struct op_memory *m, op_stream s,   \
                        void **state)                                                          \
    {                                                                                          \
        (void)host;                                                                            \
        return setup(p, a, splits, m, s, state);                                               \
    }
SETUP(spconv_own_setup, spconv_own_splits(p))
SETUP(spconv_own_1_setup, 1)
SETUP(spconv_own_2_setup, 2)
SETUP(spconv_own_3_setup, 3)
#undef SETUP

/* W is that of the set-up: its map was made there. */
enum op_status spconv_own(const struct spconv_problem *p, const struct spconv_args *a, void *state,
                          op_stream s)
{
    Own *own = (Own *)state;
    OwnWork work = own->work;
    if (a->w != own->w)
        return OP_EINVAL;
    work.x = (const half *)(p->pass == SPCONV_FORWARD ? a->x : a->g);
    work.y = (half *)a->y;
    if (own->transposed) {
        const dim3 grid((p->cout + TRANSPOSE - 1) / TRANSPOSE, (p->cin + TRANSPOSE - 1) / TRANSPOSE,
                        p->taps);
        transpose_taps<<<grid, 256, 0, s>>>((const half *)a->w, own->transposed, p->cin, p->cout);
    }
    own->kernel<<<own->grid, own->threads, own->bytes, s>>>(own->w_map, work);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void spconv_own_teardown(void *state)
{
    free(state);
}

void spconv_own_counts(const struct spconv_problem *p, const void *state,
                       struct spconv_counts *counts)
{
    const Own *own = (const Own *)state;
    const double rows = (double)own->work.plan.tiles * SPCONV_TILE;
    (void)p;
    counts->slots = own->slots;
    counts->extra_bytes = 4 * rows * own->work.plan.splits +
                          8.0 * rows * own->work.columns * (own->work.plan.splits - 1);
}
OP_END
