/* lidar_cast.h - rays through a scene. */
#ifndef SUITES_DATA_LIDAR_CAST_H
#define SUITES_DATA_LIDAR_CAST_H

#include <stdbool.h>

#include "lidar_scene.h"

struct ray {
    double from[3], to[3]; /* origin; direction of length 1 */
    uint64_t key;          /* of all that is random about it */
    double range_m;        /* nothing farther returns */
    double skip_m;         /* nothing nearer: for a second return */
};

struct hit {
    double t;       /* metres along the ray; negative: none */
    double reflect;
    bool porous;    /* inside leaves: a second return may follow */
};

/* Bodies by the azimuth at which a ray from `from` can meet them. */
struct sectors;
struct sectors *sectors_new(const struct scene *s, const double from[3], double range_m);
void sectors_free(struct sectors *x);

/* Bodies that a ray in direction `to` can meet, [*count]. */
const int *sectors_bodies(const struct sectors *x, const double to[3], int *count);

/* Where a ray enters and leaves a box; false: it does not meet it. */
bool box_span(const struct body *b, const struct ray *r, double *in, double *out);

/* The nearest hit; columns of bodies from x, whose origin the ray has. */
struct hit cast(const struct scene *s, const struct sectors *x, const struct ray *r);

#endif
