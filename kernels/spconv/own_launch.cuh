/* own_launch.cuh - set-up of a layer once its kernel is chosen. */
#ifndef KERNELS_SPCONV_OWN_LAUNCH_CUH
#define KERNELS_SPCONV_OWN_LAUNCH_CUH

#include <stdlib.h>

#include "own.cuh"
#include "upload.cuh"

typedef void (*OwnKernel)(CUtensorMap, OwnWork);

struct own_layer {
    OwnWork work;
    OwnKernel kernel, masked; /* masked: NULL where there is none */
    CUtensorMap w_map;
    int grid, bytes;
};

struct OwnForm {
    OwnKernel kernel, masked;
    int columns, blocks, bytes;
};

/* Gradients of rows are masked: by W transposed, or by few channels in any pass. */
template <int Columns, bool Whole, int Bytes, bool Back = false, class Tune = OwnTune<Columns>>
static OwnForm form()
{
    typedef OwnShape<Columns, Tune> Shape;
    OwnForm f = { own_spconv<Columns, Whole, Bytes, Back, Tune, false>, NULL, Columns,
                  Shape::BLOCKS, Shape::BYTES };
    if constexpr (Back || !Whole)
        f.masked = own_spconv<Columns, Whole, Bytes, Back, Tune, true>;
    return f;
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

/* Counters; sums to pass on, where there are several ranges. */
static enum op_status take_workspace(const struct op_memory *memory, op_stream s, OwnWork *work)
{
    const size_t rows = (size_t)work->plan.tiles * SPCONV_TILE;
    enum op_status status = OP_OK;
    work->counters = cleared<int>(memory, s, 4, &status);
    if (work->plan.splits > 1)
        work->partial = scratch<float>(memory, rows * work->columns, &status);
    return status;
}

/* Thread blocks that run at once. */
static enum op_status blocks_at_once(const OwnForm &form, int *count)
{
    int device, sms, blocks;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaFuncSetAttribute((const void *)form.kernel,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, form.bytes) ||
        (form.masked && cudaFuncSetAttribute((const void *)form.masked,
                                             cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             form.bytes)) ||
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, (const void *)form.kernel,
                                                      OWN_THREADS, form.bytes))
        return OP_EDEVICE;
    *count = sms * (form.blocks < blocks ? form.blocks : blocks);
    return blocks < 1 ? OP_EUNSUPPORTED : OP_OK;
}

/* layer->work has a plan and sizes.  No more blocks than run at once: they wait for others. */
static enum op_status prepare(const OwnForm &form, const void *w, int taps, bool back,
                              const struct op_memory *memory, op_stream s,
                              struct own_layer *layer)
{
    OwnWork *work = &layer->work;
    const struct own_plan *plan = &work->plan;
    int most;
    const enum op_status status = blocks_at_once(form, &most);
    if (status != OP_OK)
        return status;
    layer->kernel = form.kernel;
    layer->masked = form.masked; /* its launch bounds are those of kernel */
    layer->bytes = form.bytes;
    work->blocks = work->columns / form.columns;
    work->inverse = (uint32_t)(((uint64_t)1 << 32) / work->channels + 1);
    const long units = (long)plan->parts * work->blocks;
    layer->grid = (int)(units < most ? units : most);
    if (!tma_map_half(&layer->w_map, w, taps * (back ? work->columns : work->channels),
                      back ? work->channels : work->columns, SPCONV_SLICE))
        return OP_EDEVICE;
    return take_workspace(memory, s, work);
}

#endif
