/*
 * spconv_scene.h - voxels and maps for tests of spconv: made up, or of a scan that is given.
 *
 * Maps by sorting and searching, of no interest for speed; taps with x fastest where the
 * kernel is odd, as kmap.h numbers them, and z fastest for 2 x 2 x 2.
 */
#ifndef TESTS_SPCONV_SCENE_H
#define TESTS_SPCONV_SCENE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/spconv/spconv.h"

struct scene_voxel {
    int x, y, z;
};

struct scene_map {
    int in, out, taps, same;
    long pairs;
    int32_t *by_out, *by_in, *start, *pair_in, *pair_out;
};

static int scene_order(const void *a, const void *b)
{
    const struct scene_voxel *p = a, *q = b;
    if (p->x != q->x)
        return p->x < q->x ? -1 : 1;
    if (p->y != q->y)
        return p->y < q->y ? -1 : 1;
    return (p->z > q->z) - (p->z < q->z);
}

/* Sorted without doubles; returns how many are left. */
static int scene_unique(struct scene_voxel *v, int n)
{
    int kept = 0;
    qsort(v, (size_t)n, sizeof *v, scene_order);
    for (int i = 0; i < n; i++)
        if (!i || scene_order(&v[i], &v[kept - 1]))
            v[kept++] = v[i];
    return kept;
}

static int scene_find(const struct scene_voxel *v, int n, struct scene_voxel key)
{
    const struct scene_voxel *p = bsearch(&key, v, (size_t)n, sizeof *v, scene_order);
    return p ? (int)(p - v) : -1;
}

static void scene_map_free(struct scene_map *m)
{
    free(m->by_out);
    free(m->by_in);
    free(m->start);
    free(m->pair_in);
    free(m->pair_out);
    memset(m, 0, sizeof *m);
}

/* kernel 3: outputs are v; kernel 2: outputs are v halved. */
static struct scene_map scene_map_make(const struct scene_voxel *v, int n, int kernel)
{
    struct scene_map m = { .in = n, .out = n, .taps = kernel * kernel * kernel,
                           .same = kernel == 3 };
    struct scene_voxel *q = malloc((size_t)n * sizeof *q);
    memcpy(q, v, (size_t)n * sizeof *q);
    if (kernel == 2) {
        for (int i = 0; i < n; i++)
            q[i] = (struct scene_voxel){ v[i].x >> 1, v[i].y >> 1, v[i].z >> 1 };
        m.out = scene_unique(q, n);
    }
    m.by_out = malloc((size_t)m.out * m.taps * sizeof *m.by_out);
    m.by_in = malloc((size_t)n * m.taps * sizeof *m.by_in);
    m.start = calloc((size_t)m.taps + 1, sizeof *m.start);
    memset(m.by_in, 0xff, (size_t)n * m.taps * sizeof *m.by_in);
#pragma omp parallel for
    for (int k = 0; k < m.out; k++)
        for (int d = 0; d < m.taps; d++) {
            struct scene_voxel p = q[k];
            if (kernel == 3)
                p.x += d % 3 - 1, p.y += d / 3 % 3 - 1, p.z += d / 9 - 1;
            else
                p.x = 2 * p.x + d / 4, p.y = 2 * p.y + d / 2 % 2, p.z = 2 * p.z + d % 2;
            const int j = scene_find(v, n, p);
            m.by_out[(size_t)k * m.taps + d] = j;
            if (j >= 0)
                m.by_in[(size_t)j * m.taps + d] = k;
        }
    for (long e = 0; e < (long)m.out * m.taps; e++)
        m.pairs += m.by_out[e] >= 0;
    m.pair_in = malloc((size_t)m.pairs * sizeof *m.pair_in);
    m.pair_out = malloc((size_t)m.pairs * sizeof *m.pair_out);
    for (int d = 0, e = 0; d < m.taps; m.start[++d] = e)
        for (int k = 0; k < m.out; k++) {
            const int j = m.by_out[(size_t)k * m.taps + d];
            if (j >= 0) {
                m.pair_in[e] = j;
                m.pair_out[e++] = k;
            }
        }
    free(q);
    return m;
}

static unsigned scene_state = 1;

static int scene_below(int n)
{
    scene_state = scene_state * 1664525u + 1013904223u;
    return (int)((scene_state >> 8) % (unsigned)n);
}

/* About n voxels of a bumpy surface and some strays: rows with one to many neighbours. */
static struct scene_voxel *scene_surface(int *n)
{
    struct scene_voxel *v = malloc((size_t)*n * sizeof *v);
    const int side = (int)sqrt(1.3 * *n) + 2;
    for (int i = 0; i < *n; i++) {
        const int x = scene_below(side), y = scene_below(side);
        const int z = i % 5 ? (int)(3 + 2 * sin(x * .3) + 2 * cos(y * .2)) : scene_below(40);
        v[i] = (struct scene_voxel){ x, y, z };
    }
    *n = scene_unique(v, *n);
    return v;
}

/* Voxels of `size` metres of a file of float x, y, z, ...: `floats` a point.  NULL: no file. */
static inline struct scene_voxel *scene_scan(const char *path, int floats, float size, int *n)
{
    FILE *f = fopen(path, "rb");
    float p[8], low[3] = { 1e9f, 1e9f, 1e9f };
    const int room = 1 << 20;
    if (!f)
        return NULL;
    float(*xyz)[3] = malloc((size_t)room * sizeof *xyz);
    struct scene_voxel *v = malloc((size_t)room * sizeof *v);
    for (*n = 0; *n < room && fread(p, 4, (size_t)floats, f) == (size_t)floats; ++*n)
        for (int a = 0; a < 3; a++) {
            xyz[*n][a] = p[a];
            low[a] = p[a] < low[a] ? p[a] : low[a];
        }
    fclose(f);
    for (int i = 0; i < *n; i++)
        v[i] = (struct scene_voxel){ (int)floorf((xyz[i][0] - low[0]) / size),
                                     (int)floorf((xyz[i][1] - low[1]) / size),
                                     (int)floorf((xyz[i][2] - low[2]) / size) };
    free(xyz);
    *n = scene_unique(v, *n);
    return v;
}

/* The next level: halved. */
static inline void scene_halve(struct scene_voxel *v, int *n)
{
    for (int i = 0; i < *n; i++)
        v[i] = (struct scene_voxel){ v[i].x >> 1, v[i].y >> 1, v[i].z >> 1 };
    *n = scene_unique(v, *n);
}

#endif
