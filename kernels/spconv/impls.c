/* impls.c - the table of kernels of spconv, and which problems each covers. */
#include "fetch.h"
#include "implicit.h"
#include "own.h"
#include "wgrad.h"

static enum op_status no(const char **why, const char *text)
{
    *why = text;
    return OP_EUNSUPPORTED;
}

static int splittable(const struct spconv_problem *p, int splits)
{
    return p->taps >= splits;
}

static enum op_status to_points(const struct spconv_problem *p, const char **why)
{
    return p->pass == SPCONV_WGRAD ? no(why, "forward and dgrad only") : OP_OK;
}

static enum op_status weights(const struct spconv_problem *p, const char **why)
{
    return p->pass != SPCONV_WGRAD ? no(why, "wgrad only") : OP_OK;
}

/* points_N and weights_N: to points, wgrad, with N ranges of taps. */
#define RANGES(n)                                                                               \
    static enum op_status points_##n(const struct spconv_problem *p, const char **why)          \
    {                                                                                           \
        return splittable(p, n) ? to_points(p, why) : no(why, "fewer taps than ranges");        \
    }                                                                                           \
    static enum op_status weights_##n(const struct spconv_problem *p, const char **why)         \
    {                                                                                           \
        return splittable(p, n) ? weights(p, why) : no(why, "fewer taps than ranges");          \
    }
RANGES(2)
RANGES(3)
RANGES(4)
#undef RANGES

static enum op_status half_to_points(const struct spconv_problem *p, const char **why)
{
    return p->dtype != SPCONV_F16 ? no(why, "half only") : to_points(p, why);
}

static enum op_status forward(const struct spconv_problem *p, const char **why)
{
    return p->pass != SPCONV_FORWARD ? no(why, "forward only") : OP_OK;
}

static enum op_status half_forward(const struct spconv_problem *p, const char **why)
{
    return p->dtype != SPCONV_F16 ? no(why, "half only") : forward(p, why);
}

/* Copies of 16 bytes. */
static enum op_status portable(const struct spconv_problem *p, const char **why)
{
    const int together = p->dtype == SPCONV_F16 ? 8 : 4;
    if (p->cin % together || p->cout % together)
        return no(why, "rows are no multiples of 16 bytes");
    return to_points(p, why);
}

static enum op_status own_2(const struct spconv_problem *p, const char **why)
{
    return splittable(p, 2) ? spconv_own_supports(p, why) : no(why, "fewer taps than ranges");
}

static enum op_status own_3(const struct spconv_problem *p, const char **why)
{
    return splittable(p, 3) ? spconv_own_supports(p, why) : no(why, "fewer taps than ranges");
}

#define PUBLISHED "TorchSparse++, arXiv 2311.12862, "
#define IMPLICIT(name_, title_, origin_, supports_, setup_, half_)                              \
    { .base = { .name = name_, .title = title_, .origin = PUBLISHED origin_, .role = OP_PAPER,  \
                .sm_min = 80, .sm_max = 999, .symbol = "implicit_gemm" },                       \
      .supports = supports_, .setup = OP_CUDA(setup_),                                          \
      .teardown = OP_CUDA(spconv_implicit_teardown), .run = OP_CUDA(spconv_implicit),           \
      .counts = OP_CUDA(spconv_implicit_counts), .half_sums = half_,                            \
      .setup_like = OP_CUDA(spconv_implicit_setup_like) }
#define FETCH(name_, title_, origin_, supports_, setup_, half_)                                 \
    { .base = { .name = name_, .title = title_, .origin = PUBLISHED origin_, .role = OP_PAPER,  \
                .sm_min = 80, .sm_max = 999, .symbol = "fetch_on_demand" },                     \
      .supports = supports_, .setup = OP_CUDA(setup_),                                          \
      .teardown = OP_CUDA(spconv_fetch_teardown), .run = OP_CUDA(spconv_fetch),                 \
      .counts = OP_CUDA(spconv_fetch_counts), .half_sums = half_ }
#define WGRAD(name_, title_, origin_, supports_, setup_)                                        \
    { .base = { .name = name_, .title = title_, .origin = PUBLISHED origin_, .role = OP_PAPER,  \
                .sm_min = 80, .sm_max = 999, .symbol = "5wgrad" },                              \
      .supports = supports_, .setup = OP_CUDA(setup_),                                          \
      .teardown = OP_CUDA(spconv_wgrad_teardown), .run = OP_CUDA(spconv_wgrad),                 \
      .counts = OP_CUDA(spconv_wgrad_counts), .setup_like = OP_CUDA(spconv_wgrad_setup_like) }
#define OWN(name_, title_, origin_, supports_, setup_)                                          \
    { .base = { .name = name_, .title = title_, .origin = origin_, .role = OP_OWN,              \
                .sm_min = 90, .sm_max = 90, .symbol = "own_spconv" },                           \
      .supports = supports_, .setup = OP_CUDA(setup_),                                          \
      .teardown = OP_CUDA(spconv_own_teardown), .run = OP_CUDA(spconv_own),                     \
      .counts = OP_CUDA(spconv_own_counts), .run_with = OP_CUDA(spconv_own_with) }

const struct spconv_impl spconv_kernels[] = {
    IMPLICIT("implicit_s0", "implicit GEMM", "implicit GEMM, unsorted", to_points,
             spconv_implicit_0_setup, 0),
    IMPLICIT("implicit_s1", "implicit GEMM S=1", "implicit GEMM, sorted, one range of taps",
             to_points, spconv_implicit_1_setup, 0),
    IMPLICIT("implicit_s2", "implicit GEMM S=2", "implicit GEMM, sorted, two ranges of taps",
             points_2, spconv_implicit_2_setup, 1),
    IMPLICIT("implicit_s3", "implicit GEMM S=3", "implicit GEMM, sorted, three ranges of taps",
             points_3, spconv_implicit_3_setup, 1),
    IMPLICIT("implicit_s4", "implicit GEMM S=4", "implicit GEMM, sorted, four ranges of taps",
             points_4, spconv_implicit_4_setup, 1),
    FETCH("fetch", "fetch-on-demand", "fetch-on-demand, taps fused, sums in the dtype", forward,
          spconv_fetch_setup, 1),
    FETCH("fetch_f32", "fetch-on-demand FP32", "fetch-on-demand, taps fused, float sums",
          half_forward, spconv_fetch_f32_setup, 0),
    FETCH("fetch_offset", "fetch-on-demand by tap", "fetch-on-demand, a launch a tap", forward,
          spconv_fetch_offset_setup, 1),

    WGRAD("wgrad_s0", "wgrad", "wgrad, unsorted", weights, spconv_wgrad_0_setup),
    WGRAD("wgrad_s1", "wgrad S=1", "wgrad, sorted, one range of taps", weights,
          spconv_wgrad_1_setup),
    WGRAD("wgrad_s2", "wgrad S=2", "wgrad, sorted, two ranges of taps", weights_2,
          spconv_wgrad_2_setup),
    WGRAD("wgrad_s3", "wgrad S=3", "wgrad, sorted, three ranges of taps, the default", weights_3,
          spconv_wgrad_3_setup),
    WGRAD("wgrad_s4", "wgrad S=4", "wgrad, sorted, four ranges of taps", weights_4,
          spconv_wgrad_4_setup),

    /* the generator's steps, at one range of taps */
    IMPLICIT("implicit_nohoist", "no hoisting", "S = 1, addresses computed in the loop",
             half_to_points, spconv_implicit_nohoist_setup, 0),
    IMPLICIT("implicit_nopad", "no padding", "S = 1, rows tested at each load", half_to_points,
             spconv_implicit_nopad_setup, 0),
    IMPLICIT("implicit_tile", "one tile", "S = 1, the tile for any channels", half_to_points,
             spconv_implicit_tile_setup, 0),
    IMPLICIT("implicit_2stage", "two stages", "S = 1, with a ring of two stages", half_to_points,
             spconv_implicit_2stage_setup, 0),
    IMPLICIT("implicit_4stage", "four stages", "S = 1, with a ring of four stages", half_to_points,
             spconv_implicit_4stage_setup, 0),

    /* this suite's own */
    OWN("own", "own",
        "wgmma implicit GEMM, all columns a tile, rows in Gray order, as many ranges as pay",
        spconv_own_supports, spconv_own_setup),
    OWN("own_s1", "own S=1", "the same, one range of taps", spconv_own_supports,
        spconv_own_1_setup),
    OWN("own_s2", "own S=2", "the same, two ranges, sums passed on in float", own_2,
        spconv_own_2_setup),
    OWN("own_s3", "own S=3", "the same, three ranges", own_3, spconv_own_3_setup),
    { .base = { .name = "own_wgrad", .title = "own wgrad", .role = OP_OWN,
                .origin = "wgmma over gathered pairs, both operands transposed, chunks added in "
                          "order",
                .sm_min = 90, .sm_max = 90, .symbol = "own_wgrad" },
      .supports = spconv_own_wgrad_supports, .setup = OP_CUDA(spconv_own_wgrad_setup),
      .teardown = OP_CUDA(spconv_own_wgrad_teardown), .run = OP_CUDA(spconv_own_wgrad),
      .counts = OP_CUDA(spconv_own_wgrad_counts) },
    { .base = { .name = "own_portable", .title = "own portable", .role = OP_OWN,
                .origin = "implicit GEMM of mma, up to 128 columns a tile, ring of three stages, "
                          "rows in Gray order",
                .sm_min = 80, .sm_max = 999, .symbol = "implicit_gemm" },
      .supports = portable, .setup = OP_CUDA(spconv_own_portable_setup),
      .teardown = OP_CUDA(spconv_implicit_teardown), .run = OP_CUDA(spconv_implicit),
      .counts = OP_CUDA(spconv_implicit_counts) },
    { .base = { .name = NULL } },
};
