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
 * A second range of taps saves a quarter of the products and costs sums passed on in float.  On an
 * H200, on a scan with 94 590, 68 867, 41 983 and 21 458 voxels at strides 1 to 8, an earlier form
 * with two ranges took 1.88, 1.27, 0.94 and 0.99 of its time with one, at 64, 64, 128 and 256
 * channels.  With few tiles their taps are cut over the blocks instead, which needs one range, and
 * with very few the columns: follows from the time that a slice takes, not measured.
 */
struct own_choice own_choose(int rows, int taps, int channels, int columns)
{
    static const struct {
        int rows; /* at least */
        long products;
        struct own_choice choice;
    } best[] = {
        { 16384, 128 * 128, { OWN_BY_WIDTH, 2, 0 } },
        { 2048, 0, { OWN_BY_WIDTH, 1, 0 } },
        { 0, 0, { OWN_SHARES, 1, 0 } },
    };
    int i = 0;
    while (rows < best[i].rows || (long)channels * columns < best[i].products ||
           (best[i].choice.splits > 1 && taps < 16))
        i++;
    return best[i].choice;
}
