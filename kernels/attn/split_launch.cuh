/* split_launch.cuh - set-up of split.cuh for one scheme; each scheme has a file of its own. */
#ifndef KERNELS_ATTN_SPLIT_LAUNCH_CUH
#define KERNELS_ATTN_SPLIT_LAUNCH_CUH

#include <stdlib.h>

#include "split.cuh"
#include "split_state.h"
#include "value.h"

/*
 * Shapes of block, by its warps.  Whatever the shape, shared memory of a multiprocessor holds
 * about 200 KB of tiles:
 *
 *   4 warps          8 warps a multiprocessor, 3 tiles each     few sequences, many splits
 *   2 or 1, small   16 warps, 3 half tiles each                 many: one round of blocks
 *   2 or 1, else    12 warps, 2 tiles each; for more than 8 query heads, whose sums take more
 *                   registers, 8 warps, 3 tiles each
 *
 * Small where half a tile still has whole lines in a row (split.cuh).
 */
template <enum attn_scheme S, int D, int Tiles, int Warps> struct SplitShape {
    using C = Codes<S>;
    static constexpr bool SMALL =
        Warps < 4 && Tiles == 1 && C::TILE >= 32 && C::TILE / 16 * (D * C::BITS / 8) % 128 == 0;
    static constexpr bool LARGE = Warps == 4 || Tiles > 1;
    static constexpr int TILE = SMALL ? C::TILE / 2 : C::TILE;
    static constexpr int STAGES = SMALL || LARGE ? 3 : 2;
    static constexpr int BLOCKS = (SMALL ? 16 : LARGE ? 8 : 12) / Warps;
};

/* Parts whose weights the block's memory takes when they are merged. */
static __host__ __device__ constexpr int split_most(int bytes, int queries)
{
    int most = SPLIT_MOST;
    while (4 * split_merge_floats(queries, most) > bytes)
        most--;
    return most;
}

template <enum attn_scheme S, int D, int Tiles, int Warps> static SplitKind split_kind()
{
    using Shape = SplitShape<S, D, Tiles, Warps>;
    using T = Split<S, D, Tiles, Shape::TILE>;
    constexpr int ring = Warps * Shape::STAGES * T::STAGE;
    constexpr int ends =
        4 * (Warps * T::QUERIES * T::PITCH + split_merge_floats(T::QUERIES, Warps));
    constexpr int shared = ring > ends ? ring : ends;
    static_assert((shared + 1024) * Shape::BLOCKS <= 228 * 1024, "blocks of sm_90 fit");
    return { split_attention<S, D, Tiles, Shape::TILE, Warps, Shape::STAGES, Shape::BLOCKS>,
             shared,
             Shape::BLOCKS,
             { Warps, Shape::TILE, 0, split_most(shared, T::QUERIES) } };
}

template <enum attn_scheme S, int D>
static void split_kinds(const struct attn_problem *p, SplitKind (&kind)[SPLIT_SHAPES])
{
    if (p->heads / p->kv_heads > 8) {
        kind[0] = split_kind<S, D, 2, 4>();
        kind[1] = split_kind<S, D, 2, 2>();
        kind[2] = split_kind<S, D, 2, 1>();
    } else {
        kind[0] = split_kind<S, D, 1, 4>();
        kind[1] = split_kind<S, D, 1, 2>();
        kind[2] = split_kind<S, D, 1, 1>();
    }
}

template <enum attn_scheme S>
static bool split_kinds(const struct attn_problem *p, SplitKind (&kind)[SPLIT_SHAPES])
{
    switch (p->head_dim) {
    case 64:
        split_kinds<S, 64>(p, kind);
        return true;
    case 96:
        split_kinds<S, 96>(p, kind);
        return true;
    case 128:
        split_kinds<S, 128>(p, kind);
        return true;
    }
    return false;
}

/* choice: NULL for the plan's own. */
template <enum attn_scheme S>
static enum op_status split_setup(const struct attn_problem *p, const struct attn_args *a,
                                  const struct split_choice *choice, const struct op_memory *memory,
                                  op_stream s, void **state)
{
    SplitState *const first = (SplitState *)*state, *v;
    SplitKind kind[SPLIT_SHAPES];
    *state = NULL;
    if (attn_meaningless(p))
        return OP_EINVAL;
    if (!split_kinds<S>(p, kind))
        return OP_EUNSUPPORTED;
    v = (SplitState *)calloc(1, sizeof *v);
    if (!v)
        return OP_ENOMEM;
    const enum op_status status = split_room(p, S, kind, choice, first, memory, s, v);
    if (status) {
        free(v);
        return status;
    }
    v->work.a = *a;
    *state = v;
    return OP_OK;
}

/* As on a GPU with 132 multiprocessors: the plan depends on the device, the sum hardly does. */
template <enum attn_scheme S> static double split_extra_bytes(const struct attn_problem *p)
{
    SplitKind kind[SPLIT_SHAPES];
    struct split_shape shape[SPLIT_SHAPES];
    if (!split_kinds<S>(p, kind))
        return 0;
    for (int k = 0; k < SPLIT_SHAPES; k++) {
        shape[k] = kind[k].plan;
        shape[k].slots = 132 * kind[k].blocks;
    }
    const struct split_plan plan = split_plan_of(p, S, shape, NULL);
    return 2.0 * (double)split_parts(p, &plan) * 4 * (p->head_dim + 2);
}

#endif
