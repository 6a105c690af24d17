/* own_sm90.cu - set-up and launch of own.cuh. */
#include <stdlib.h>

#include "own.cuh"
#include "upload.cuh"

typedef void (*OwnKernel)(CUtensorMap, OwnWork);

struct own_layer {
    OwnWork work;
    OwnKernel kernel;
    CUtensorMap w_map;
    int grid, threads, bytes;
};

/* ---- which kernel ---- */

struct OwnChoice {
    OwnKernel kernel;
    int columns, blocks, threads, bytes;
};

template <int Columns, bool Whole, int Bytes> static OwnChoice choice()
{
    typedef OwnShape<Columns> Shape;
    return { own_spconv<Columns, Whole, Bytes>, Columns, Shape::BLOCKS, Shape::THREADS,
             Shape::BYTES };
}

static OwnChoice choose_wide(int columns)
{
    if (columns % 256 == 0)
        return choice<256, true, 16>();
    if (columns % 192 == 0)
        return choice<192, true, 16>();
    if (columns % 128 == 0)
        return choice<128, true, 16>();
    if (columns % 96 == 0)
        return choice<96, true, 16>();
    if (columns % 64 == 0)
        return choice<64, true, 16>();
    if (columns % 32 == 0)
        return choice<32, true, 16>();
    return choice<16, true, 16>();
}

/* Few channels are soon gathered again for further columns. */
template <int Bytes> static OwnChoice choose_narrow(int columns)
{
    if (columns % 64 == 0)
        return choice<64, false, Bytes>();
    if (columns % 32 == 0)
        return choice<32, false, Bytes>();
    return choice<16, false, Bytes>();
}

static OwnChoice choose_kernel(int channels, int columns)
{
    return channels % 64 == 0  ? choose_wide(columns)
           : channels % 8 == 0 ? choose_narrow<16>(columns)
           : channels % 4 == 0 ? choose_narrow<8>(columns)
                               : choose_narrow<4>(columns);
}

/* ---- layers ---- */

/* Counters, cleared; and sums to pass on, where there are several ranges. */
static enum op_status take_workspace(const struct op_memory *memory, op_stream s, OwnWork *work)
{
    const size_t rows = (size_t)work->plan.tiles * SPCONV_TILE;
    enum op_status status = OP_OK;
    work->counters = scratch<int>(memory, 4, &status);
    if (work->plan.splits > 1)
        work->partial = scratch<float>(memory, rows * work->columns, &status);
    if (status == OP_OK && cudaMemsetAsync(work->counters, 0, 4 * sizeof(int), s))
        status = OP_EDEVICE;
    return status;
}

static enum op_status prepare(const void *w, int taps, struct own_layer *layer)
{
    const OwnWork &work = layer->work;
    const OwnChoice choice = choose_kernel(work.channels, work.columns);
    int device, sms;
    layer->kernel = choice.kernel;
    layer->threads = choice.threads;
    layer->bytes = choice.bytes;
    layer->work.blocks = work.columns / choice.columns;
    const long units = (long)work.plan.splits * work.plan.tiles * work.blocks;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaFuncSetAttribute((const void *)layer->kernel,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, layer->bytes) ||
        !tma_map_half(&layer->w_map, w, taps * work.channels, work.columns, SPCONV_SLICE))
        return OP_EDEVICE;
    layer->grid = (int)(units < sms * choice.blocks ? units : sms * choice.blocks);
    return OP_OK;
}

OP_BEGIN
enum op_status own_layer_open(const struct own_plan *plan, int taps, int channels, int columns,
                              const void *w, const struct op_memory *memory, op_stream s,
                              struct own_layer **out)
{
    *out = NULL;
    if (channels % 2 || columns % 16)
        return OP_EUNSUPPORTED;
    struct own_layer *layer = (struct own_layer *)calloc(1, sizeof *layer);
    if (!layer)
        return OP_ENOMEM;
    layer->work.plan = *plan;
    layer->work.channels = channels;
    layer->work.columns = columns;
    enum op_status status = take_workspace(memory, s, &layer->work);
    if (status == OP_OK)
        status = prepare(w, taps, layer);
    if (status != OP_OK) {
        free(layer);
        return status;
    }
    *out = layer;
    return OP_OK;
}

enum op_status own_layer_run(const struct own_layer *layer, const struct own_layer_io *io,
                             op_stream s)
{
    OwnWork work = layer->work;
    work.io = *io;
    layer->kernel<<<layer->grid, layer->threads, layer->bytes, s>>>(layer->w_map, work);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void own_layer_close(struct own_layer *layer)
{
    free(layer);
}
OP_END
