/*
 * lidar_scene.h - the street that generated LiDAR frames show.
 *
 *     y                                     bodies: boxes turned about the vertical axis,
 *     |  belt of bushes                     upright cylinders, ellipsoids
 *     |  facades, walls
 *     |  trees, hedges, poles, people       a porous body (leaves) lets a ray in; it returns
 *     |== kerb ============== +road         after a random depth unless it leaves before
 *     +---- vehicle -----------------> x
 *     |== kerb ============== -road         metres; z = 0 is the road under the vehicle
 */
#ifndef SUITES_DATA_LIDAR_SCENE_H
#define SUITES_DATA_LIDAR_SCENE_H

#include <stdint.h>

#include "lidar.h"

enum body_kind { BODY_BOX, BODY_CYLINDER, BODY_ELLIPSOID };
enum { BODIES_MAX = 4096 };

struct body {
    enum body_kind kind;
    double at[3], half[3]; /* centre, half sizes: of a box, a cylinder (r, r, h/2), an ellipsoid */
    double cos, sin;       /* of the turn of a box */
    double free_m;         /* mean free path; 0: solid */
    double reflect;        /* 0 .. 1 */
};

struct scene {
    double road, kerb, slope;          /* half width, height, fall of the ground per metre of |y| */
    double relief_m, phase[4];
    double grass_m;                    /* half of the roughness off the road, for each ray anew */
    int count;
    struct body body[BODIES_MAX];
};

void scene_build(enum lidar_sensor sensor, uint64_t seed, struct scene *s);
/* Height of the ground above its plane. */
double scene_relief(const struct scene *s, double x, double y);

#endif
