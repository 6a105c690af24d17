/*
 * voxel.h - points to voxels: the inputs of sparse convolution.
 *
 * Segmentation (MinkUNet): the grid starts at the smallest coordinate of the scan,
 *     c = floor((double)(p - min) / size)       the difference in float, the quotient in double
 * voxels in ascending order of (x, y, z), features those of the first point of each.  The order
 * of operations is part of the definition: others move the number of voxels by up to 0.5 %.
 *
 * Detection (CenterPoint): axes (x, -z, y), so that the vertical one is in the middle,
 *     c = floor((double)(p - low) / size)       low in float
 * points outside the grid are dropped, features averaged over the points of a voxel (sums in
 * double, by ascending point).  More voxels than the cap: those whose third coordinate lies
 * under 40 m are thinned at random, farther ones are kept first.  Then shuffled: rows have no
 * spatial order.
 *
 * Source: TorchSparse++ (arXiv 2311.12862), preprocessing of its workloads.
 */
#ifndef SUITES_DATA_VOXEL_H
#define SUITES_DATA_VOXEL_H

#include <stdbool.h>
#include <stdint.h>

#include "../../kernels/kmap/kmap.h"
#include "points.h"

struct voxels {
    int n, channels, batch;
    int size[3];              /* coordinates lie in [0, size) */
    bool sorted;              /* ascending by (batch, x, y, z) */
    struct kmap_coord *coord; /* [n], unique */
    float *feature;           /* [n][channels] */
};

/* A fixed grid of detection. */
struct voxel_grid {
    double low[3], size[3]; /* metres, of x, -z, y */
    int cells[3];           /* inside the range */
    int shape[3];           /* of the network's input: the vertical one has a cell more */
    int cap;                /* voxels at most; 0: any number */
    double near_m;          /* third coordinate under which voxels above the cap are thinned */
};
extern const struct voxel_grid voxel_grid_nuscenes, voxel_grid_waymo;

/* size_m > 0.  0, or -1 after cb_error (a grid of more than 2^20 cells on an axis, no memory). */
int voxels_segment(const char *name, const struct points *p, double size_m, struct voxels *out);
int voxels_detect(const char *name, const struct points *p, const struct voxel_grid *g,
                  uint64_t seed, struct voxels *out);
/* Several inputs as one batch: b = 0, 1, ... in the order given; the size is the largest. */
int voxels_join(const struct voxels *list, int count, struct voxels *out);
void voxels_free(struct voxels *v); /* accepts NULL and { 0 }; leaves { 0 } */

#endif
