/* split_launch.cuh - set-up of split.cuh and stream.cuh for one scheme; each scheme has a file of
 * its own. */
#ifndef KERNELS_ATTN_SPLIT_LAUNCH_CUH
#define KERNELS_ATTN_SPLIT_LAUNCH_CUH

#include <stdlib.h>

#include "stream.cuh"
#include "split_state.h"
#include "value.h"

/* Warps of a block, tiles in the ring of a warp (at 128 elements 8.5 KB each), blocks that
 * registers are shared among. */
constexpr int SPLIT_WARPS = 4, SPLIT_STAGES = 3, SPLIT_BLOCKS = 2;

template <enum attn_scheme S, int D, int Tiles, bool Stream>
static enum op_status choose(SplitState *v)
{
    using T = Split<S, D, Tiles>;
    constexpr int ring = SPLIT_WARPS * SPLIT_STAGES * T::STAGE;
    constexpr int ends =
        4 * (SPLIT_WARPS * T::QUERIES * T::PITCH + split_merge_floats(T::QUERIES, SPLIT_WARPS));
    static_assert(ring >= 4 * split_merge_floats(T::QUERIES, SPLIT_MOST), "parts fit the ring");
    if constexpr (Stream) {
        v->kernel = stream_attention<S, D, Tiles, SPLIT_WARPS, SPLIT_STAGES, SPLIT_BLOCKS>;
        v->shared = ring + 4 * stream_merge_floats(T::QUERIES);
    } else {
        v->kernel = split_attention<S, D, Tiles, SPLIT_WARPS, SPLIT_STAGES, SPLIT_BLOCKS>;
        v->shared = ring > ends ? ring : ends;
    }
    v->stream = Stream;
    v->threads = 32 * SPLIT_WARPS;
    v->step = Stream ? T::TILE : SPLIT_WARPS * T::TILE;
    return cudaFuncSetAttribute((const void *)v->kernel,
                                cudaFuncAttributeMaxDynamicSharedMemorySize,
                                v->shared) == cudaSuccess
               ? OP_OK
               : OP_EDEVICE;
}

template <enum attn_scheme S, bool Stream>
static enum op_status split_setup(const struct attn_problem *p, const struct attn_args *a,
                                  const struct op_memory *memory, op_stream s, void **state)
{
    SplitState *const first = (SplitState *)*state, *v;
    enum op_status status;
    *state = NULL;
    if (attn_meaningless(p))
        return OP_EINVAL;
    v = (SplitState *)calloc(1, sizeof *v);
    if (!v)
        return OP_ENOMEM;
    const bool wide = p->heads / p->kv_heads > 8;
    switch (p->head_dim) {
    case 64:
        status = wide ? choose<S, 64, 2, Stream>(v) : choose<S, 64, 1, Stream>(v);
        break;
    case 96:
        status = wide ? choose<S, 96, 2, Stream>(v) : choose<S, 96, 1, Stream>(v);
        break;
    case 128:
        status = wide ? choose<S, 128, 2, Stream>(v) : choose<S, 128, 1, Stream>(v);
        break;
    default:
        status = OP_EUNSUPPORTED;
    }
    if (!status)
        status = split_room(p, first, memory, s, v);
    if (status) {
        free(v);
        return status;
    }
    v->work.a = *a;
    *state = v;
    return OP_OK;
}

#endif
