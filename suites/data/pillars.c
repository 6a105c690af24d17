/* pillars.c - points to occupied cells. */
#include "pillars.h"

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "street.h"

enum { CELLS = PILLARS_SIDE * PILLARS_SIDE, FRAMES_MAX = 600 };

const struct pillar_grid pillars_waymo = { .side = PILLARS_SIDE, .low = -74.88f, .size = .32f,
                                           .z_low = -1.999f, .z_high = 3.999f, .z_middle = 1 };

/* Marks cells under the points; returns the number of points in range. */
static long mark(const struct points *p, unsigned char *occupied)
{
    long inside = 0;
    for (long i = 0; i < p->n; i++) {
        const float *v = p->v + (size_t)i * (size_t)p->channels;
        const int cell = pillar_cell(&pillars_waymo, v[0], v[1], v[2]);
        if (cell < 0)
            continue;
        occupied[cell] = 1;
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

/* Frames of the first street, then of others, one at a time, until there are cells enough. */
static int fill(int frames, uint64_t seed, int want, unsigned char *occupied, long *points)
{
    int status = 0, made = 0, first = 0;
    uint64_t street = seed;
    while (!status && (made < frames || (count(occupied) < want && made < FRAMES_MAX))) {
        struct points p;
        const int now = made < frames ? frames : 1;
        status = street_generate(street, first, now, &p);
        if (!status) {
            *points += mark(&p, occupied);
            points_free(&p);
        }
        made += now;
        first += now;
        if (first == STREET_FRAMES) {
            first = 0;
            street += 1000;
        }
    }
    if (!status && count(occupied) < want)
        status = cb_error("%d pillars: %d frames have %d", want, made, count(occupied));
    return status;
}

int pillars_generate(int frames, uint64_t seed, int want, struct pillars *out)
{
    *out = (struct pillars){ 0 };
    if (want < 0 || want > CELLS || frames < 1 || frames > STREET_FRAMES)
        return cb_error("%d pillars of %d frames: 0 to %d of 1 to %d", want, frames, CELLS,
                        STREET_FRAMES);
    unsigned char *occupied = data_calloc(CELLS, 1);
    if (!occupied)
        return cb_error("no memory for a grid");
    int status = fill(frames, seed, want, occupied, &out->points);
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
