/* pillars.c - points to occupied cells. */
#include "pillars.h"

#include <math.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "lidar.h"

enum { CELLS = PILLARS_SIDE * PILLARS_SIDE, SCENES_MAX = 200 };

static const float low_m = -74.88f;

/* Marks cells under the points; returns the number of points in range. */
static long mark(const struct points *p, unsigned char *occupied)
{
    long inside = 0;
    for (long i = 0; i < p->n; i++) {
        const float *v = p->v + (size_t)i * (size_t)p->channels;
        const double x = floor((double)(v[0] - low_m) / PILLARS_METRES);
        const double y = floor((double)(v[1] - low_m) / PILLARS_METRES);
        if (!(v[2] > -1.999f && v[2] < 3.999f && x >= 0 && y >= 0 && x < PILLARS_SIDE &&
              y < PILLARS_SIDE))
            continue;
        occupied[(int)y * PILLARS_SIDE + (int)x] = 1;
        inside++;
    }
    return inside;
}

static int count(const unsigned char *occupied)
{
    int n = 0;
    for (int i = 0; i < CELLS; i++)
        n += occupied[i];
    return n;
}

/* `want` of the occupied cells, each subset as likely as another; all of them if want is 0. */
static int collect(const unsigned char *occupied, int want, uint64_t seed, struct pillars *out)
{
    int left = count(occupied), need = want ? want : left;
    out->cell = data_malloc((size_t)need, sizeof *out->cell);
    if (!out->cell)
        return cb_error("no memory for %d pillars", need);
    for (int i = 0; i < CELLS; i++) {
        if (!occupied[i])
            continue;
        if (data_hash(seed, 71, (uint64_t)i) % (uint64_t)left < (uint64_t)(need - out->n))
            out->cell[out->n++] = (struct flatten_cell){ i % PILLARS_SIDE, i / PILLARS_SIDE };
        left--;
    }
    return 0;
}

int pillars_of(const struct points *p, struct pillars *out)
{
    unsigned char *occupied = data_calloc(CELLS, 1);
    *out = (struct pillars){ 0 };
    if (!occupied)
        return cb_error("no memory for a grid");
    out->points = mark(p, occupied);
    const int status = collect(occupied, 0, 0, out);
    data_free(occupied);
    return status;
}

int pillars_generate(int frames, uint64_t seed, int want, struct pillars *out)
{
    *out = (struct pillars){ 0 };
    if (want < 0 || want > CELLS)
        return cb_error("%d pillars: 0 to %d", want, CELLS);
    unsigned char *occupied = data_calloc(CELLS, 1);
    if (!occupied)
        return cb_error("no memory for a grid");
    int status = 0, scenes = 0;
    do {
        struct points p;
        const struct lidar_spec s = { LIDAR_WAYMO, frames, seed + 1000u * (uint64_t)scenes };
        status = lidar_generate(&s, &p);
        if (!status) {
            out->points += mark(&p, occupied);
            points_free(&p);
        }
    } while (!status && count(occupied) < want && ++scenes < SCENES_MAX);
    if (!status && count(occupied) < want)
        status = cb_error("%d pillars: %d scenes have %d", want, scenes, count(occupied));
    if (!status)
        status = collect(occupied, want, seed, out);
    data_free(occupied);
    if (status)
        pillars_free(out);
    return status;
}

int pillars_mirror(const struct pillars *p, int along_x, int along_y, struct pillars *out)
{
    unsigned char *occupied = data_calloc(CELLS, 1);
    *out = (struct pillars){ .points = p->points };
    if (!occupied)
        return cb_error("no memory for a grid");
    for (int i = 0; i < p->n; i++) {
        const int x = along_x ? PILLARS_SIDE - 1 - p->cell[i].x : p->cell[i].x;
        const int y = along_y ? PILLARS_SIDE - 1 - p->cell[i].y : p->cell[i].y;
        occupied[y * PILLARS_SIDE + x] = 1;
    }
    const int status = collect(occupied, 0, 0, out);
    data_free(occupied);
    return status;
}

void pillars_free(struct pillars *p)
{
    data_free(p->cell);
    *p = (struct pillars){ 0 };
}
