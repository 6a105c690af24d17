/* street.c - a street of boxes, and what five units see of it. */
#include "street.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "lidar_cast.h"

/* ---- what stands where ---- */

enum kind { BUILDING, VEHICLE, PEDESTRIAN, POLE, VEGETATION };

struct street {
    struct scene scene; /* boxes along the axes; free_m > 0: vegetation */
    uint64_t seed, drawn;
};

static double draw(struct street *s, double low, double high)
{
    const uint64_t bits = data_hash(s->seed, 81, s->drawn++);
    return low + (high - low) * (((double)(bits >> 11) + .5) * 0x1p-53);
}

static double draw_side(struct street *s)
{
    return draw(s, 0, 1) < .5 ? -1 : 1;
}

static double ground_at(double x, double y)
{
    return .25 * sin(.05 * x) + .15 * sin(.11 * y + 1);
}

/* A box whose foot is at z = 0, above or below the ground around it; sizes are whole ones. */
static void stand(struct street *s, enum kind kind, double x, double y, double along, double across,
                  double height)
{
    static const double reflect[] = { .35, .5, .3, .4, .25 };
    if (s->scene.count == BODIES_MAX)
        return; /* not reached: some 450 boxes */
    s->scene.body[s->scene.count++] = (struct body){
        .kind = BODY_BOX, .at = { x, y, height / 2 },
        .half = { along / 2, across / 2, height / 2 }, .cos = 1,
        .free_m = kind == VEGETATION, .reflect = reflect[kind] };
}

/* Draws stand in statements of their own: arguments of one call have no order. */

static void buildings(struct street *s, int side)
{
    for (double x = -100; x < 100;) {
        const double length = draw(s, 8, 24), gap = draw(s, 2, 60), depth = draw(s, 6, 20);
        const double face = draw(s, 25, 60), height = draw(s, 3, 12);
        if (draw(s, 0, 1) < .85)
            stand(s, BUILDING, x + length / 2, side * (face + depth / 2), length, depth, height);
        x += length + gap;
    }
}

static void vehicle(struct street *s)
{
    const double lane = floor(draw(s, 0, 5)), y = 3.5 * lane - 7 + draw(s, -.4, .4);
    const double x = draw(s, -80, 80), length = draw(s, 4.2, 5.2), width = draw(s, 1.8, 2.1);
    const double height = draw(s, 1.4, 2.0);
    if (!(fabs(x) < 6 && fabs(y) < 3))
        stand(s, VEHICLE, x, y, length, width, height);
}

static void pedestrian(struct street *s)
{
    const double side = draw_side(s), y = side * draw(s, 7, 14), x = draw(s, -60, 60);
    stand(s, PEDESTRIAN, x, y, .5, .5, 1.75);
}

static void pole(struct street *s)
{
    const double side = draw_side(s), y = side * draw(s, 8, 30), x = draw(s, -80, 80);
    stand(s, POLE, x, y, .35, .35, draw(s, 4, 8));
}

static void vegetation(struct street *s)
{
    const double along = draw(s, .8, 7), across = along * draw(s, .6, 1.4), height = draw(s, .6, 6);
    const double side = draw_side(s), y = side * draw(s, 9, 70), x = draw(s, -80, 80);
    stand(s, VEGETATION, x, y, along, across, height);
}

static void build(uint64_t seed, struct street *s)
{
    s->scene.count = 0;
    s->seed = data_hash(seed, 80, STREET_VERSION);
    s->drawn = 0;
    buildings(s, -1);
    buildings(s, 1);
    for (int i = 0; i < 60; i++)
        vehicle(s);
    for (int i = 0; i < 25; i++)
        pedestrian(s);
    for (int i = 0; i < 60; i++)
        pole(s);
    for (int i = 0; i < 250; i++)
        vegetation(s);
}

/* ---- units ---- */

struct unit {
    int beams, azimuths;
    double height_m, range_m;
    double from, sweep; /* of azimuths, degrees */
    double (*elevation)(int beam); /* degrees */
};

static double main_elevation(int beam)
{
    return -17.6 + 20 * pow(beam / 63.0, .75);
}

static double side_elevation(int beam)
{
    return -90 + beam * (100.0 / 49);
}

static const struct unit units[] = {
    { 64, 2650, 2, 75, 0, 360, main_elevation }, { 50, 150, 1, 20, -45, 90, side_elevation },
    { 50, 150, 1, 20, 45, 90, side_elevation },  { 50, 150, 1, 20, 135, 90, side_elevation },
    { 50, 150, 1, 20, 225, 90, side_elevation },
};
enum { UNITS = sizeof units / sizeof *units };

/* ---- a ray ---- */

enum chance { PASSES = 20, DEPTH, DROPPED, NOISE, INTENSITY, ELONGATION };

static double unit_draw(uint64_t key, enum chance what, uint64_t n)
{
    return ((double)(data_hash(key, (uint64_t)what, n) >> 11) + .5) * 0x1p-53;
}

/* Where the ray meets the ground: three steps towards the fixed point. */
static double ground_hit(const struct ray *r)
{
    if (r->to[2] > -1e-6)
        return -1;
    double t = (ground_at(r->from[0], r->from[1]) - r->from[2]) / r->to[2];
    for (int i = 0; i < 3; i++)
        t = (ground_at(r->from[0] + t * r->to[0], r->from[1] + t * r->to[1]) - r->from[2]) /
            r->to[2];
    return t;
}

static struct hit nearest(const struct scene *s, const struct sectors *x, const struct ray *r)
{
    const double ground = ground_hit(r);
    struct hit h = { .t = -1 };
    int count;
    const int *list = sectors_bodies(x, r->to, &count);
    if (ground > 0 && ground < r->range_m)
        h = (struct hit){ ground, .2, false };
    for (int k = 0; k < count; k++) {
        const struct body *b = &s->body[list[k]];
        const uint64_t number = (uint64_t)list[k];
        double in, out;
        if (!box_span(b, r, &in, &out) || in <= 0)
            continue;
        if (b->free_m > 0) {
            if (unit_draw(r->key, PASSES, number) >= .6)
                continue;
            in += (out - in) * unit_draw(r->key, DEPTH, number);
        }
        if (in < r->range_m && (h.t < 0 || in < h.t))
            h = (struct hit){ in, b->reflect, b->free_m > 0 };
    }
    return h;
}

/* A point [STREET_CHANNELS] of the ray; false: none. */
static bool scan_ray(const struct scene *s, const struct sectors *x, const struct unit *u,
                     const double from[3], uint64_t unit_key, int ray, int frame, float *v)
{
    const int beam = ray / u->azimuths, column = ray % u->azimuths;
    const double azimuth = (u->from + column * u->sweep / u->azimuths) * (M_PI / 180);
    const double elevation = u->elevation(beam) * (M_PI / 180);
    struct ray r = { .from = { from[0], from[1], from[2] },
                     .to = { cos(elevation) * cos(azimuth), cos(elevation) * sin(azimuth),
                             sin(elevation) },
                     .key = data_hash(unit_key, 82, (uint64_t)ray), .range_m = u->range_m };
    const struct hit h = nearest(s, x, &r);
    if (h.t < 0 || unit_draw(r.key, DROPPED, 0) < .03 + .25 * (h.t / 75) * (h.t / 75))
        return false;
    const double t = h.t + .06 * (unit_draw(r.key, NOISE, 0) - .5);
    for (int a = 0; a < 3; a++)
        v[a] = (float)(r.from[a] + t * r.to[a]);
    v[3] = (float)tanh(h.reflect * (.7 + .6 * unit_draw(r.key, INTENSITY, 0)));
    v[4] = (float)tanh(h.porous ? unit_draw(r.key, ELONGATION, 0) : 0);
    v[5] = (float)frame;
    return true;
}

/* ---- frames ---- */

static int scan_unit(const struct scene *s, uint64_t seed, int frame, int number,
                     struct points *out)
{
    const struct unit *u = &units[number];
    const int rays = u->beams * u->azimuths;
    const uint64_t key = data_hash(data_hash(seed, 83, (uint64_t)frame), 84, (uint64_t)number);
    const double from[3] = { -(double)frame, 0, u->height_m };
    struct sectors *x = sectors_new(s, from, u->range_m);
    unsigned char *there = data_calloc((size_t)rays, 1);
    float *v = data_realloc(out->v, (size_t)(out->n + rays), STREET_CHANNELS * sizeof *v);
    if (v)
        out->v = v;
    if (x && there && v) {
        float *to = v + out->n * STREET_CHANNELS;
#pragma omp parallel for schedule(dynamic, 256)
        for (int i = 0; i < rays; i++)
            there[i] = scan_ray(s, x, u, from, key, i, frame, to + (size_t)i * STREET_CHANNELS);
        for (int i = 0; i < rays; i++)
            if (there[i])
                memmove(v + out->n++ * STREET_CHANNELS, to + (size_t)i * STREET_CHANNELS,
                        STREET_CHANNELS * sizeof *v);
    }
    const bool done = x && there && v;
    sectors_free(x);
    data_free(there);
    return done ? 0 : cb_error("no memory for a generated scan of %d rays", rays);
}

int street_generate(uint64_t seed, int first, int count, struct points *out)
{
    *out = (struct points){ .channels = STREET_CHANNELS };
    if (first < 0 || count < 1 || first + count > STREET_FRAMES)
        return cb_error("frames %d to %d: 0 to %d", first, first + count - 1, STREET_FRAMES - 1);
    struct street *s = data_malloc(1, sizeof *s);
    int status = s ? 0 : cb_error("no memory for a generated street");
    if (s)
        build(seed, s);
    for (int f = first; !status && f < first + count; f++)
        for (int k = 0; !status && k < UNITS; k++)
            status = scan_unit(&s->scene, seed, f, k, out);
    data_free(s);
    if (status)
        points_free(out);
    return status;
}
