/*
 * cell.h - which cell of a square grid a point lies in, for host and device alike.
 *
 *     x = floor((p.x - low) / size), y likewise       difference and quotient in float, rounded
 *                                                     to nearest: the same on every processor
 *
 * Points outside the grid, or not in (z_low, z_high), are in no cell.
 */
#ifndef KERNELS_PILLAR_CELL_H
#define KERNELS_PILLAR_CELL_H

#include <math.h>

#include "../common/hd.h"

struct pillar_grid {
    int side;            /* cells along x and along y */
    float low, size;     /* metres: of x and y at the first cell's edge; a cell's side */
    float z_low, z_high; /* metres, both outside */
    float z_middle;      /* height of the centre of a cell */
};

/* Row-major number of the cell of (x, y, z), x fastest; -1: none.  NaN is in none. */
HD int pillar_cell(const struct pillar_grid *g, float x, float y, float z)
{
    const float column = floorf((x - g->low) / g->size), row = floorf((y - g->low) / g->size);
    const float side = (float)g->side;
    if (!(z > g->z_low && z < g->z_high && column >= 0 && row >= 0 && column < side && row < side))
        return -1;
    return (int)row * g->side + (int)column;
}

/* Centre of a cell along x or y, metres. */
HD float pillar_centre(const struct pillar_grid *g, int at)
{
    const float steps = ((float)at + .5f) * g->size;
    return steps + g->low;
}

#endif
