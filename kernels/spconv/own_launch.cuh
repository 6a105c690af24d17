/* own_launch.cuh - set-up of a layer once its kernel is chosen. */
#ifndef KERNELS_SPCONV_OWN_LAUNCH_CUH
#define KERNELS_SPCONV_OWN_LAUNCH_CUH

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

struct OwnChoice {
    OwnKernel kernel;
    int columns, blocks, threads, bytes;
};

template <int Columns, bool Whole, int Bytes, class Tune = OwnTune<Columns>>
static OwnChoice choice()
{
    typedef OwnShape<Columns, Tune> Shape;
    return { own_spconv<Columns, Whole, Bytes, Tune>, Columns, Shape::BLOCKS, Shape::THREADS,
             Shape::BYTES };
}

/* Zeroed. */
template <class T>
static T *cleared(const struct op_memory *memory, op_stream s, size_t count,
                  enum op_status *status)
{
    T *p = scratch<T>(memory, count, status);
    if (*status == OP_OK && cudaMemsetAsync(p, 0, count * sizeof *p, s))
        *status = OP_EDEVICE;
    return p;
}

/* Counters; sums to pass on, where there are several ranges; slots, where tiles are in parts. */
static enum op_status take_workspace(const struct op_memory *memory, op_stream s, OwnWork *work)
{
    const size_t rows = (size_t)work->plan.tiles * SPCONV_TILE;
    enum op_status status = OP_OK;
    work->counters = cleared<int>(memory, s, 4, &status);
    if (work->plan.splits > 1)
        work->partial = scratch<float>(memory, rows * work->columns, &status);
    if (work->parts.part) {
        const size_t slots = (size_t)work->parts.slots;
        work->slots = scratch<float>(memory, slots * SPCONV_TILE * work->columns, &status);
        work->arrived = cleared<int>(memory, s, slots * work->blocks * 2, &status);
    }
    return status;
}

/* layer->work has a plan, parts where it is in parts, and sizes. */
static enum op_status prepare(const OwnChoice &choice, const void *w, int taps,
                              const struct op_memory *memory, op_stream s,
                              struct own_layer *layer)
{
    OwnWork *work = &layer->work;
    int device, sms, blocks;
    layer->kernel = choice.kernel;
    layer->threads = choice.threads;
    layer->bytes = choice.bytes;
    work->blocks = work->columns / choice.columns;
    const long tiles = work->parts.part ? work->parts.room : work->plan.splits * work->plan.tiles;
    const long units = tiles * work->blocks;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaFuncSetAttribute((const void *)layer->kernel,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, layer->bytes) ||
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, (const void *)layer->kernel,
                                                      layer->threads, layer->bytes) ||
        !tma_map_half(&layer->w_map, w, taps * work->channels, work->columns, SPCONV_SLICE))
        return OP_EDEVICE;
    if (blocks < 1)
        return OP_EUNSUPPORTED;
    /* no more than run at once: units wait for earlier ones */
    const long most = (long)sms * (choice.blocks < blocks ? choice.blocks : blocks);
    layer->grid = (int)(units < most ? units : most);
    return take_workspace(memory, s, work);
}

#endif
