/* lidar_cast.c - where a ray meets ground, kerb and bodies. */
#include <math.h>
#include <stdbool.h>

#include "alloc.h"
#include "build.h"
#include "lidar_cast.h"

/* ---- which bodies a ray can meet ---- */

enum { SECTORS = 720 };
struct sectors {
    int start[SECTORS + 1];
    int *body;
};

static double radius_of(const struct body *b)
{
    return hypot(b->half[0], b->half[1]);
}

/* Sectors that a body subtends, as first and number; all of them where it is around the origin. */
static int subtends(const struct body *b, const double from[3], double range_m, int *first)
{
    const double dx = b->at[0] - from[0], dy = b->at[1] - from[1], r = radius_of(b);
    const double far = hypot(dx, dy);
    *first = 0;
    if (far - r > range_m)
        return 0;
    if (far <= r * 1.01)
        return SECTORS;
    const double middle = atan2(dy, dx), half = asin(r / far), width = 2 * M_PI / SECTORS;
    const int low = (int)floor((middle - half) / width), high = (int)floor((middle + half) / width);
    *first = (low + 2 * SECTORS) % SECTORS;
    return high - low + 1;
}

struct sectors *sectors_new(const struct scene *s, const double from[3], double range_m)
{
    struct sectors *x = data_calloc(1, sizeof *x);
    int first, total = 0;
    for (int i = 0; i < s->count; i++)
        total += subtends(&s->body[i], from, range_m, &first);
    if (x)
        x->body = data_malloc((size_t)total, sizeof *x->body);
    if (!x || !x->body) {
        data_free(x);
        return NULL;
    }
    for (int i = 0; i < s->count; i++)
        for (int n = subtends(&s->body[i], from, range_m, &first), k = 0; k < n; k++)
            x->start[(first + k) % SECTORS + 1]++;
    for (int k = 0; k < SECTORS; k++)
        x->start[k + 1] += x->start[k];
    for (int i = s->count - 1; i >= 0; i--) /* filled from the end; starts come out right */
        for (int n = subtends(&s->body[i], from, range_m, &first), k = 0; k < n; k++)
            x->body[--x->start[(first + k) % SECTORS + 1]] = i;
    for (int k = 0; k < SECTORS; k++)
        x->start[k] = x->start[k + 1];
    x->start[SECTORS] = total;
    return x;
}

void sectors_free(struct sectors *x)
{
    if (x)
        data_free(x->body);
    data_free(x);
}

const int *sectors_bodies(const struct sectors *x, const double to[3], int *count)
{
    int sector = (int)floor(atan2(to[1], to[0]) / (2 * M_PI / SECTORS));
    sector = (sector + 2 * SECTORS) % SECTORS;
    *count = x->start[sector + 1] - x->start[sector];
    return x->body + x->start[sector];
}

/* ---- intersections: entry and exit along the ray ---- */

bool box_span(const struct body *b, const struct ray *r, double *in, double *out)
{
    const double dx = r->from[0] - b->at[0], dy = r->from[1] - b->at[1];
    const double from[3] = { b->cos * dx + b->sin * dy, b->cos * dy - b->sin * dx,
                             r->from[2] - b->at[2] };
    const double to[3] = { b->cos * r->to[0] + b->sin * r->to[1],
                           b->cos * r->to[1] - b->sin * r->to[0], r->to[2] };
    *in = -1e9;
    *out = 1e9;
    for (int a = 0; a < 3; a++) {
        if (fabs(to[a]) < 1e-12) {
            if (fabs(from[a]) > b->half[a])
                return false;
            continue;
        }
        const double t0 = (-b->half[a] - from[a]) / to[a], t1 = (b->half[a] - from[a]) / to[a];
        *in = fmax(*in, fmin(t0, t1));
        *out = fmin(*out, fmax(t0, t1));
    }
    return *in < *out;
}

static bool quadratic(double a, double b, double c, double *in, double *out)
{
    const double d = b * b - a * c;
    if (a < 1e-12 || d <= 0)
        return false;
    *in = (-b - sqrt(d)) / a;
    *out = (-b + sqrt(d)) / a;
    return true;
}

static bool cylinder(const struct body *b, const struct ray *r, double *in, double *out)
{
    const double x = r->from[0] - b->at[0], y = r->from[1] - b->at[1], radius = b->half[0];
    if (!quadratic(r->to[0] * r->to[0] + r->to[1] * r->to[1], x * r->to[0] + y * r->to[1],
                   x * x + y * y - radius * radius, in, out))
        return false;
    return fabs(r->from[2] + *in * r->to[2] - b->at[2]) <= b->half[2];
}

static bool ellipsoid(const struct body *b, const struct ray *r, double *in, double *out)
{
    double aa = 0, bb = 0, cc = -1;
    for (int a = 0; a < 3; a++) {
        const double from = (r->from[a] - b->at[a]) / b->half[a], to = r->to[a] / b->half[a];
        aa += to * to;
        bb += from * to;
        cc += from * from;
    }
    return quadratic(aa, bb, cc, in, out);
}

static double unit_of(uint64_t bits)
{
    return ((double)(bits >> 11) + .5) * 0x1p-53;
}

/* Where the ray returns from a body; negative: nowhere. */
static double body_hit(const struct body *b, const struct ray *r, uint64_t number)
{
    double in, out;
    const bool meets = b->kind == BODY_BOX ? box_span(b, r, &in, &out)
                       : b->kind == BODY_CYLINDER ? cylinder(b, r, &in, &out)
                                                  : ellipsoid(b, r, &in, &out);
    if (!meets || out <= r->skip_m)
        return -1;
    if (b->free_m <= 0)
        return in > r->skip_m ? in : -1;
    in = fmax(in, r->skip_m);
    const double depth = -b->free_m * log(unit_of(data_hash(r->key, 3, number)));
    return in + depth < out ? in + depth : -1;
}

/* ---- the ground ---- */

/* Along the plane z = height + slope |y| on one side of the street, raised by the relief. */
static double plane_hit(const struct scene *s, const struct ray *r, double height, double rough,
                        int side)
{
    double t = -1, raise = rough;
    for (int i = 0; i < 2; i++) {
        const double down = r->to[2] - s->slope * side * r->to[1];
        if (down > -1e-6)
            return -1;
        t = (height + raise + s->slope * side * r->from[1] - r->from[2]) / down;
        const double y = r->from[1] + t * r->to[1];
        if (side * y < 0)
            return -1;
        raise = rough + scene_relief(s, r->from[0] + t * r->to[0], y);
    }
    return t;
}

static void nearer(struct hit *h, const struct ray *r, double t, double reflect, bool porous)
{
    if (t > r->skip_m && t < r->range_m && (h->t < 0 || t < h->t))
        *h = (struct hit){ t, reflect, porous };
}

static void ground(const struct scene *s, const struct ray *r, struct hit *h)
{
    const double rough = s->grass_m * (2 * unit_of(data_hash(r->key, 4, 0)) - 1);
    for (int side = -1; side <= 1; side += 2) {
        double t = plane_hit(s, r, 0, 0, side);
        if (t > 0 && fabs(r->from[1] + t * r->to[1]) < s->road)
            nearer(h, r, t, .2, false);
        t = plane_hit(s, r, s->kerb, rough, side);
        if (t > 0 && fabs(r->from[1] + t * r->to[1]) >= s->road)
            nearer(h, r, t, .3, false);
        if (r->to[1] * side <= 0)
            continue;
        t = (side * s->road - r->from[1]) / r->to[1];
        const double z = r->from[2] + t * r->to[2] - s->slope * s->road;
        if (z > 0 && z < s->kerb)
            nearer(h, r, t, .4, false);
    }
}

struct hit cast(const struct scene *s, const struct sectors *x, const struct ray *r)
{
    struct hit h = { .t = -1 };
    ground(s, r, &h);
    int count;
    const int *list = sectors_bodies(x, r->to, &count);
    for (int k = 0; k < count; k++) {
        const struct body *b = &s->body[list[k]];
        nearer(&h, r, body_hit(b, r, (uint64_t)list[k]), b->reflect, b->free_m > 0);
    }
    return h;
}
