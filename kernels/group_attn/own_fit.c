/* own_fit.c - which of our forms of the encoder for how many pillars. */
#include "own.h"

/*
 * From times recorded on an H200 (suite flatformer, experiments `encoder` and `encoder_frames`,
 * state hot; tests/test_encoder_own.c has them).  Rows of pillars go by tiles of 64:
 *
 *     few tiles a multiprocessor    even   groups a block each leave some without one; the smaller
 *                                          the groups, the longer this pays
 *     2 to 3, small groups          staged keys come by the copy engine while groups before are
 *                                          worked on
 *     3 to 4                        wide   four tiles at a time where three need a second pass
 *     else                          lean   equal shares cost more than they save
 *
 * own_lean was timed at 18,400 and 60,000 pillars, 1.5 to 3 % below own_sm90, of which it is a form;
 * own_staged there too: 5 % below own_lean with 18,400 in groups of 69, else 0 to 1.3 % above it.
 */
struct fit {
    int group;           /* up to */
    double even, staged; /* tiles a multiprocessor, up to */
};
static const struct fit fits[] = { { 106, 2, 3 }, { OWN_GROUP_MAX, 1.5, 0 } };

enum own_form own_fitting(int pillars, int group, int multiprocessors)
{
    const int tiles = (pillars + 63) / 64;
    const struct fit *f = fits;
    while (group > f->group && f->group < OWN_GROUP_MAX)
        f++;
    if (tiles <= f->even * multiprocessors)
        return OWN_EVEN;
    if (tiles <= f->staged * multiprocessors)
        return OWN_STAGED;
    return tiles > 3 * multiprocessors && tiles <= 4 * multiprocessors ? OWN_WIDE : OWN_LEAN;
}
