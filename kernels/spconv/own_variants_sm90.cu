/* own_variants_sm90.cu - kernels of own_variants.h. */
#include "own_launch.cuh"
#include "own_variants.h"

template <int Blocks, int Producers> struct Parted {
    static constexpr int BLOCKS = Blocks, PRODUCERS = Producers;
    static constexpr bool PARTS = true;
};

template <int Columns> static OwnChoice tuned()
{
    typedef OwnTune<Columns> Tune;
    return choice<Columns, true, 16, Parted<Tune::BLOCKS, Tune::PRODUCERS>>();
}

/* columns: a multiple of 64. */
static OwnChoice choose_parted(enum own_shape shape, int columns)
{
    switch (shape) {
    case OWN_SHAPE_PRODUCERS: return choice<64, true, 16, Parted<2, 128>>();
    case OWN_SHAPE_ONE:
        return columns % 128 ? choice<64, true, 16, Parted<1, 128>>()
                             : choice<128, true, 16, Parted<1, 128>>();
    default:
        return columns % 256 == 0   ? tuned<256>()
               : columns % 128 == 0 ? tuned<128>()
                                    : tuned<64>();
    }
}

OP_BEGIN
int own_shape_covers(enum own_shape shape, int channels, int columns)
{
    if (channels % 64 || columns % 64)
        return 0;
    return shape == OWN_SHAPE_TUNED || (shape == OWN_SHAPE_ONE ? columns <= 128 : columns == 64);
}

enum op_status own_layer_open_parts(enum own_shape shape, const struct own_plan *plan,
                                    const struct own_parts *parts, int taps, int channels,
                                    int columns, const void *w, const struct op_memory *memory,
                                    op_stream s, struct own_layer **out)
{
    *out = NULL;
    if (!own_shape_covers(shape, channels, columns))
        return OP_EUNSUPPORTED;
    struct own_layer *layer = (struct own_layer *)calloc(1, sizeof *layer);
    if (!layer)
        return OP_ENOMEM;
    layer->work.plan = *plan;
    layer->work.parts = *parts;
    layer->work.channels = channels;
    layer->work.columns = columns;
    const enum op_status status = prepare(choose_parted(shape, columns), w, taps, memory, s, layer);
    if (status != OP_OK) {
        free(layer);
        return status;
    }
    *out = layer;
    return OP_OK;
}
OP_END
