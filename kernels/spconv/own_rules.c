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

/* A second range costs sums passed on in float, and saves a third of the products: worth it
 * where products and weights are most of the time. */
int spconv_own_splits(const struct spconv_problem *p)
{
    return p->taps >= 16 && (long)p->cin * p->cout >= 128 * 128 ? 2 : 1;
}
