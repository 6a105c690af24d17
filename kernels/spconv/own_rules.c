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
 * Measured on an H200 on a scan of 94 590 voxels (times at strides 1, 2, 4, 8 of layers with 64, 64,
 * 128, 256 channels), and followed from there: a second range of taps saves a third of the products
 * and costs sums passed on in float, which pays where a pair's products are many and blocks have
 * more than a tile each.  With few tiles their taps are cut over the blocks instead, which needs
 * one range; with very few, columns too.
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
