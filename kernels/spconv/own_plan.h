/*
 * own_plan.h - plan.h's order of rows on the device, for this suite's own kernels.
 *
 * Enqueues only, and sizes may be known to the device alone, so that a network builds maps and
 * plans and runs its layers in one graph.  The same rows in the same order as
 * spconv_plan_make(SPCONV_BY_GRAY), tiles of equal cost in any order.
 */
#ifndef KERNELS_SPCONV_OWN_PLAN_H
#define KERNELS_SPCONV_OWN_PLAN_H

#include "spconv.h"

OP_BEGIN

/* A table of partners, by rows of the result; on the device. */
struct own_source {
    const int32_t *partner; /* [rows][taps] */
    const uint32_t *mask;   /* [rows] taps of a row; NULL: taken from the table */
    const int32_t *count;   /* rows, where `rows` is only an upper bound; NULL: it is exact */
    int rows, taps;
};

/* Taps of a tile that a thread block does at a time.  16 bytes, read as one. */
struct own_part {
    int32_t tile;
    uint32_t lower, upper; /* its taps that the lower, the upper 64 rows of the tile have */
    int32_t number;        /* of the part; how many the tile has, from bit OWN_PARTS; the first of
                            * as many slots, from bit OWN_SLOT */
};
enum { OWN_PARTS = 6, OWN_SLOT = 12 };

/* How tiles are cut.  On scans a tile has between one and all 27 taps, five on average: with a
 * tile a unit of work the longest decide when the last block ends. */
struct own_cut {
    int lanes;   /* parts that run at once */
    int columns; /* of the widest layer: sums of parts are kept for so many */
    int least;   /* taps of a part at least, where a tile has them */
    int most;    /* at most; 0: by what there is to do */
};

/* What the kernels read; device memory.  tiles of SPCONV_TILE rows in each of `splits` ranges. */
struct own_plan {
    int splits, taps, tiles; /* taps of a range */
    struct own_cut cut;
    int parts, slots;      /* at most; sums of so many parts can be kept */
    int32_t *row;          /* [splits][tiles * SPCONV_TILE], -1: padding */
    int32_t *index;        /* [splits][tiles][taps][SPCONV_TILE] partners, of taps that the
                            * tile has */
    uint32_t *mask;        /* [splits][tiles][2] taps of the lower and of the upper 64 rows */
    struct own_part *part; /* ranges in order, in each the longest parts first, parts of a tile by
                            * number; none of tiles that are padding */
    int32_t *count;        /* [2] parts; tiles of a range that are not padding */
    float *sums;           /* [slots][SPCONV_TILE * columns] in the order of registers */
    int32_t *arrived;      /* [slots][columns / 16][2] parts whose sums are there; all 0 */
};

struct own_plan_work {
    uint32_t *key;  /* [2][splits * tiles * SPCONV_TILE] */
    int32_t *row;   /* the same */
    int32_t *count; /* [SPCONV_TAPS_MAX] */
    void *temp;
    size_t temp_bytes;
};

/* Takes the memory of both for at most `rows` rows, and clears what must be 0. */
enum op_status own_plan_open(int rows, int taps, int splits, const struct own_cut *cut,
                             const struct op_memory *memory, op_stream s, struct own_plan *plan,
                             struct own_plan_work *work);
/* Fills the plan. */
enum op_status own_plan_make(const struct own_source *t, const struct own_plan *plan,
                             const struct own_plan_work *work, op_stream s);
/* Pairs that it multiplies; waits for the stream. */
enum op_status own_plan_slots(const struct own_plan *plan, op_stream s, double *slots);

OP_END
#endif
