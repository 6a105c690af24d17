/* implicit.cu - set-up and launch of implicit.cuh. */
#include <stdlib.h>

#include "implicit.cuh"
#include "implicit.h"
#include "own.h"
#include "share.cuh"
#include "upload.cuh"

typedef void (*ImplicitLaunch)(ImplicitWork);

enum Variant { PUBLISHED, NO_HOIST, NO_PAD, ONE_TILE, TWO_STAGES, FOUR_STAGES, PORTABLE };

struct Implicit {
    ImplicitWork work;
    ImplicitLaunch kernel;
    void *parts; /* [splits][n][columns], shared; NULL with one range */
    int splits, tiles, columns, threads; /* columns of a tile */
    size_t shared;
    double slots;
    Variant variant;
};

/* ---- which kernel ---- */

template <template <int, int, bool> class Math, int N, int K, bool Transposed, int Vector,
          class Options>
static void use(Implicit *v)
{
    v->kernel = implicit_gemm<Math, N, K, Transposed, Vector, Options>;
    v->columns = N;
    v->threads = ImplicitWarps<N>::THREADS;
    v->shared = ImplicitKernel<Math, N, K, Transposed, Vector, Options>::SHARED;
}

/* The tile for any channels; loads as wide as both widths allow. */
template <template <int, int, bool> class Math, bool Transposed, int Widest>
static void use_small(Implicit *v)
{
    const int both = v->work.channels | v->work.columns;
    if (both % Widest == 0)
        use<Math, 16, 16, Transposed, Widest, Published>(v);
    else if (both % 2 == 0)
        use<Math, 16, 16, Transposed, 2, Published>(v);
    else
        use<Math, 16, 16, Transposed, 1, Published>(v);
}

/* Tile by channels as published; `Widest` elements are 16 bytes. */
template <template <int, int, bool> class Math, bool Transposed, int Widest, class Options>
static void use_tile(Implicit *v, bool smallest)
{
    if (!smallest && v->work.columns % 64 == 0 && v->work.channels % 32 == 0)
        use<Math, 64, 32, Transposed, Widest, Options>(v);
    else if (!smallest && v->work.columns % 16 == 0 && v->work.channels % 32 == 0)
        use<Math, 16, 32, Transposed, Widest, Options>(v);
    else
        use_small<Math, Transposed, Widest>(v);
}

template <template <int, int, bool> class Math, bool Transposed, int Widest>
static void use_portable(Implicit *v)
{
    typedef ImplicitOptions<true, true, 3> Options;
    if (v->work.columns % 128 == 0)
        use<Math, 128, 32, Transposed, Widest, Options>(v);
    else if (v->work.columns % 64 == 0)
        use<Math, 64, 32, Transposed, Widest, Options>(v);
    else
        use<Math, 16, 32, Transposed, Widest, Options>(v);
}

/* Half alone has the variants: three dtypes of each would say the same thrice. */
template <bool Transposed> static void use_half(Implicit *v, Variant variant)
{
    switch (variant) {
    case NO_HOIST:
        use_tile<HalfMath, Transposed, 8, ImplicitOptions<false, true, 1>>(v, false);
        break;
    case NO_PAD:
        use_tile<HalfMath, Transposed, 8, ImplicitOptions<true, false, 1>>(v, false);
        break;
    case TWO_STAGES:
        use_tile<HalfMath, Transposed, 8, ImplicitOptions<true, true, 2>>(v, false);
        break;
    case FOUR_STAGES:
        use_tile<HalfMath, Transposed, 8, ImplicitOptions<true, true, 4>>(v, false);
        break;
    case PORTABLE:
        use_portable<HalfMath, Transposed, 8>(v);
        break;
    default:
        use_tile<HalfMath, Transposed, 8, Published>(v, variant == ONE_TILE);
    }
}

template <template <int, int, bool> class Math, bool Transposed>
static void use_float(Implicit *v, Variant variant)
{
    if (variant == PORTABLE)
        use_portable<Math, Transposed, 4>(v);
    else
        use_tile<Math, Transposed, 4, Published>(v, false);
}

template <bool Transposed>
static void use_dtype(Implicit *v, enum spconv_dtype dtype, Variant variant)
{
    if (dtype == SPCONV_F16)
        use_half<Transposed>(v, variant);
    else if (dtype == SPCONV_TF32)
        use_float<Tf32Math, Transposed>(v, variant);
    else
        use_float<FloatMath, Transposed>(v, variant);
}

/* ---- sums of the ranges ---- */

template <class T>
static __global__ __launch_bounds__(256) void sum_parts(const T *parts, T *y, size_t count,
                                                        int splits)
{
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= count)
        return;
    float sum = 0;
    for (int s = 0; s < splits; s++)
        sum += as_float(parts[s * count + i]);
    set(y + i, sum);
}

/* ---- set-up ---- */

static enum op_status upload_plan(const struct spconv_problem *p, const struct spconv_map *host,
                                  int splits, enum spconv_key key, const struct op_memory *memory,
                                  op_stream s, Implicit *v)
{
    const struct spconv_table t = spconv_table_of(p, host);
    struct spconv_plan plan;
    enum op_status status = spconv_plan_make(&t, splits, key, &plan);
    if (status != OP_OK)
        return status;
    const size_t rows = (size_t)plan.tiles * SPCONV_TILE, all = rows * plan.splits;
    const size_t tiles = (size_t)plan.splits * plan.tiles;
    int32_t *index = (int32_t *)malloc(all * plan.taps * sizeof *index);
    uint32_t *mask = (uint32_t *)malloc(tiles * sizeof *mask);
    status = index && mask ? OP_OK : OP_ENOMEM;
    if (status == OP_OK) {
        spconv_plan_index(&plan, &t, index, NULL);
        for (size_t i = 0; i < tiles; i++)
            mask[i] = spconv_plan_mask(&plan, (int)(i / plan.tiles),
                                       (int)(i % plan.tiles) * SPCONV_TILE, SPCONV_TILE);
    }
    v->work.index = upload(memory, s, index, all * plan.taps, &status);
    if (key != SPCONV_AS_IS) {
        v->work.row = upload(memory, s, plan.row, all, &status);
        v->work.mask = upload(memory, s, mask, tiles, &status);
    }
    v->work.n = t.rows;
    v->work.rows = (int)rows;
    v->work.taps = plan.taps;
    v->work.all_taps = p->taps;
    v->splits = plan.splits;
    v->tiles = plan.tiles;
    v->slots = key == SPCONV_AS_IS ? (double)rows * p->taps
                                   : spconv_plan_slots(&plan, SPCONV_TILE);
    free(index);
    free(mask);
    spconv_plan_free(&plan);
    return status;
}

/* What follows from channels, once the plan is there; frees v where it fails. */
static enum op_status use_channels(const struct spconv_problem *p, enum op_status status,
                                   const struct op_memory *memory, Implicit *v, void **state)
{
    const bool forward = p->pass == SPCONV_FORWARD;
    v->work.channels = forward ? p->cin : p->cout;
    v->work.columns = forward ? p->cout : p->cin;
    if (forward)
        use_dtype<false>(v, p->dtype, v->variant);
    else
        use_dtype<true>(v, p->dtype, v->variant);
    v->parts = NULL;
    if (v->splits > 1)
        v->parts = shared_scratch<char>(memory, (size_t)v->splits * v->work.n * v->work.columns *
                                                    (p->dtype == SPCONV_F16 ? 2 : 4), &status);
    if (status == OP_OK && cudaFuncSetAttribute((const void *)v->kernel,
                                                cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                (int)v->shared))
        status = OP_EDEVICE;
    if (status != OP_OK) {
        free(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

static enum op_status setup(const struct spconv_problem *p, const struct spconv_map *host,
                            int splits, enum spconv_key key, Variant variant,
                            const struct op_memory *memory, op_stream s, void **state)
{
    *state = NULL;
    if (p->pass == SPCONV_WGRAD || splits > p->taps)
        return OP_EUNSUPPORTED;
    Implicit *v = (Implicit *)calloc(1, sizeof *v);
    if (!v)
        return OP_ENOMEM;
    v->variant = variant;
    const enum op_status status = upload_plan(p, host, splits, key, memory, s, v);
    return use_channels(p, status, memory, v, state);
}

OP_BEGIN
enum op_status spconv_implicit_setup_like(const struct spconv_problem *p, const void *like,
                                          const struct op_memory *memory, op_stream s,
                                          void **state)
{
    Implicit *v = (Implicit *)malloc(sizeof *v);
    (void)s;
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    *v = *(const Implicit *)like;
    return use_channels(p, OP_OK, memory, v, state);
}

#define SETUP(name, splits, key, variant)                                                      \
    enum op_status name(const struct spconv_problem *p, const struct spconv_map *host,         \
                        const struct spconv_args *a, const struct op_memory *m, op_stream s,   \
                        void **state)                                                          \
    {                                                                                          \
        (void)a;                                                                               \
        return setup(p, host, splits, key, variant, m, s, state);                              \
    }
SETUP(spconv_implicit_0_setup, 1, SPCONV_AS_IS, PUBLISHED)
SETUP(spconv_implicit_1_setup, 1, SPCONV_BY_MASK, PUBLISHED)
SETUP(spconv_implicit_2_setup, 2, SPCONV_BY_MASK, PUBLISHED)
SETUP(spconv_implicit_3_setup, 3, SPCONV_BY_MASK, PUBLISHED)
SETUP(spconv_implicit_4_setup, 4, SPCONV_BY_MASK, PUBLISHED)
SETUP(spconv_implicit_nohoist_setup, 1, SPCONV_BY_MASK, NO_HOIST)
SETUP(spconv_implicit_nopad_setup, 1, SPCONV_BY_MASK, NO_PAD)
SETUP(spconv_implicit_tile_setup, 1, SPCONV_BY_MASK, ONE_TILE)
SETUP(spconv_implicit_2stage_setup, 1, SPCONV_BY_MASK, TWO_STAGES)
SETUP(spconv_implicit_4stage_setup, 1, SPCONV_BY_MASK, FOUR_STAGES)
SETUP(spconv_own_portable_setup, 1, SPCONV_BY_GRAY, PORTABLE)
#undef SETUP

enum op_status spconv_implicit(const struct spconv_problem *p, const struct spconv_args *a,
                               void *state, op_stream s)
{
    const Implicit *v = (const Implicit *)state;
    const size_t count = (size_t)v->work.n * v->work.columns;
    const unsigned blocks = (unsigned)((count + 255) / 256);
    ImplicitWork work = v->work;
    work.x = p->pass == SPCONV_FORWARD ? a->x : a->g;
    work.w = a->w;
    work.y = v->splits > 1 ? v->parts : a->y;
    const dim3 grid(v->tiles, (work.columns + v->columns - 1) / v->columns, v->splits);
    v->kernel<<<grid, v->threads, v->shared, s>>>(work);
    if (v->splits > 1 && p->dtype == SPCONV_F16)
        sum_parts<<<blocks, 256, 0, s>>>((const half *)v->parts, (half *)a->y, count, v->splits);
    else if (v->splits > 1)
        sum_parts<<<blocks, 256, 0, s>>>((const float *)v->parts, (float *)a->y, count, v->splits);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void spconv_implicit_teardown(void *state)
{
    free(state);
}

void spconv_implicit_counts(const struct spconv_problem *p, const void *state,
                            struct spconv_counts *counts)
{
    const Implicit *v = (const Implicit *)state;
    const double element = p->dtype == SPCONV_F16 ? 2 : 4;
    counts->slots = v->slots;
    counts->extra_bytes = v->splits > 1
                              ? 2 * element * v->splits * v->work.n * v->work.columns
                              : 0;
}
OP_END
