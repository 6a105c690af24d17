/* own_variants.c - the table of variants; empty where there is no CUDA. */
#include "own_variants.h"

#ifdef WITH_CUDA

/* name, shape, ranges of taps, taps of a part */
#define VARIANTS(X)                                                                             \
    X(p4_s1, TUNED, 1, 4) X(p6_s1, TUNED, 1, 6) X(p8_s1, TUNED, 1, 8) X(p12_s1, TUNED, 1, 12)   \
    X(p27_s1, TUNED, 1, 27)                                                                     \
    X(p4_s2, TUNED, 2, 4) X(p5_s2, TUNED, 2, 5) X(p7_s2, TUNED, 2, 7) X(p14_s2, TUNED, 2, 14)   \
    X(p3_s3, TUNED, 3, 3) X(p5_s3, TUNED, 3, 5) X(p9_s3, TUNED, 3, 9)                           \
    X(p6_s1_producers, PRODUCERS, 1, 6) X(p8_s1_producers, PRODUCERS, 1, 8)                     \
    X(p27_s1_producers, PRODUCERS, 1, 27) X(p7_s2_producers, PRODUCERS, 2, 7)                   \
    X(p8_s1_one, ONE, 1, 8) X(p7_s2_one, ONE, 2, 7) X(p14_s2_one, ONE, 2, 14)

static enum op_status covers(const struct spconv_problem *p, enum own_shape shape, int splits,
                             const char **why)
{
    *why = p->pass != SPCONV_FORWARD || p->dtype != SPCONV_F16 ? "forward, half only"
           : p->taps < splits                                  ? "fewer taps than ranges"
           : !own_shape_covers(shape, p->cin, p->cout)         ? "not for these channels"
                                                               : NULL;
    return *why ? OP_EUNSUPPORTED : OP_OK;
}

#define FUNCTIONS(name, shape, splits, most)                                                    \
    static enum op_status supports_##name(const struct spconv_problem *p, const char **why)     \
    {                                                                                           \
        return covers(p, OWN_SHAPE_##shape, splits, why);                                       \
    }                                                                                           \
    static enum op_status setup_##name(const struct spconv_problem *p,                          \
                                       const struct spconv_map *host,                           \
                                       const struct spconv_args *a, const struct op_memory *m,  \
                                       op_stream s, void **state)                               \
    {                                                                                           \
        (void)host;                                                                             \
        return own_variant_setup(OWN_SHAPE_##shape, splits, most, p, a, m, s, state);           \
    }
VARIANTS(FUNCTIONS)

#define ROW(name_, shape, splits, most)                                                         \
    { .base = { .name = "own_" #name_, .title = #name_, .origin = "parts of " #most " taps",    \
                .role = OP_OWN, .sm_min = 90, .sm_max = 90, .symbol = "own_spconv" },           \
      .supports = supports_##name_, .setup = setup_##name_, .teardown = own_variant_teardown,   \
      .run = own_variant_run, .counts = own_variant_counts },

#else
#define VARIANTS(X)
#define ROW
#endif

const struct spconv_impl spconv_variants[] = { VARIANTS(ROW) { .base = { .name = NULL } } };
