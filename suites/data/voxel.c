/* voxel.c - points to voxels (voxel.h says by which arithmetic). */
#include "voxel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"

const struct voxel_grid voxel_grid_nuscenes = {
    .low = { -51.2, -3, -51.2 }, .size = { .1, .2, .1 }, .cells = { 1024, 40, 1024 },
    .shape = { 1024, 41, 1024 }, .cap = 60000, .near_m = 40,
};
const struct voxel_grid voxel_grid_waymo = {
    .low = { -75.2, -4, -75.2 }, .size = { .1, .15, .1 }, .cells = { 1504, 40, 1504 },
    .shape = { 1504, 41, 1504 }, .cap = 150000, .near_m = 40,
};

enum { AXIS_MAX = 1 << 20 };

struct keyed {
    uint64_t key;
    int64_t at;
};

static int by_key(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static uint64_t pack(const int c[3])
{
    return (uint64_t)c[0] << 40 | (uint64_t)c[1] << 20 | (uint64_t)c[2];
}

static struct kmap_coord unpack(uint64_t key)
{
    const int mask = AXIS_MAX - 1;
    return (struct kmap_coord){ 0, (int)(key >> 40), (int)(key >> 20) & mask, (int)key & mask };
}

void voxels_free(struct voxels *v)
{
    if (!v)
        return;
    data_free(v->coord);
    data_free(v->feature);
    *v = (struct voxels){ 0 };
}

static int voxels_new(const char *name, long n, int channels, struct voxels *out)
{
    *out = (struct voxels){ .n = (int)n, .channels = channels, .batch = 1 };
    out->coord = data_malloc((size_t)n, sizeof *out->coord);
    out->feature = data_malloc((size_t)n * (size_t)channels, sizeof *out->feature);
    if (out->coord && out->feature)
        return 0;
    voxels_free(out);
    return cb_error("%s: no memory for %ld voxels", name, n);
}

/* Number of different keys of a sorted list. */
static long different(const struct keyed *e, long n)
{
    long count = 0;
    for (long i = 0; i < n; i++)
        count += !i || e[i].key != e[i - 1].key;
    return count;
}

/* ---- segmentation ---- */

static void lowest(const struct points *p, float low[3], float high[3])
{
    for (int a = 0; a < 3; a++)
        low[a] = high[a] = p->v[a];
    for (long i = 1; i < p->n; i++)
        for (int a = 0; a < 3; a++) {
            const float v = p->v[i * p->channels + a];
            low[a] = v < low[a] ? v : low[a];
            high[a] = v > high[a] ? v : high[a];
        }
}

static int segment_cell(float v, float low, double size)
{
    const float shifted = v - low;
    return (int)floor((double)shifted / size);
}

int voxels_segment(const char *name, const struct points *p, double size_m, struct voxels *out)
{
    float low[3], high[3];
    int size[3];
    *out = (struct voxels){ 0 };
    if (p->n < 1 || p->channels < 3 || !(size_m > 0))
        return cb_error("%s: no points, or a voxel size that is not positive", name);
    lowest(p, low, high);
    for (int a = 0; a < 3; a++) {
        if ((double)(high[a] - low[a]) / size_m >= AXIS_MAX - 1)
            return cb_error("%s: more than %d voxels of %g m along an axis", name, AXIS_MAX,
                            size_m);
        size[a] = segment_cell(high[a], low[a], size_m) + 1;
    }
    struct keyed *e = data_malloc((size_t)p->n, sizeof *e);
    if (!e)
        return cb_error("%s: no memory for %ld points", name, p->n);
    for (long i = 0; i < p->n; i++) {
        int c[3];
        for (int a = 0; a < 3; a++)
            c[a] = segment_cell(p->v[i * p->channels + a], low[a], size_m);
        e[i] = (struct keyed){ pack(c), i };
    }
    qsort(e, (size_t)p->n, sizeof *e, by_key);
    int status = voxels_new(name, different(e, p->n), p->channels, out);
    for (long i = 0, k = 0; !status && i < p->n; i++) {
        if (i && e[i].key == e[i - 1].key)
            continue;
        out->coord[k] = unpack(e[i].key);
        memcpy(out->feature + k++ * p->channels, p->v + e[i].at * p->channels,
               (size_t)p->channels * sizeof *p->v);
    }
    data_free(e);
    out->sorted = true;
    memcpy(out->size, size, sizeof size);
    if (status)
        *out = (struct voxels){ 0 };
    return status;
}

/* ---- detection ---- */

static bool detect_cell(const struct voxel_grid *g, const float *v, int c[3])
{
    const float axis[3] = { v[0], -v[2], v[1] };
    for (int a = 0; a < 3; a++) {
        const float shifted = axis[a] - (float)g->low[a];
        const double cell = floor((double)shifted / g->size[a]);
        if (!(cell >= 0) || cell >= g->cells[a])
            return false;
        c[a] = (int)cell;
    }
    return true;
}

/* Points of the grid by voxel; returns their number. */
static long sorted_cells(const struct points *p, const struct voxel_grid *g, struct keyed *e)
{
    long n = 0;
    for (long i = 0; i < p->n; i++) {
        int c[3];
        if (detect_cell(g, p->v + i * p->channels, c))
            e[n++] = (struct keyed){ pack(c), i };
    }
    qsort(e, (size_t)n, sizeof *e, by_key);
    return n;
}

/* Rewrites pick[0 .. n-1], places in e where a voxel starts, to what is kept, in its final
 * order; returns how many. */
static long choose(const struct voxel_grid *g, const struct keyed *e, struct keyed *pick, long n,
                   uint64_t seed)
{
    const double near_cell = (g->near_m - g->low[2]) / g->size[2];
    if (g->cap && n > g->cap) {
        for (long k = 0; k < n; k++) {
            const bool near_by = unpack(e[pick[k].at].key).z < near_cell;
            pick[k].key = data_hash(seed, 1, e[pick[k].at].key) >> 1 | (uint64_t)near_by << 63;
        }
        qsort(pick, (size_t)n, sizeof *pick, by_key);
        n = g->cap;
    }
    for (long k = 0; k < n; k++)
        pick[k].key = data_hash(seed, 2, e[pick[k].at].key);
    qsort(pick, (size_t)n, sizeof *pick, by_key);
    return n;
}

static void average(const struct points *p, const struct keyed *e, long n, long first, float *to)
{
    for (int c = 0; c < p->channels; c++) {
        double sum = 0;
        long i = first;
        for (; i < n && e[i].key == e[first].key; i++)
            sum += (double)p->v[e[i].at * p->channels + c];
        to[c] = (float)(sum / (double)(i - first));
    }
}

int voxels_detect(const char *name, const struct points *p, const struct voxel_grid *g,
                  uint64_t seed, struct voxels *out)
{
    int status = -1;
    *out = (struct voxels){ 0 };
    struct keyed *e = data_malloc((size_t)p->n, sizeof *e);
    struct keyed *pick = data_malloc((size_t)p->n, sizeof *pick);
    if (!e || !pick) {
        cb_error("%s: no memory for %ld points", name, p->n);
        goto done;
    }
    const long n = sorted_cells(p, g, e);
    long voxels = 0;
    for (long i = 0; i < n; i++)
        if (!i || e[i].key != e[i - 1].key)
            pick[voxels++].at = i;
    if (!voxels) {
        cb_error("%s: no point lies in the grid", name);
        goto done;
    }
    voxels = choose(g, e, pick, voxels, seed);
    if (voxels_new(name, voxels, p->channels, out))
        goto done;
    for (long k = 0; k < voxels; k++) {
        out->coord[k] = unpack(e[pick[k].at].key);
        average(p, e, n, pick[k].at, out->feature + k * p->channels);
    }
    memcpy(out->size, g->shape, sizeof out->size);
    status = 0;
done:
    data_free(e);
    data_free(pick);
    return status;
}

/* ---- batches ---- */

int voxels_join(const struct voxels *list, int count, struct voxels *out)
{
    long n = 0, at = 0;
    bool sorted = true;
    *out = (struct voxels){ 0 };
    for (int b = 0; b < count; b++) {
        n += list[b].n;
        sorted &= list[b].sorted;
        if (list[b].channels != list[0].channels || list[b].batch != 1)
            return cb_error("voxels of a batch: %d and %d channels, or a batch already",
                            list[0].channels, list[b].channels);
    }
    if (n < 1 || n > POINTS_MAX || voxels_new("batch", n, list[0].channels, out))
        return cb_error("voxels of a batch: none, too many, or no memory for %ld", n);
    for (int b = 0; b < count; b++) {
        for (int i = 0; i < list[b].n; i++) {
            out->coord[at + i] = list[b].coord[i];
            out->coord[at + i].b = b;
        }
        memcpy(out->feature + at * out->channels, list[b].feature,
               (size_t)list[b].n * (size_t)out->channels * sizeof *out->feature);
        at += list[b].n;
        for (int a = 0; a < 3; a++)
            out->size[a] = list[b].size[a] > out->size[a] ? list[b].size[a] : out->size[a];
    }
    out->batch = count;
    out->sorted = sorted;
    return 0;
}
