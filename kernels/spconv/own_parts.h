/*
 * own_parts.h - a plan's tiles in parts of few taps, so that no block is left with a long one.
 *
 * On scans a tile has between one and all 27 taps, five on average: with a tile a unit the
 * longest decide when the last block ends.  Parts of a tile are equal but for one tap, the longer
 * first; units are ordered by range of taps, then by length, parts of a tile by number, so that
 * a tile's last part is taken after its others.
 */
#ifndef KERNELS_SPCONV_OWN_PARTS_H
#define KERNELS_SPCONV_OWN_PARTS_H

#include "own_plan.h"

OP_BEGIN

/* 16-byte aligned. */
struct own_part {
    int32_t tile;
    uint32_t taken; /* taps of the tile that are the part's */
    int32_t number; /* of the part, and how many the tile has above 8 bits */
    int32_t slot;   /* first of the tile's slots, of which it has parts - 1; one part: 0 */
};

/* Device memory. */
struct own_parts {
    struct own_part *part; /* [room] */
    int32_t *count;        /* [2] parts; slots */
    int room, slots;       /* at most; slots at least 1 */
    int most;              /* taps of a part */
};

/* Takes memory for parts of at most `most` taps. */
enum op_status own_parts_open(const struct own_plan *plan, int most,
                              const struct op_memory *memory, struct own_parts *parts);
/* Fills them from the plan's masks; enqueues. */
enum op_status own_parts_make(const struct own_plan *plan, const struct own_parts *parts,
                              op_stream s);

OP_END
#endif
