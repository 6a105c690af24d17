/*
 * plan.h - orders of the rows of a map, and what an implicit GEMM walks.
 *
 * A table [rows][taps] of partners, -1 for none, is cut into `splits` ranges of taps.
 * In each range rows are sorted so that those of a tile have the same taps: what no
 * row of a tile has is skipped, what some have is multiplied for all.
 *
 *     redundancy = sum over ranges and tiles of tile x taps of the tile / pairs
 *
 * Plain C, tested on the CPU; own_plan.cu does the same on the device.
 */
#ifndef KERNELS_SPCONV_PLAN_H
#define KERNELS_SPCONV_PLAN_H

#include "../common/hd.h"
#include "spconv.h"

OP_BEGIN

enum spconv_key {
    SPCONV_AS_IS,   /* no sorting */
    SPCONV_BY_MASK, /* the mask as a number, descending; as published */
    /* Rank of the mask in the Gray code whose highest bit is the rarest tap: neighbours differ
     * in few taps, and rare taps are in few tiles.  On the scans of the suite redundancy of 64
     * rows and one range is 1.55 to 1.84 where sorted masks give 1.93 to 2.19. */
    SPCONV_BY_GRAY
};

/* The table that a pass reads by rows of its result: forward and dgrad. */
struct spconv_table {
    const int32_t *partner; /* [rows][taps] */
    int rows, taps;
};
struct spconv_table spconv_table_of(const struct spconv_problem *p, const struct spconv_map *m);

/* Host memory, freed with spconv_plan_free, which accepts { 0 }. */
struct spconv_plan {
    int splits, taps; /* taps of a range; the last may have fewer */
    int tiles;        /* of SPCONV_TILE rows */
    int32_t *row;     /* [splits][tiles * SPCONV_TILE], -1: padding, which comes last */
    uint32_t *mask;   /* the same shape: bit d is tap `first of the range + d` */
};
enum op_status spconv_plan_make(const struct spconv_table *t, int splits, enum spconv_key key,
                                struct spconv_plan *plan);
void spconv_plan_free(struct spconv_plan *plan);

/* Or of the masks of `height` rows from row `first` of a range. */
uint32_t spconv_plan_mask(const struct spconv_plan *plan, int split, int first, int height);
/* Pairs that tiles of `height` rows multiply; height divides SPCONV_TILE. */
double spconv_plan_slots(const struct spconv_plan *plan, int height);

/* Partners in the order of the plan, [splits][rows][taps] and by tile
 * [splits][tiles][taps][SPCONV_TILE]; -1 also for padding and taps past the last. */
void spconv_plan_index(const struct spconv_plan *plan, const struct spconv_table *t,
                       int32_t *by_row, int32_t *by_tile);

/* Place of a code word in the Gray sequence. */
HD uint32_t spconv_gray_rank(uint32_t word)
{
    for (int s = 1; s < 32; s *= 2)
        word ^= word >> s;
    return word;
}

/*
 * The product of a tile walks slices: 64 of the range's taps x channels, numbered from its
 * first.  Channels that are a multiple of 64 have slices of one tap, narrow ones of several.
 */
enum { SPCONV_SLICE = 64 };

HD int spconv_slices(int channels, int taps)
{
    return (taps * channels + SPCONV_SLICE - 1) / SPCONV_SLICE;
}

/* Taps, as bits, whose channels a slice touches. */
HD uint32_t spconv_slice_taps(int slice, int channels, int taps)
{
    const int first = slice * SPCONV_SLICE / channels;
    const int last = (slice * SPCONV_SLICE + SPCONV_SLICE - 1) / channels;
    const uint32_t below = ~0u >> (31 - (last < taps ? last : taps - 1));
    return below & ~0u << first;
}

/* The first slice from `slice` on that touches one of these taps; spconv_slices: none. */
HD int spconv_slice_from(int slice, uint32_t present, int channels, int taps)
{
    while (slice < spconv_slices(channels, taps) &&
           !(present & spconv_slice_taps(slice, channels, taps)))
        slice++;
    return slice;
}

OP_END
#endif
