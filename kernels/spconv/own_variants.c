/* own_variants.c - the table of variants; empty where there is no CUDA. */
#include "own_variants.h"
#include "own.h"

#ifdef WITH_CUDA

/* name, form, ranges of taps, taps of a part (0: by what there is to do; 32: whole tiles) */
#define VARIANTS(X)                                                                             \
    X(auto_s1, BY_WIDTH, 1, 0) X(auto_s2, BY_WIDTH, 2, 0) X(auto_s3, BY_WIDTH, 3, 0)            \
    X(p4_s1, BY_WIDTH, 1, 4) X(p8_s1, BY_WIDTH, 1, 8) X(p12_s1, BY_WIDTH, 1, 12)                \
    X(p32_s1, BY_WIDTH, 1, 32) X(p7_s2, BY_WIDTH, 2, 7) X(p14_s2, BY_WIDTH, 2, 14)              \
    X(one_s1, ONE, 1, 0) X(one_p8_s1, ONE, 1, 8) X(one_s2, ONE, 2, 0)                           \
    X(shares_s1, SHARES, 1, 0) X(shares_p8_s1, SHARES, 1, 8) X(shares_s2, SHARES, 2, 0)

/* Those that are not what BY_WIDTH is. */
static int differs(enum own_shape shape, int channels, int columns)
{
    if (channels % 64)
        return shape == OWN_BY_WIDTH;
    return shape == OWN_ONE      ? columns % 128 == 64 && columns % 192
           : shape == OWN_SHARES ? columns % 64 == 0 && columns > 64
                                 : 1;
}

static enum op_status covers(const struct spconv_problem *p, enum own_shape shape, int splits,
                             const char **why)
{
    const int forward = p->pass == SPCONV_FORWARD;
    const enum op_status status = spconv_own_supports(p, why);
    if (status != OP_OK)
        return status;
    *why = p->taps < splits ? "fewer taps than ranges"
           : !differs(shape, forward ? p->cin : p->cout, forward ? p->cout : p->cin)
               ? "the same as another"
               : NULL;
    return *why ? OP_EUNSUPPORTED : OP_OK;
}

#define FUNCTIONS(name, shape, splits, most)                                                    \
    static enum op_status supports_##name(const struct spconv_problem *p, const char **why)     \
    {                                                                                           \
        return covers(p, OWN_##shape, splits, why);                                             \
    }                                                                                           \
    static enum op_status setup_##name(const struct spconv_problem *p,                          \
                                       const struct spconv_map *host,                           \
                                       const struct spconv_args *a, const struct op_memory *m,  \
                                       op_stream s, void **state)                               \
    {                                                                                           \
        const struct own_choice choice = { OWN_##shape, splits, most };                         \
        (void)host;                                                                             \
        return spconv_own_setup_as(&choice, p, a, m, s, state);                                 \
    }
VARIANTS(FUNCTIONS)

#define ROW(name_, shape, splits, most)                                                         \
    { .base = { .name = "own_" #name_, .title = #name_, .origin = "parts of " #most " taps",    \
                .role = OP_OWN, .sm_min = 90, .sm_max = 90, .symbol = "own_spconv" },           \
      .supports = supports_##name_, .setup = setup_##name_, .teardown = spconv_own_teardown,    \
      .run = spconv_own, .counts = spconv_own_counts, .run_with = spconv_own_with },

#else
#define VARIANTS(X)
#define ROW
#endif

const struct spconv_impl spconv_variants[] = { VARIANTS(ROW) { .base = { .name = NULL } } };
