/* spconv_groups.h - adaptive grouping of gather-GEMM-scatter: which taps are one batched product. */
#ifndef BASELINES_SPCONV_GROUPS_H
#define BASELINES_SPCONV_GROUPS_H

#include "../kernels/spconv/spconv.h"

OP_BEGIN

/* Settings of grouping, 1 .. SPCONV_GROUPINGS: those of the published grid that differ.  1 is a
 * GEMM a tap; 2 + 9 e + t groups taps that differ by at most e tenths where the largest has fewer
 * than 5000 + 2500 t rows, e 0 .. 5, t 0 .. 8.  Set-up takes the middle, 0.3 and 15000. */
enum { SPCONV_GROUPINGS = 1 + 6 * 9, SPCONV_GROUPING_MIDDLE = 2 + 9 * 3 + 4 };

struct spconv_group {
    int first, count; /* in taps[] */
    int rows;         /* padded */
    int batched;
};

struct spconv_groups {
    int taps[SPCONV_TAPS_MAX], tap_count; /* with pairs, each before its mirror image */
    struct spconv_group group[SPCONV_TAPS_MAX];
    int groups;
    int32_t base[SPCONV_TAPS_MAX]; /* row of the buffer where a tap begins */
    long rows;                     /* of the buffer */
};

/* start [taps + 1]: pairs of each tap; middle: a tap that needs no buffer, or -1; setting 0: every
 * tap alone. */
void spconv_groups_make(int taps, const int32_t *start, int middle, int setting,
                        struct spconv_groups *g);

/* Whether two settings, 0 for the middle, are the same on a map. */
spconv_same_setting_fn spconv_groups_same;

OP_END
#endif
