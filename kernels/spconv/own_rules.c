/* own_rules.c - what this suite's own kernels cover, and with how many ranges of taps. */
#include "own.h"

enum op_status spconv_own_supports(const struct spconv_problem *p, const char **why)
{
    const int forward = p->pass == SPCONV_FORWARD;
    const int channels = forward ? p->cin : p->cout, columns = forward ? p->cout : p->cin;
    *why = p->pass == SPCONV_WGRAD      ? "forward and dgrad only"
           : p->dtype != SPCONV_F16     ? "half only"
           : channels % 2 || columns % 16 ? "channels are not even, or columns no multiple of 16"
                                          : NULL;
    return *why ? OP_EUNSUPPORTED : OP_OK;
}

enum op_status spconv_own_wgrad_supports(const struct spconv_problem *p, const char **why)
{
    *why = p->pass != SPCONV_WGRAD          ? "wgrad only"
           : p->dtype != SPCONV_F16         ? "half only"
           : p->cin % 8 != 0 || p->cout % 8 ? "rows are no multiples of 16 bytes"
                                            : NULL;
    return *why ? OP_EUNSUPPORTED : OP_OK;
}

/*
 * Measured on an H200, `gpu_spconv time - variants`, scan with 94 590, 68 867, 41 983, 21 458 and
 * 9 505 voxels at strides 1 to 16, us; cut by what there is to do, then as chosen here:
 *
 *     27 taps, 16 channels, stride 1      17.5  15.1    whole tiles
 *     27 taps, 64, stride 1               21.9  18.9    parts of 12 taps
 *     27 taps, 64, stride 2               23.8  21.4    whole
 *     27 taps, 128, stride 4              46.3  38.0    whole
 *     27 taps, 256, stride 8              94.6  79.0    two ranges, parts of 14
 *     27 taps, 256, stride 16             53.3  47.0    parts of 12
 *     8 taps, 64 to 128, down             10.5   9.7, 8.7 6.5, 14.0 10.7    whole
 *     8 taps, 256, down to 9 505          22.6          cut: few tiles, several taps each
 *     8 taps, 256, up to 21 458, 9 505    17.9  14.1, 16.8  9.4    whole: a tap a tile
 *     8 taps, 256, down to 3 816          17.8  13.8    shares of the columns
 *     27 taps, 128, 2 100 voxels          11.7  10.6    shares
 *     27 taps, 32, 300 and 2 100           6.5   5.3, 7.3  6.7    parts of 4
 *
 * A second range saves a quarter of the products and costs sums passed on in float: it pays for 256
 * channels only.
 */
struct own_choice own_choose(int rows, int finer, int taps, int channels, int columns)
{
    static const struct {
        int rows, finer, taps; /* at least */
        long products;
        struct own_choice choice;
    } best[] = {
        { 16384, 0, 16, 256 * 256, { OWN_BY_WIDTH, 2, 14 } },
        { 16384, 0, 16, 128 * 128, { OWN_BY_WIDTH, 1, OWN_WHOLE } },
        { 81920, 0, 16, 64 * 64, { OWN_BY_WIDTH, 1, 12 } },
        { 16384, 0, 0, 0, { OWN_BY_WIDTH, 1, OWN_WHOLE } },
        { 8192, 1, 0, 0, { OWN_BY_WIDTH, 1, OWN_WHOLE } },
        { 8192, 0, 16, 256 * 256, { OWN_BY_WIDTH, 1, 12 } },
        { 4096, 0, 0, 64 * 64, { OWN_BY_WIDTH, 1, 0 } },
        { 2048, 0, 0, 128 * 128, { OWN_SHARES, 1, 0 } },
        { 2048, 0, 0, 64 * 64, { OWN_BY_WIDTH, 1, 0 } },
        { 0, 0, 0, 64 * 64, { OWN_SHARES, 1, 0 } },
        { 0, 0, 0, 0, { OWN_BY_WIDTH, 1, 4 } },
    };
    int i = 0;
    while (rows < best[i].rows || finer < best[i].finer || taps < best[i].taps ||
           (long)channels * columns < best[i].products)
        i++;
    return best[i].choice;
}
