/* own_sm90.cu - which kernel of own.cuh a layer takes, its set-up and its launch. */
#include "own_launch.cuh"

/* ---- which kernel ---- */

struct OwnOne {
    static constexpr int BLOCKS = 1;
};

template <bool Back> static OwnForm choose_wide(enum own_shape shape, int columns)
{
    if (shape == OWN_ONE && columns % 128 == 64)
        return form<64, true, 16, Back, OwnOne>();
    if (shape == OWN_SHARES && columns % 64 == 0)
        return form<64, true, 16, Back>();
    if (columns % 256 == 0)
        return form<256, true, 16, Back>();
    if (columns % 192 == 0)
        return form<192, true, 16, Back>();
    if (columns % 128 == 0)
        return form<128, true, 16, Back>();
    if (columns % 96 == 0)
        return form<96, true, 16, Back>();
    if (columns % 64 == 0)
        return form<64, true, 16, Back>();
    if (columns % 32 == 0)
        return form<32, true, 16, Back>();
    return form<16, true, 16, Back>();
}

/* Few channels are soon gathered again for further columns. */
template <int Bytes> static OwnForm choose_narrow(int columns)
{
    if (columns % 64 == 0)
        return form<64, false, Bytes>();
    if (columns % 32 == 0)
        return form<32, false, Bytes>();
    return form<16, false, Bytes>();
}

static OwnForm choose_form(enum own_shape shape, bool back, int channels, int columns)
{
    return back                ? choose_wide<true>(shape, columns)
           : channels % 64 == 0 ? choose_wide<false>(shape, columns)
           : channels % 8 == 0 ? choose_narrow<16>(columns)
           : channels % 4 == 0 ? choose_narrow<8>(columns)
                               : choose_narrow<4>(columns);
}

/* ---- layers ---- */

/* Slices that a part has at least: with fewer its sums take longer than its products. */
constexpr int LEAST_SLICES = 3;

OP_BEGIN
enum op_status own_cut_for(const struct own_choice *choice, int channels, int columns,
                           struct own_cut *cut)
{
    if (channels % 2 || columns % 16)
        return OP_EUNSUPPORTED;
    const OwnForm form = choose_form(choice->shape, false, channels, columns);
    int blocks;
    const enum op_status status = blocks_at_once(form, &blocks);
    if (status != OP_OK)
        return status;
    const int of_columns = columns / form.columns;
    cut->lanes = blocks > of_columns ? blocks / of_columns : 1;
    cut->columns = columns;
    cut->least = (LEAST_SLICES * SPCONV_SLICE + channels - 1) / channels;
    cut->most = choice->most;
    return OP_OK;
}

enum op_status own_layer_open(enum own_shape shape, const struct own_plan *plan, int taps,
                              int channels, int columns, const void *w, int back,
                              const struct op_memory *memory, op_stream s, struct own_layer **out)
{
    *out = NULL;
    if (channels % (back ? SPCONV_SLICE : 2) || columns % 16)
        return OP_EUNSUPPORTED;
    if (columns > plan->cut.columns && plan->slots)
        return OP_EINVAL;
    struct own_layer *layer = (struct own_layer *)calloc(1, sizeof *layer);
    if (!layer)
        return OP_ENOMEM;
    layer->work.plan = *plan;
    layer->work.channels = channels;
    layer->work.columns = columns;
    const enum op_status status =
        prepare(choose_form(shape, back, channels, columns), w, taps, back, memory, s, layer);
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
    const OwnKernel kernel = io->mask ? layer->masked : layer->kernel;
    work.io = *io;
    if (!kernel)
        return OP_EUNSUPPORTED;
    return launch_early_shared(kernel, layer->grid, OWN_THREADS, 1, layer->bytes, s,
                               layer->w_map, work);
}

void own_layer_close(struct own_layer *layer)
{
    free(layer);
}
OP_END
