/* lidar_scene.c - the street: what stands where, from a seed. */
#include "lidar_scene.h"

#include <math.h>
#include <string.h>

#include "build.h"

/* What differs between the sensors' cities. */
struct city {
    double road;     /* factor of the road's width */
    double facade;   /* probability of a facade in a slot */
    double slope;
    int bushes;
    double free_m;   /* mean free path in leaves */
    double cars;     /* probability of a parked car in a slot */
    double back_m;   /* facades stand at most that far behind the pavement */
    double belt_m;   /* bushes stand up to that far from the middle of the road */
    double grass_m;  /* the ground off the road is rough by that much */
};

/* Fitted, over seeds, to voxels and neighbours of one real scan of each sensor at every stride. */
static const struct city cities[] = {
    [LIDAR_KITTI] = { .road = 1.2, .facade = .15, .slope = .03, .bushes = 400, .free_m = 5.0,
                      .cars = .3, .back_m = 16, .belt_m = 60, .grass_m = .03 },
    [LIDAR_NUSCENES] = { .road = 1.0, .facade = .40, .slope = .03, .bushes = 400, .free_m = 6.0,
                         .cars = .4, .back_m = 16, .belt_m = 90, .grass_m = .05 },
    [LIDAR_WAYMO] = { .road = 2.6, .facade = .9, .slope = 0, .bushes = 300, .free_m = .5,
                      .cars = .9, .back_m = 10, .belt_m = 60, .grass_m = .02 },
};

static const double reach_m = 95; /* of the street, each way */

struct maker {
    uint64_t seed, drawn;
    const struct city *city;
    struct scene *scene;
};

static double draw(struct maker *m, double low, double high)
{
    const uint64_t bits = data_hash(m->seed, 77, m->drawn++);
    return low + (high - low) * (((double)(bits >> 11) + .5) * 0x1p-53);
}

static double draw_normal(struct maker *m)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += draw(m, 0, 1);
    return sum - 6;
}

static struct body *add(struct maker *m, enum body_kind kind, double x, double y, double z,
                        double hx, double hy, double hz)
{
    struct scene *s = m->scene;
    if (s->count == BODIES_MAX)
        s->count--; /* not reached by the cities above: up to 2000 bodies */
    struct body *b = &s->body[s->count++];
    *b = (struct body){ .kind = kind, .at = { x, y, z }, .half = { hx, hy, hz }, .cos = 1,
                        .reflect = draw(m, .1, .6) };
    return b;
}

static void turn(struct body *b, double angle)
{
    b->cos = cos(angle);
    b->sin = sin(angle);
}

static void leaves(struct maker *m, double x, double y, double z, double r, double flat)
{
    struct body *b = add(m, BODY_ELLIPSOID, x, y, z, r, r * draw(m, .7, 1.3), r * flat);
    b->free_m = m->city->free_m * exp(.6 * draw_normal(m));
    b->reflect = draw(m, .3, .5);
}

/* Draws stand in statements of their own: arguments of one call have no order. */

static void bay(struct maker *m, double x, double y, double height)
{
    const double z = draw(m, 1, height * .8), hx = draw(m, .3, .9), hy = draw(m, .1, .5);
    add(m, BODY_BOX, x, y, z, hx, hy, draw(m, .3, 1.5)); /* bays, doors, sills */
}

static void facades(struct maker *m, int side, double front)
{
    for (double x = -reach_m; x < reach_m;) {
        const double width = draw(m, 6, 22), back = draw(m, 0, m->city->back_m);
        const double height = draw(m, 5, 16), depth = 6;
        if (draw(m, 0, 1) < m->city->facade) {
            struct body *b = add(m, BODY_BOX, x + width / 2, side * (front + back + depth),
                                 height / 2, width / 2, depth, height / 2);
            turn(b, draw(m, -.02, .02));
            for (double at = x + 1.5; at < x + width - 1.5; at += draw(m, 2.5, 6))
                if (draw(m, 0, 1) < .6)
                    bay(m, at, side * (front + back), height);
        } else if (draw(m, 0, 1) < .4) { /* a wall */
            const double y = side * (front + draw(m, 0, 2));
            add(m, BODY_BOX, x + width / 2, y, .6, width / 2, .1, draw(m, .4, .9));
        }
        x += width;
        if (draw(m, 0, 1) < .35)
            x += draw(m, 1, 8);
    }
}

static void cars(struct maker *m, int side, double y)
{
    for (double x = -reach_m + draw(m, 0, 6); x < reach_m; x += draw(m, 5, 12)) {
        if (draw(m, 0, 1) > m->city->cars)
            continue;
        const double length = draw(m, 1.9, 2.4), width = draw(m, .85, .95);
        const double angle = draw(m, -.06, .06), at = side * (y - 1.1), cabin = draw(m, -.3, .5);
        turn(add(m, BODY_BOX, x, at, .65, length, width, .4), angle);
        turn(add(m, BODY_BOX, x - cabin, at, 1.25, length * .55, width * .85, .3), angle);
    }
}

static void trees(struct maker *m, int side, double y)
{
    for (double x = -reach_m + draw(m, 0, 9); x < reach_m; x += draw(m, 7, 18)) {
        const double at = side * (y + draw(m, .5, 3)), height = draw(m, 2, 4), r = draw(m, .1, .25);
        add(m, BODY_CYLINDER, x, at, height / 2, r, r, height / 2 + .5);
        const int crowns = 2 + (int)draw(m, 0, 4);
        for (int i = 0; i < crowns; i++) {
            const double dx = draw(m, -1.5, 1.5), dy = draw(m, -1.5, 1.5), dz = draw(m, 0, 2.5);
            const double crown = draw(m, .8, 2.2);
            leaves(m, x + dx, at + dy, height + dz, crown, draw(m, .6, 1));
        }
    }
}

static void furniture(struct maker *m, int side, double y)
{
    for (double x = -reach_m + draw(m, 0, 9); x < reach_m; x += draw(m, 9, 28)) {
        const double at = side * (y + draw(m, .3, .8)), kind = draw(m, 0, 1);
        if (kind < .45) { /* pole */
            const double h = draw(m, 3, 8), r = draw(m, .05, .12);
            add(m, BODY_CYLINDER, x, at, h / 2, r, r, h / 2);
        } else if (kind < .7) { /* sign */
            const double h = draw(m, 2, 2.6);
            add(m, BODY_CYLINDER, x, at, h / 2, .03, .03, h / 2);
            add(m, BODY_BOX, x, at, h + .3, .02, .35, .35)->reflect = .95;
        } else if (kind < .85) { /* person */
            add(m, BODY_CYLINDER, x, at + side * draw(m, 0, 1), .95, .25, .25, .85);
        } else { /* hedge */
            const double length = draw(m, 2, 9);
            for (double t = 0; t < length; t += 1.1)
                leaves(m, x + t, side * (y + 2.5), .7, draw(m, .6, .9), 1);
        }
    }
}

static void belt(struct maker *m)
{
    for (int i = 0; i < m->city->bushes; i++) {
        const int side = draw(m, 0, 1) < .5 ? -1 : 1;
        const double r = draw(m, .6, 3), x = draw(m, -70, 70);
        const double y = side * draw(m, m->scene->road + 1 + r, m->city->belt_m);
        const double z = draw(m, .2, 1.2) + r * .6;
        leaves(m, x, y, z, r, draw(m, .5, 1));
    }
}

void scene_build(enum lidar_sensor sensor, uint64_t seed, struct scene *s)
{
    struct maker m = { .seed = data_hash(seed, 1, (uint64_t)sensor), .city = &cities[sensor],
                       .scene = s };
    s->count = 0;
    s->road = draw(&m, 5, 8) * m.city->road;
    s->kerb = draw(&m, .10, .16);
    s->slope = m.city->slope;
    s->grass_m = m.city->grass_m;
    s->relief_m = draw(&m, .02, .06);
    for (int i = 0; i < 4; i++)
        s->phase[i] = draw(&m, 0, 6.28);
    const double pavement = draw(&m, 2, 4);
    for (int side = -1; side <= 1; side += 2) {
        facades(&m, side, s->road + pavement);
        cars(&m, side, s->road);
        trees(&m, side, s->road);
        furniture(&m, side, s->road);
    }
    belt(&m);
}

double scene_relief(const struct scene *s, double x, double y)
{
    const double *f = s->phase;
    return s->relief_m * (sin(.21 * x + f[0]) * cos(.33 * y + f[1]) +
                          .4 * sin(1.3 * x + .7 * y + f[2]) + .25 * sin(2.9 * y - 2.1 * x + f[3]));
}
