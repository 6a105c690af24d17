/* own_sm90.cu - the kernel of own.cuh for so many channels and columns; a layer's set-up and launch. */
#include "own_launch.cuh"

/* ---- which kernel ---- */

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
    const enum op_status status = prepare(choose_kernel(channels, columns), w, taps, memory, s, layer);
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
