/* lidar.c - the three sensors: beams, returns, frames. */
#include "lidar.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "lidar_cast.h"

/* One scanning unit of a sensor. */
struct unit {
    int beams, azimuths;
    double at[3];           /* above the road under the vehicle, metres */
    double from, sweep;     /* azimuth of the first column and the width of all, radians */
    double range_m;
    bool second;            /* reports a second return */
    double (*elevation)(int beam); /* degrees */
};

struct sensor {
    const struct unit *units;
    int count, channels;
    double hz, speed;       /* frames a second, of the vehicle in m/s */
    double zero;            /* height of z = 0 above the road */
    double roof_m;          /* of the vehicle, below the sensor: rays that meet it or nothing are
                             * points close to the sensor; 0: such rays are left out */
};

static double kitti_elevation(int beam)
{
    return beam < 32 ? 2.4 - beam * (10.2 / 31) : -8.35 - (beam - 32) * .5;
}

static double nuscenes_elevation(int beam)
{
    return -30.67 + beam * (41.34 / 31);
}

/* Denser towards the horizon. */
static double waymo_elevation(int beam)
{
    const double u = beam / 63.0;
    return 2.4 - 20 * (.45 * u + .55 * u * u);
}

static double side_elevation(int beam)
{
    return 30 - beam * (120.0 / 59);
}

static const struct unit kitti_units[] = {
    { 64, 2165, { 0, 0, 1.73 }, -M_PI, 2 * M_PI, 80, false, kitti_elevation },
};
static const struct unit nuscenes_units[] = {
    { 32, 1084, { 0, 0, 1.84 }, -M_PI, 2 * M_PI, 100, false, nuscenes_elevation },
};
static const struct unit waymo_units[] = {
    { 64, 2650, { 0, 0, 2.0 }, -M_PI, 2 * M_PI, 75, true, waymo_elevation },
    { 60, 180, { 2.3, 0, 1.0 }, -M_PI / 2, M_PI, 20, false, side_elevation },
    { 60, 180, { -2.3, 0, 1.0 }, M_PI / 2, M_PI, 20, false, side_elevation },
    { 60, 180, { 0, 1.0, 1.0 }, 0, M_PI, 20, false, side_elevation },
    { 60, 180, { 0, -1.0, 1.0 }, -M_PI, M_PI, 20, false, side_elevation },
};
static const struct sensor sensors[] = {
    [LIDAR_KITTI] = { kitti_units, 1, 4, 10, 6.5, 1.73, 0 },
    [LIDAR_NUSCENES] = { nuscenes_units, 1, 6, 20, 6.5, 1.84, .3 },
    [LIDAR_WAYMO] = { waymo_units, 5, 6, 10, 6.5, 0, 0 },
};

/* ---- one ray ---- */

enum draw { NOISE = 10, NOISE_2, DROP, INTENSITY, MISS, RING };

static double unit_draw(uint64_t key, enum draw what, uint64_t n)
{
    return ((double)(data_hash(key, (uint64_t)what, n) >> 11) + .5) * 0x1p-53;
}

static double normal_draw(uint64_t key, uint64_t n)
{
    return sqrt(-2 * log(unit_draw(key, NOISE, n))) * cos(2 * M_PI * unit_draw(key, NOISE_2, n));
}

/* Dark or slanted surfaces do not return: 3 %, up to 35 % more between 30 and 90 m. */
static bool dropped(uint64_t key, double t, uint64_t n)
{
    const double far = t < 30 ? 0 : t > 90 ? 1 : (t - 30) / 60;
    return unit_draw(key, DROP, n) < .03 + .35 * far;
}

/* A ray of a unit of a frame; its place in the world. */
static struct ray make_ray(const struct unit *u, const double from[3], uint64_t key, int beam,
                           int column)
{
    struct ray r = { .key = data_hash(key, (uint64_t)beam, (uint64_t)column),
                     .range_m = u->range_m };
    /* beams of one column do not fire at one azimuth */
    const double shift = unit_draw(key, RING, (uint64_t)beam);
    const double azimuth = u->from + (column + shift) * u->sweep / u->azimuths;
    const double elevation = u->elevation(beam) * (M_PI / 180);
    memcpy(r.from, from, sizeof r.from);
    r.to[0] = cos(elevation) * cos(azimuth);
    r.to[1] = cos(elevation) * sin(azimuth);
    r.to[2] = sin(elevation);
    return r;
}

/* One return, as the sensor reports it; false: none. */
static bool report(const struct sensor *s, const struct ray *r, const struct hit *h, int which,
                   float *v)
{
    double t = h->t, intensity;
    if (t < 0 || dropped(r->key, t, (uint64_t)which)) {
        if (s->roof_m <= 0 || which)
            return false;
        t = .1 + .25 * unit_draw(r->key, MISS, 0);
        intensity = 0;
    } else {
        t += .015 * normal_draw(r->key, (uint64_t)which);
        intensity = h->reflect * (.7 + .6 * unit_draw(r->key, INTENSITY, (uint64_t)which));
        intensity = intensity > 1 ? 1 : intensity;
    }
    for (int a = 0; a < 3; a++)
        v[a] = (float)(r->from[a] + t * r->to[a]);
    v[3] = (float)intensity;
    return true;
}

/* The roof that the sensor stands on, 1.2 m by 1 m. */
static bool meets_roof(const struct sensor *s, const struct ray *r, struct hit *h)
{
    if (s->roof_m <= 0 || r->to[2] >= 0)
        return false;
    const double t = -s->roof_m / r->to[2];
    if (fabs(t * r->to[0]) > .6 || fabs(t * r->to[1]) > .5)
        return false;
    *h = (struct hit){ .t = t, .reflect = .3 };
    return true;
}

/* ---- one frame ---- */

struct frame {
    const struct sensor *sensor;
    const struct scene *scene;
    uint64_t key;
    double x, lag_s; /* where the vehicle stands; how long before the key frame */
    bool earlier;    /* not the key frame */
};

/* Up to two points of a ray in v[2][channels]; returns how many. */
static int scan_ray(const struct frame *f, const struct unit *u, const struct sectors *x,
                    const double from[3], uint64_t key, int beam, int column, float *v)
{
    const int channels = f->sensor->channels;
    struct ray r = make_ray(u, from, key, beam, column);
    struct hit h;
    if (!meets_roof(f->sensor, &r, &h))
        h = cast(f->scene, x, &r);
    int n = report(f->sensor, &r, &h, 0, v);
    if (u->second && h.t >= 0 && h.porous) {
        r.skip_m = h.t + .3;
        h = cast(f->scene, x, &r);
        n += report(f->sensor, &r, &h, 1, v + n * channels);
    }
    for (int i = 0; i < n; i++) {
        float *p = v + i * channels;
        if (f->earlier && fabs((double)p[0] - f->x) < 1 && fabs((double)p[1]) < 1) {
            if (i == 0 && n == 2)
                memcpy(p, p + channels, (size_t)channels * sizeof *p);
            n--;
            i--;
            continue;
        }
        p[2] -= (float)f->sensor->zero;
        if (f->sensor == &sensors[LIDAR_NUSCENES]) {
            p[3] *= 255;
            p[4] = (float)beam;
        } else if (f->sensor == &sensors[LIDAR_WAYMO]) {
            p[3] = (float)tanh((double)p[3]);
            p[4] = 0;
        }
        if (channels == 6)
            p[5] = (float)f->lag_s;
    }
    return n;
}

/* Appends a unit's points to out, beam after beam: counted first, then made, in parallel. */
static int scan_unit(const struct frame *f, int number, struct points *out)
{
    const struct unit *u = &f->sensor->units[number];
    const int channels = f->sensor->channels, rays = u->beams * u->azimuths;
    const uint64_t key = data_hash(f->key, 5, (uint64_t)number);
    const double from[3] = { f->x + u->at[0], u->at[1], u->at[2] };
    struct sectors *x = sectors_new(f->scene, from, u->range_m);
    unsigned char *count = data_calloc((size_t)rays, 1);
    float *v = data_malloc((size_t)rays, 2 * (size_t)channels * sizeof *v), *all = NULL;
    long total = out->n;
    if (x && count && v) {
#pragma omp parallel for schedule(dynamic, 256)
        for (int i = 0; i < rays; i++)
            count[i] = (unsigned char)scan_ray(f, u, x, from, key, i / u->azimuths, i % u->azimuths,
                                               v + (size_t)i * 2 * (size_t)channels);
        for (int i = 0; i < rays; i++)
            total += count[i];
        all = data_realloc(out->v, (size_t)total, (size_t)channels * sizeof *all);
    }
    if (all) {
        out->v = all;
        for (int i = 0; i < rays; i++) {
            memcpy(all + out->n * channels, v + (size_t)i * 2 * (size_t)channels,
                   (size_t)count[i] * (size_t)channels * sizeof *v);
            out->n += count[i];
        }
    }
    sectors_free(x);
    data_free(count);
    data_free(v);
    return all ? 0 : cb_error("no memory for a generated scan of %d rays", rays);
}

/* How many frames before the key frame the i-th of a multi-frame input was. */
static int frame_age(const struct lidar_spec *s, int i)
{
    if (s->sensor != LIDAR_NUSCENES || s->frames != 3 || !i)
        return i;
    const int first = 1 + (int)(data_hash(s->seed, 31, 1) % 10);
    const int second = 1 + (first - 1 + 1 + (int)(data_hash(s->seed, 31, 2) % 9)) % 10;
    return i == 1 ? first : second;
}

int lidar_generate(const struct lidar_spec *s, struct points *out)
{
    const struct sensor *sensor = &sensors[s->sensor];
    *out = (struct points){ .channels = sensor->channels };
    if (s->frames < 1 || s->frames > LIDAR_FRAMES_MAX)
        return cb_error("%d frames: 1 to %d", s->frames, LIDAR_FRAMES_MAX);
    struct scene *scene = data_malloc(1, sizeof *scene);
    int status = scene ? 0 : cb_error("no memory for a generated street");
    if (scene)
        scene_build(s->sensor, s->seed, scene);
    for (int i = 0; !status && i < s->frames; i++) {
        const int age = frame_age(s, i);
        const double lag = age / sensor->hz;
        const struct frame f = { sensor, scene, data_hash(s->seed, 4, (uint64_t)age),
                                 -sensor->speed * lag, lag, i > 0 };
        for (int k = 0; !status && k < sensor->count; k++)
            status = scan_unit(&f, k, out);
    }
    data_free(scene);
    if (status)
        points_free(out);
    return status;
}
