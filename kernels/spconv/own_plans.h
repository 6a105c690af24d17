/*
 * own_plans.h - own_plan.h for the maps of a network: all plans in a dozen launches, where one
 * after the other has as many a plan and most of them wait more than they work.
 */
#ifndef KERNELS_SPCONV_OWN_PLANS_H
#define KERNELS_SPCONV_OWN_PLANS_H

#include "own_plan.h"

OP_BEGIN

enum { OWN_PLANS_MAX = 32 };

/* Plans, whose memory own_plan_open took, and what each is made of. */
struct own_plans {
    int count; /* <= OWN_PLANS_MAX */
    struct own_source source[OWN_PLANS_MAX];
    struct own_plan plan[OWN_PLANS_MAX];
};

/*
 * One sort makes all of them: keys of a range of taps lie above those of the ranges after it.
 *
 *     key     base of the range + place of the row's mask in the Gray sequence, 0 for padding
 *     order   descending; the longest ranges of MinkUNet (five of 27 taps) need 30 bits
 */
struct own_segment {
    int plan, split;
    int first; /* tile of the sorted list */
    uint32_t base;
};

/* Tiles of all plans; the segment of a tile; bits of a key, more than 32 where they do not fit. */
int own_plans_tiles(const struct own_plans *p);
struct own_segment own_plans_segment(const struct own_plans *p, int tile);
int own_plans_bits(const struct own_plans *p);

/* Takes memory for lists of so many tiles, of any number of plans. */
enum op_status own_plans_open(int tiles, const struct op_memory *memory,
                              struct own_plan_work *work);
/* Fills the plans, the same that own_plan_make fills.  Enqueues.  OP_EUNSUPPORTED: keys of more
 * than 32 bits. */
enum op_status own_plans_make(const struct own_plans *p, const struct own_plan_work *work,
                              op_stream s);

OP_END
#endif
