/*
 * pillars.h - occupied cells of a plane under LiDAR frames: the inputs of pillar-based detectors.
 *
 * Waymo's grid: x and y in [-74.88, 74.88) m, cells of 0.32 m, 468 x 468; points count whose z lies
 * in (-1.999, 3.999).  Pillars are in raster order, x fastest, as their coordinates come out of
 * voxelisation.
 *
 * Source: FlatFormer (arXiv 2301.08739), its published configuration.
 */
#ifndef SUITES_DATA_PILLARS_H
#define SUITES_DATA_PILLARS_H

#include <stdint.h>

#include "../../kernels/flatten/flatten.h"
#include "../../kernels/pillar/cell.h"
#include "points.h"

enum { PILLARS_SIDE = 468 };
#define PILLARS_METRES 0.32
extern const struct pillar_grid pillars_waymo;

struct pillars {
    int n;
    long points;               /* inside the range, of all frames that were made */
    struct flatten_cell *cell; /* [n] */
};

/* Of the first `frames` frames of one generated street (street.h).  want > 0: exactly so many; those
 * that are missing come from its further frames, then from streets of further seeds, and what is
 * too many is left out at random.  0, or -1 after cb_error; then *out is { 0 }. */
int pillars_generate(int frames, uint64_t seed, int want, struct pillars *out);
/* Of given points. */
int pillars_of(const struct points *p, struct pillars *out);
/* Mirrored along an axis or both, again in raster order. */
int pillars_mirror(const struct pillars *p, int along_x, int along_y, struct pillars *out);
void pillars_free(struct pillars *p); /* accepts { 0 }; leaves { 0 } */

#endif
